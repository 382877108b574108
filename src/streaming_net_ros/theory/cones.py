"""Light cones: what can influence a state, and what a state can influence.

Owns the walk through the rollout window, to either side, and the nearest state of every node on
it. Counts frames, never seconds; says what can be, not what is: a state may ignore what reaches
it. Imported by the command line, by saliency and by the viewer.

    frame      0     1     2
    image      *                  future cone of the image of frame 0: all that is starred;
    stem             *            past cone of head at frame 2: the same three
    head                   *
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import networkx as nx

from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory.graph import listed
from streaming_net_ros.theory.rollout import Rollout, without_teaching
from streaming_net_ros.theory.tableau import FrameNode, check_frame

Computes = Callable[[str, int], bool]
"""Whether a group computes a new state in a frame, by (group, frame); else it repeats its last."""


class Direction(Enum):
    """To which side of its tip a cone opens."""

    PAST = "past"
    FUTURE = "future"


@dataclass(frozen=True)
class LightCone:
    """The states on one side of a state that can have to do with it, within a window of frames.

    Attributes:
        tip: (frame, node): whose cone it is; a member of it.
        direction: where it opens to.
        members: all (frame, node), the tip included.
        nearest: of each node in the cone, the frame of its member that is nearest to the tip:
            at the end of the shortest path. In a future cone that is the first arrival, in a past
            cone the newest state that can have come in.
    """

    tip: FrameNode
    direction: Direction
    members: frozenset[FrameNode]
    nearest: Mapping[str, int]

    def __contains__(self, node: object) -> bool:
        return node in self.members

    def frames_of(self, node: str) -> tuple[int, ...]:
        """The frames in which a node is in the cone, rising."""
        return tuple(sorted(frame for frame, name in self.members if name == node))

    @property
    def arrivals(self) -> frozenset[FrameNode]:
        """The nearest member of every node but the tip's own."""
        return frozenset((f, node) for node, f in self.nearest.items() if node != self.tip[1])


def always(group: str, frame: int) -> bool:
    """Every group computes in every frame: a network without ``every``."""
    return True


def past_cone(
    rollout: Rollout, node: str, frame: int, first_frame: int = 0, computes: Computes = always
) -> LightCone:
    """All states from `first_frame` on that can influence a node's state of a frame.

    Args:
        rollout: whose delays count.
        node: a group or an input.
        frame: of the node's state.
        first_frame: where the window begins. Whether a state exists there already is not asked:
            see `first_frames`.
        computes: in which frames a group computes.

    Raises:
        RolloutError: the node is unknown, a frame is not an integer >= 0, or the window is empty.
    """
    _check_window(rollout, node, first_frame, frame)
    rollout = without_teaching(rollout)
    inputs = set(rollout.graph.inputs)

    def before(at: FrameNode) -> list[FrameNode]:
        now, name = at
        if name not in rollout.graph.nodes:  # it does nothing but teach
            return []
        if name not in inputs and not computes(name, now):
            heard = {name: 1}
        else:
            heard = rollout.delays_into(name)
        return [(now - delay, source) for source, delay in heard.items()]

    members = _walk((frame, node), before, lambda at: at >= first_frame)
    return _cone((frame, node), Direction.PAST, members)


def future_cone(
    rollout: Rollout, node: str, frame: int, last_frame: int, computes: Computes = always
) -> LightCone:
    """All states up to `last_frame` that a node's state of a frame can influence.

    Args:
        rollout: whose delays count.
        node: an input or a group.
        frame: of the node's state.
        last_frame: where the window ends.
        computes: in which frames a group computes.

    Raises:
        RolloutError: the node is unknown, a frame is not an integer >= 0, or the window is empty.
    """
    _check_window(rollout, node, frame, last_frame)
    rollout = without_teaching(rollout)
    inputs = set(rollout.graph.inputs)

    def after(at: FrameNode) -> list[FrameNode]:
        now, name = at
        if name not in rollout.graph.nodes:
            return []
        hearers = [
            (now + rollout.delays[edge.key], edge.target)
            for edge in rollout.graph.edges_out_of(name)
        ]
        heard = [(then, group) for then, group in hearers if computes(group, then)]
        if name not in inputs and not computes(name, now + 1):
            heard.append((now + 1, name))
        return heard

    members = _walk((frame, node), after, lambda at: at <= last_frame)
    return _cone((frame, node), Direction.FUTURE, members)


def shortest_delay(rollout: Rollout, source: str, target: str) -> int | None:
    """Frames along the shortest path between two nodes; None if there is none.

    Raises:
        RolloutError: a node is unknown.
    """
    for node in (source, target):
        _check_node(rollout, node)
    weighted = nx.DiGraph()
    weighted.add_nodes_from(rollout.graph.nodes)
    for key, delay in without_teaching(rollout).delays.items():
        weighted.add_edge(*key, delay=delay)
    try:
        frames: int = nx.dijkstra_path_length(weighted, source, target, weight="delay")
    except nx.NetworkXNoPath:
        return None
    return frames


def light_cone(rollout: Rollout, output: str, last_frame: int, frames: int) -> set[FrameNode]:
    """All (frame, node) that can influence the output at `last_frame`, itself included.

    Args:
        rollout: the rollout whose window is searched.
        output: the node that answers; any group or input will do.
        last_frame: the frame of the answer.
        frames: how many frames to look back, at most to frame 0.

    Raises:
        RolloutError: the node is unknown, or a number is not an integer >= 0.
    """
    check_frame("last_frame", last_frame)
    check_frame("number of frames", frames)
    return set(past_cone(rollout, output, last_frame, max(0, last_frame - frames)).members)


def _walk(
    tip: FrameNode,
    neighbours: Callable[[FrameNode], Iterable[FrameNode]],
    is_within: Callable[[int], bool],
) -> frozenset[FrameNode]:
    """All that can be reached from the tip inside the window."""
    found, waiting = {tip}, [tip]
    while waiting:
        for node in neighbours(waiting.pop()):
            if node not in found and is_within(node[0]):
                found.add(node)
                waiting.append(node)
    return frozenset(found)


def _cone(tip: FrameNode, direction: Direction, members: frozenset[FrameNode]) -> LightCone:
    nearer = max if direction is Direction.PAST else min
    nearest: dict[str, int] = {}
    for frame, node in members:
        nearest[node] = nearer(frame, nearest.get(node, frame))
    return LightCone(tip, direction, members, MappingProxyType(nearest))


def _check_window(rollout: Rollout, node: str, first_frame: int, last_frame: int) -> None:
    check_frame("first_frame", first_frame)
    check_frame("last_frame", last_frame)
    _check_node(rollout, node)
    if first_frame > last_frame:
        raise RolloutError(
            "a window without frames",
            where="light cone",
            expected=f"a last frame from {first_frame} on",
            got=last_frame,
        )


def _check_node(rollout: Rollout, node: str) -> None:
    if node not in rollout.graph.nodes:
        raise RolloutError(
            f"no such node in {rollout.graph.name}",
            expected=f"one of {listed(rollout.graph.nodes)}",
            got=node,
        )
