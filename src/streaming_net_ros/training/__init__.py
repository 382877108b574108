"""Learning: windows out of recordings, what is learnt, and the trainer over unrolled frames.

Knows the network and recordings; no ROS, no terminal. Imported by ``cli``.
"""

from streaming_net_ros.training.target import (
    Target,
    find_target,
    image_input,
    judged,
    responses_of,
    stream,
)
from streaming_net_ros.training.trainer import TrainingHistory, TrainingPlan, Validation, train
from streaming_net_ros.training.windows import (
    Augmentation,
    Batch,
    Segment,
    Windows,
    augmented,
    mirrored,
    read_segments,
    segments_of,
    split,
)

__all__ = [
    "Augmentation",
    "Batch",
    "Segment",
    "Target",
    "TrainingHistory",
    "TrainingPlan",
    "Validation",
    "Windows",
    "augmented",
    "find_target",
    "image_input",
    "judged",
    "mirrored",
    "read_segments",
    "responses_of",
    "segments_of",
    "split",
    "stream",
    "train",
]
