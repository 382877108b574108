"""Judging on recordings: bags in and out, and the errors of early and full responses.

Knows rosbags and numpy; no rclpy. Imported by ``training``, by ``cli``, and by whoever evaluates.
"""

from streaming_net_ros.evaluation.bag_writer import BagWriter, message_type
from streaming_net_ros.evaluation.bags import Bag, Recording, Series, align, open_bag

__all__ = ["Bag", "BagWriter", "Recording", "Series", "align", "message_type", "open_bag"]
