"""From a network file to numbers: schema, layers, groups, weights, and the offline rollout.

Knows torch, and nothing of ROS. ``file`` reads and checks, ``shapes`` infers, ``group`` and
``network`` compute, ``weights`` stores, ``offline`` drives the mailboxes without ROS.
"""

from streaming_net_ros.network.file import parse_network, read_network_file, rollout_of
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.network import NetworkState, StreamingNetwork
from streaming_net_ros.network.offline import (
    GroupFrame,
    OfflineRollout,
    StampedState,
    newest_capture,
    run_offline,
)
from streaming_net_ros.network.schema import ImageInput, NetworkSpec, OutputSpec, VectorInput
from streaming_net_ros.network.shapes import state_shapes
from streaming_net_ros.network.weights import load_weights, save_weights

__all__ = [
    "GroupFrame",
    "ImageInput",
    "LayerGroup",
    "NetworkSpec",
    "NetworkState",
    "OfflineRollout",
    "OutputSpec",
    "StampedState",
    "StreamingNetwork",
    "VectorInput",
    "load_weights",
    "newest_capture",
    "parse_network",
    "read_network_file",
    "rollout_of",
    "run_offline",
    "save_weights",
    "state_shapes",
]
