"""A rollout: the choice of every edge's delay, and what makes such a choice valid.

Owns the three kinds of rollout (streaming, sequential, hybrid), their validity and the order of
groups within a frame. Knows nothing of time in seconds. Imported by whoever runs a network.

Streaming delays every edge by one frame, so that all groups work at once on different frames.
Sequential answers within the frame: 0 everywhere, except where a cycle forces a delay.
A rollout is valid if every cycle of the network holds a delay >= 1; a cycle without one would
make a state wait for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import networkx as nx

from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory.graph import (
    FRAMES,
    WORD,
    EdgeKey,
    NetworkGraph,
    is_delay,
    is_word,
    listed,
)


@dataclass(frozen=True)
class Rollout:
    """A valid choice of delays; equal and hashable by graph and delays, whatever its name.

    Args:
        graph: the network that is rolled out.
        delays: delay in frames of every edge, by (source, target).
        name: one word, shown in tables and errors.

    Raises:
        RolloutError: an edge is missing or unknown, a delay is not an integer >= 0 or differs
            from the edge's fixed one, or a cycle has only delays of 0.
    """

    graph: NetworkGraph
    delays: Mapping[EdgeKey, int]
    name: str = field(default="hybrid", compare=False)

    def __post_init__(self) -> None:
        if not is_word(self.name):
            raise RolloutError("bad rollout name", expected=WORD, got=self.name)
        self._check_edges()
        ordered = {edge.key: self.delays[edge.key] for edge in self.graph.edges}
        object.__setattr__(self, "delays", MappingProxyType(ordered))
        self._check_delays()
        cycle = zero_cycle(self.graph, self.delays)
        if cycle:
            raise self._error(
                f"no delay on the cycle {cycle}",
                remedy="give one of its edges a delay of at least 1 frame",
            )

    def __hash__(self) -> int:
        return hash((self.graph, tuple(self.delays.values())))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy does not pickle, but a rollout must travel to other processes.
        return (Rollout, (self.graph, dict(self.delays), self.name))

    def delay(self, source: str, target: str) -> int:
        """Delay of source -> target in frames.

        Raises:
            NetworkFileError: the network has no such edge.
        """
        return self.delays[self.graph.edge(source, target).key]

    def delays_into(self, target: str) -> dict[str, int]:
        """Delay in frames by source, for all that the target hears, in file order.

        Raises:
            NetworkFileError: the network has no such node.
        """
        return {edge.source: self.delays[edge.key] for edge in self.graph.edges_into(target)}

    @property
    def is_streaming(self) -> bool:
        """Whether every edge that is not fixed is delayed by exactly one frame."""
        return all(self.delays[e.key] == 1 for e in self.graph.edges if e.delay is None)

    @property
    def max_delay(self) -> int:
        """The longest delay in frames."""
        return max(self.delays.values())

    @cached_property
    def frame_order(self) -> tuple[str, ...]:
        """All groups in an order that a frame can be computed in.

        A group comes after all groups that it hears within the frame; file order decides among
        those that are free.
        """
        zero = zero_delay_graph(self.graph, self.delays).subgraph(self.graph.groups)
        place = {node: number for number, node in enumerate(self.graph.groups)}
        return tuple(nx.lexicographical_topological_sort(zero, key=place.__getitem__))

    def _error(self, what: str, **facts: str) -> RolloutError:
        where = f"rollout {self.name} of {self.graph.name}"
        return RolloutError(what, where=where, **facts)

    def _check_edges(self) -> None:
        known = {edge.key: str(edge) for edge in self.graph.edges}
        missing = [text for key, text in known.items() if key not in self.delays]
        unknown = [_arrow(key) for key in self.delays if key not in known]
        wrong = [f"no delay for {listed(missing)}"] if missing else []
        wrong += [f"no such edge: {listed(unknown)}"] if unknown else []
        if wrong:
            raise self._error("; ".join(wrong), remedy="give every edge of the network one delay")

    def _check_delays(self) -> None:
        for edge in self.graph.edges:
            delay = self.delays[edge.key]
            if not is_delay(delay):
                raise self._error(f"bad delay of edge {edge}", expected=FRAMES, got=repr(delay))
            if edge.delay not in (None, delay):
                raise self._error(
                    f"the delay of edge {edge} is fixed",
                    expected=str(edge.delay),
                    got=str(delay),
                    remedy="leave the edge out of the rollout, or free it in the network file",
                )


def without_teaching(rollout: Rollout) -> Rollout:
    """The rollout of what states are made of: no image comes through an edge that teaches."""
    graph = rollout.graph
    if not any(edge.teaches for edge in graph.edges):
        return rollout
    edges = tuple(edge for edge in graph.edges if not edge.teaches)
    delays = {edge.key: rollout.delays[edge.key] for edge in edges}
    return Rollout(NetworkGraph(edges, graph.outputs, graph.name), delays, rollout.name)


def streaming(graph: NetworkGraph) -> Rollout:
    """Every edge is delayed by one frame, except for fixed delays.

    Raises:
        RolloutError: the fixed delays leave a cycle without a delay.
    """
    return Rollout(graph, _base_delays(graph, "streaming"), "streaming")


def sequential(graph: NetworkGraph) -> Rollout:
    """Delay 0 on every edge, except for self-edges (1) and fixed delays.

    Raises:
        RolloutError: a longer cycle has no fixed delay: which of its edges carries the past is
            a choice that only the network file can make.
    """
    delays = _base_delays(graph, "sequential")
    cycle = zero_cycle(graph, delays)
    if cycle:
        raise RolloutError(
            f"no delay on the cycle {cycle}",
            where=f"rollout sequential of {graph.name}",
            remedy="mark one of its edges with `delay: 1` in the network file",
        )
    return Rollout(graph, delays, "sequential")


def hybrid(
    graph: NetworkGraph,
    delays: Mapping[EdgeKey, int],
    base: Literal["streaming", "sequential"] = "streaming",
    name: str = "hybrid",
) -> Rollout:
    """The named edges get the given delays, all others those of the base rollout.

    The base alone need not be valid, only the result.

    Raises:
        RolloutError: the base is unknown, or what `Rollout` raises for the result.
    """
    return Rollout(graph, {**_base_delays(graph, base), **delays}, name)


def is_valid_pattern(graph: NetworkGraph, delays: Mapping[EdgeKey, int]) -> bool:
    """Whether `Rollout` takes these delays for this graph."""
    try:
        Rollout(graph, delays)
    except RolloutError:
        return False
    return True


def equally_model_parallel(a: Rollout, b: Rollout) -> bool:
    """Whether two rollouts of one network agree on every edge that starts at a group.

    Edges out of inputs do not count: nothing is computed at an input, so nothing waits for it.

    Raises:
        RolloutError: the rollouts belong to networks with different edges.
    """
    if a.delays.keys() != b.delays.keys():
        raise RolloutError(
            "rollouts of different networks",
            expected=f"the edges of {a.graph.name}: {listed(a.graph.edges)}",
            got=listed(b.graph.edges),
        )
    inputs = set(a.graph.inputs)
    return all(delay == b.delays[key] for key, delay in a.delays.items() if key[0] not in inputs)


def zero_delay_graph(graph: NetworkGraph, delays: Mapping[EdgeKey, int]) -> nx.DiGraph:
    """All nodes, and the edges that are crossed within a frame."""
    zero = nx.DiGraph()
    zero.add_nodes_from(graph.nodes)
    zero.add_edges_from(key for key, delay in delays.items() if delay == 0)
    return zero


def zero_cycle(graph: NetworkGraph, delays: Mapping[EdgeKey, int]) -> str:
    """A cycle without a delay, as ``a -> b -> a``; empty if there is none."""
    try:
        cycle = nx.find_cycle(zero_delay_graph(graph, delays))
    except nx.NetworkXNoCycle:
        return ""
    return " -> ".join([source for source, _ in cycle] + [cycle[0][0]])


def _base_delays(graph: NetworkGraph, base: str) -> dict[EdgeKey, int]:
    if base not in ("streaming", "sequential"):
        raise RolloutError("unknown base rollout", expected="streaming or sequential", got=base)
    free = 1 if base == "streaming" else 0
    return {
        edge.key: edge.delay if edge.delay is not None else max(free, int(edge.is_self_edge))
        for edge in graph.edges
    }


def _arrow(key: object) -> str:
    return " -> ".join(map(str, key)) if isinstance(key, tuple) else repr(key)
