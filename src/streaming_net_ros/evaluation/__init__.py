"""Judging: bags in and out, errors of early and full responses, accuracy while answers come.

``streaming`` compares rollouts on recordings, ``driving`` in a closed loop; ``replayed`` computes
a run again. Knows rosbags and numpy; no rclpy. Imported by ``training``, by ``cli``, and by
whoever evaluates.
"""

from streaming_net_ros.evaluation.answers import ClassAnswers, first_step_at
from streaming_net_ros.evaluation.bag_writer import BagWriter, message_type
from streaming_net_ros.evaluation.bags import Bag, Recording, Series, align, open_bag

__all__ = [
    "Bag",
    "BagWriter",
    "ClassAnswers",
    "Recording",
    "Series",
    "align",
    "first_step_at",
    "message_type",
    "open_bag",
]
