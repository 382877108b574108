"""Learning: clips of pictures, what is compared with what, and the trainer over unrolled frames.

``datasets`` reads files into ``clips``; ``sequences`` and ``augmentation`` show them; ``plan``
says how to train, ``showing``, ``objectives`` and ``learners`` bring it together with data and
network, ``trainer`` and ``checkpoint`` do it, ``history`` is what they tell; ``experiment``
compares. Knows the network and recordings; no ROS, no terminal. Imported by
``cli``.
"""

from streaming_net_ros.training.augmentation import Augmentation
from streaming_net_ros.training.clips import UNKNOWN_CLASS, Clips, joined
from streaming_net_ros.training.history import Step, TrainingHistory, Validation, Watching
from streaming_net_ros.training.objectives import Objective, Piece, td_targets
from streaming_net_ros.training.plan import (
    HebbianSpec,
    LearnerSpec,
    ObjectiveSpec,
    TrainingPlan,
    parse_plan,
)
from streaming_net_ros.training.sequences import Batch, Sequences
from streaming_net_ros.training.showing import sequences_of
from streaming_net_ros.training.target import Target, find_target, image_input, judged, stream
from streaming_net_ros.training.trainer import Trainer, train

__all__ = [
    "UNKNOWN_CLASS",
    "Augmentation",
    "Batch",
    "Clips",
    "HebbianSpec",
    "LearnerSpec",
    "Objective",
    "ObjectiveSpec",
    "Piece",
    "Sequences",
    "Step",
    "Target",
    "Trainer",
    "TrainingHistory",
    "TrainingPlan",
    "Validation",
    "Watching",
    "find_target",
    "image_input",
    "joined",
    "judged",
    "parse_plan",
    "sequences_of",
    "stream",
    "td_targets",
    "train",
]
