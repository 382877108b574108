"""A network as a directed graph: layer groups, inputs, outputs and the edges between them.

Owns the shape of a network and the checks that a shape can be wrong in. Knows nothing of layers,
tensors, messages or of the rollout that will run it, except that an edge's delay may be fixed.
Imported by the rest of this room and by everybody who must know which group hears which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import networkx as nx

from streaming_net_ros.errors import NetworkFileError

EdgeKey = tuple[str, str]
"""(source, target): what names an edge, since a network has at most one edge between two nodes."""


@dataclass(frozen=True)
class Edge:
    """source -> target.

    Args:
        source: the input or group that is heard.
        target: the group that hears it.
        delay: frames between the two under every rollout; None leaves it to the rollout.
        teaches: the target hears it for learning alone: no state is made of it.
    """

    source: str
    target: str
    delay: int | None = None
    teaches: bool = False

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def key(self) -> EdgeKey:
        """(source, target)."""
        return (self.source, self.target)

    @property
    def is_self_edge(self) -> bool:
        """Whether a group hears itself."""
        return self.source == self.target


@dataclass(frozen=True)
class NetworkGraph:
    """The graph of a network; equal and hashable by value.

    Args:
        edges: all edges, in file order; the order of the nodes follows from it.
        outputs: the groups that answer. If empty: the groups that no other group hears or, if
            there is none, the last group.
        name: one word, shown in tables and errors.

    Raises:
        NetworkFileError: there is no edge or no input, an edge is there twice, a name cannot be
            printed in a table, a fixed delay is not an integer >= 0, a node cannot be reached
            from any input, or an output is unknown, an input, or there twice.
    """

    edges: tuple[Edge, ...]
    outputs: tuple[str, ...] = ()
    name: str = "network"

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(self.edges))
        if not is_word(self.name):
            raise NetworkFileError("bad network name", expected=WORD, got=self.name)
        self._check_edges()
        self._check_reachable()
        object.__setattr__(self, "outputs", tuple(self.outputs) or self._default_outputs())
        self._check_outputs()

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Inputs and groups in order of appearance, an edge's source before its target."""
        return tuple(dict.fromkeys(node for edge in self.edges for node in edge.key))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The nodes that hear nothing, in order of appearance."""
        targets = {edge.target for edge in self.edges}
        return tuple(node for node in self.nodes if node not in targets)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The layer groups: all nodes that hear something, in order of appearance."""
        inputs = set(self.inputs)
        return tuple(node for node in self.nodes if node not in inputs)

    @cached_property
    def digraph(self) -> nx.DiGraph:
        """The graph for networkx, read only."""
        digraph = nx.DiGraph()
        digraph.add_nodes_from(self.nodes)
        digraph.add_edges_from(edge.key for edge in self.edges)
        return nx.freeze(digraph)

    @cached_property
    def recurrent_edges(self) -> tuple[Edge, ...]:
        """The edges that lie on a cycle: within a strongly connected component, self-edges too."""
        components = nx.strongly_connected_components(self.digraph)
        home = {node: number for number, nodes in enumerate(components) for node in nodes}
        return tuple(edge for edge in self.edges if home[edge.source] == home[edge.target])

    def edge(self, source: str, target: str) -> Edge:
        """The edge source -> target.

        Raises:
            NetworkFileError: the network has no such edge.
        """
        try:
            return self._edges_by_key[source, target]
        except KeyError:
            raise self._error(
                "unknown edge",
                expected=f"one of {listed(self.edges)}",
                got=f"{source} -> {target}",
            ) from None

    def edges_into(self, node: str) -> tuple[Edge, ...]:
        """What the node hears, in file order.

        Raises:
            NetworkFileError: the network has no such node.
        """
        self._check_node(node)
        return self._edges_into.get(node, ())

    def edges_out_of(self, node: str) -> tuple[Edge, ...]:
        """Where the node is heard, in file order.

        Raises:
            NetworkFileError: the network has no such node.
        """
        self._check_node(node)
        return tuple(edge for edge in self.edges if edge.source == node)

    def freed(self) -> NetworkGraph:
        """The same graph without fixed delays, as the published theory counts its rollouts."""
        return replace(self, edges=tuple(replace(edge, delay=None) for edge in self.edges))

    @cached_property
    def _edges_by_key(self) -> dict[EdgeKey, Edge]:
        return {edge.key: edge for edge in self.edges}

    @cached_property
    def _edges_into(self) -> dict[str, tuple[Edge, ...]]:
        return {
            node: tuple(edge for edge in self.edges if edge.target == node) for node in self.groups
        }

    def _error(self, what: str, **facts: str) -> NetworkFileError:
        return NetworkFileError(what, where=f"network {self.name}", **facts)

    def _check_node(self, node: str) -> None:
        if node not in self.digraph:
            expected = f"one of {listed(self.nodes)}"
            raise self._error("unknown node", expected=expected, got=node)

    def _check_edges(self) -> None:
        if not self.edges:
            raise self._error("a network needs at least one edge", remedy="name a source")
        seen: set[EdgeKey] = set()
        for edge in self.edges:
            for node in edge.key:
                if not is_word(node):
                    raise self._error(f"bad node name in edge {edge}", expected=WORD, got=node)
            if edge.key in seen:
                raise self._error(f"edge {edge} is there twice", remedy="remove one of them")
            seen.add(edge.key)
            if edge.delay is not None and not is_delay(edge.delay):
                raise self._error(
                    f"bad delay of edge {edge}", expected=FRAMES, got=repr(edge.delay)
                )

    def _check_reachable(self) -> None:
        if not self.inputs:
            raise self._error(
                "no input: every node hears another one",
                remedy="add an edge from a node that hears nothing",
            )
        reached = set(self.inputs).union(
            *(nx.descendants(self.digraph, node) for node in self.inputs)
        )
        lost = [node for node in self.nodes if node not in reached]
        if lost:
            raise self._error(
                f"no input reaches {listed(lost)}",
                expected=f"a path from {listed(self.inputs)}",
                remedy="add an edge, or remove the node",
            )

    def _default_outputs(self) -> tuple[str, ...]:
        heard = {edge.source for edge in self.edges if not edge.is_self_edge}
        return tuple(node for node in self.groups if node not in heard) or self.groups[-1:]

    def _check_outputs(self) -> None:
        for output in self.outputs:
            if output in self.groups:
                continue
            what = "an output is an input" if output in self.inputs else "unknown output"
            raise self._error(what, expected=f"one of {listed(self.groups)}", got=output)
        if len(set(self.outputs)) != len(self.outputs):
            raise self._error("an output is there twice", got=listed(self.outputs))


WORD = "a printable word without spaces, '#' or '->'"
FRAMES = "a whole number of frames >= 0"


def is_word(name: object) -> bool:
    """Whether a name survives being printed in a table and read again."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and len(name.split()) == 1
        and name == name.strip()
        and "#" not in name
        and "->" not in name
    )


def is_delay(value: object) -> bool:
    """Whether a value is a delay: an integer >= 0, in frames. True and 1.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def listed(items: Iterable[object]) -> str:
    """Names or edges for an error line: ``a, b, c``."""
    return ", ".join(str(item) for item in items)
