"""What can be said about a network before anything is computed.

Owns the graph of layer groups, its rollouts, their tableaus, response times and light cones, and
the printed rollout table. All of it is frozen values and pure functions over networkx graphs.
Knows nothing of layers, tensors, seconds or ROS, and loads neither torch nor rclpy.

The theory is that of Fischer, Koehler, Pfeil, *The streaming rollout of deep networks - towards
fully model-parallel execution*, NeurIPS 2018 (arXiv 1806.04965), generalised to delays above 1.
"""

from streaming_net_ros.theory.cones import (
    Computes,
    Direction,
    LightCone,
    always,
    future_cone,
    light_cone,
    past_cone,
    shortest_delay,
)
from streaming_net_ros.theory.counting import count_valid_rollouts, lemma1_bounds, valid_rollouts
from streaming_net_ros.theory.graph import Edge, EdgeKey, NetworkGraph
from streaming_net_ros.theory.response import (
    Ages,
    ResponseTimes,
    ages,
    first_frames,
    response_times,
)
from streaming_net_ros.theory.rollout import (
    Rollout,
    equally_model_parallel,
    hybrid,
    is_valid_pattern,
    sequential,
    streaming,
)
from streaming_net_ros.theory.table import format_table, format_tableau, parse_table
from streaming_net_ros.theory.tableau import FrameNode, inference_factor, tableau, update_states

__all__ = [
    "Ages",
    "Computes",
    "Direction",
    "Edge",
    "EdgeKey",
    "FrameNode",
    "LightCone",
    "NetworkGraph",
    "ResponseTimes",
    "Rollout",
    "ages",
    "always",
    "count_valid_rollouts",
    "equally_model_parallel",
    "first_frames",
    "format_table",
    "format_tableau",
    "future_cone",
    "hybrid",
    "inference_factor",
    "is_valid_pattern",
    "lemma1_bounds",
    "light_cone",
    "parse_table",
    "past_cone",
    "response_times",
    "sequential",
    "shortest_delay",
    "streaming",
    "tableau",
    "update_states",
    "valid_rollouts",
]
