"""From a network file to numbers: schema, layers, groups, weights, and the offline rollout.

Knows torch, and nothing of ROS. ``file`` reads and checks, ``shapes`` infers, ``group`` and
``network`` compute, ``weights`` stores. ``offline`` drives the mailboxes without ROS, ``timed`` in
virtual time. ``saliency`` tells what an answer hangs on.
"""

from streaming_net_ros.network.expand import read_yaml
from streaming_net_ros.network.file import parse_network, read_network_file, rollout_of, rules_of
from streaming_net_ros.network.findings import first_finding, inside
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layers import InputNormalisation, build_stack, seeded
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.named import checked_arguments, find_named, first_line
from streaming_net_ros.network.network import NetworkState, StreamingNetwork
from streaming_net_ros.network.offline import (
    GroupFrame,
    OfflineRollout,
    StampedState,
    run_offline,
)
from streaming_net_ros.network.online import OnlineLearner, learners_of
from streaming_net_ros.network.replay import ReplayedResponse, check_head, replay, run_head
from streaming_net_ros.network.saliency import (
    Question,
    Saliency,
    computes_of,
    images_needed,
    inputs_of,
    response_frame,
    saliency,
)
from streaming_net_ros.network.schema import (
    Frozen,
    ImageInput,
    Layers,
    Named,
    NetworkSpec,
    OutputSpec,
    VectorInput,
    named,
)
from streaming_net_ros.network.shapes import state_shapes
from streaming_net_ros.network.timed import (
    Timed,
    TimedAnswer,
    TimedPasses,
    TimedRollout,
    pass_schedule,
)
from streaming_net_ros.network.weights import load_weights, save_weights, write_tensors

__all__ = [
    "Frozen",
    "GroupFrame",
    "ImageInput",
    "InputNormalisation",
    "LayerGroup",
    "Layers",
    "Named",
    "NetworkSpec",
    "NetworkState",
    "OfflineRollout",
    "OnlineLearner",
    "OutputSpec",
    "Question",
    "ReplayedResponse",
    "Saliency",
    "StampedState",
    "StreamingNetwork",
    "Timed",
    "TimedAnswer",
    "TimedPasses",
    "TimedRollout",
    "VectorInput",
    "as_state",
    "build_stack",
    "check_head",
    "checked_arguments",
    "computes_of",
    "find_named",
    "first_finding",
    "first_line",
    "images_needed",
    "inputs_of",
    "inside",
    "learners_of",
    "load_weights",
    "named",
    "parse_network",
    "pass_schedule",
    "read_network_file",
    "read_yaml",
    "replay",
    "response_frame",
    "rollout_of",
    "rules_of",
    "run_head",
    "run_offline",
    "saliency",
    "save_weights",
    "seeded",
    "state_shapes",
    "write_tensors",
]
