"""How many rollouts a network has: by enumeration, by formula, and by the bounds of Lemma 1.

Counts the patterns of Fischer, Koehler, Pfeil, *The streaming rollout of deep networks - towards
fully model-parallel execution*, NeurIPS 2018, arXiv 1806.04965: every edge 0 or 1, fixed delays
ignored. Knows nothing of delays above 1. Imported by tests and by the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import prod

import networkx as nx

from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory.graph import Edge, EdgeKey, NetworkGraph
from streaming_net_ros.theory.rollout import Rollout

MAX_BLOCK_NODES = 16
"""Groups in one recurrent block that are counted exactly: 3^16 terms take some ten seconds."""

MAX_CYCLES = 2000
"""Cycles that the lower bound chooses from; a dense network has more than can be listed."""


def valid_rollouts(graph: NetworkGraph) -> Iterator[Rollout]:
    """All valid rollouts with delays 0 and 1, the streaming one first.

    Fixed delays are ignored: the rollouts belong to ``graph.freed()``. Invalid patterns are cut
    off at the first edge that closes a cycle, so the time per rollout stays small.
    """
    free = graph.freed()
    zero = nx.DiGraph()
    zero.add_nodes_from(free.nodes)
    for number, delays in enumerate(_patterns(free.edges, zero)):
        yield Rollout(free, delays, f"valid_{number}")


def _patterns(edges: tuple[Edge, ...], zero: nx.DiGraph) -> Iterator[dict[EdgeKey, int]]:
    """The valid choices for these edges, given the edges that already have delay 0."""
    if not edges:
        yield {}
        return
    (source, target), rest = edges[0].key, edges[1:]
    for delays in _patterns(rest, zero):
        yield {(source, target): 1, **delays}
    if nx.has_path(zero, target, source):  # True for a self-edge as well
        return
    zero.add_edge(source, target)
    for delays in _patterns(rest, zero):
        yield {(source, target): 0, **delays}
    zero.remove_edge(source, target)


def count_valid_rollouts(graph: NetworkGraph) -> int:
    """The number of `valid_rollouts`, without enumerating them.

    Every edge on no cycle is free: a factor 2. The edges with delay 0 on cycles must form an
    acyclic graph. A cycle never leaves a block (a strongly connected component, cut at those
    nodes whose removal would disconnect it), so the blocks' counts multiply.

    Raises:
        RolloutError: a block has more than `MAX_BLOCK_NODES` groups.
    """
    recurrent = nx.DiGraph(edge.key for edge in graph.recurrent_edges if not edge.is_self_edge)
    count: int = 2 ** (len(graph.edges) - len(graph.recurrent_edges))
    for block in nx.biconnected_components(recurrent.to_undirected()):
        if len(block) > MAX_BLOCK_NODES:
            lower, upper = lemma1_bounds(graph)
            raise RolloutError(
                f"too many groups on common cycles to count the rollouts of {graph.name}",
                expected=f"at most {MAX_BLOCK_NODES}",
                got=len(block),
                remedy=f"only the bounds of Lemma 1 are known: {lower} to {upper}",
            )
        count *= _count_acyclic(recurrent.subgraph(block))
    return count


def _count_acyclic(digraph: nx.DiGraph) -> int:
    """The number of edge subsets without a cycle.

    Node sets are bit masks. Let A(S) count the acyclic subsets of the edges inside S. Such a
    subset has sources, nodes of S that nothing enters. If all of T are sources, then the edges
    from T to the rest R = S - T are free and the edges inside R are acyclic; inclusion-exclusion
    over T counts every subset once:

        A(S) = sum over nonempty T of S of (-1)^(|T| + 1) 2^(edges from T to R) A(R)

    For a fixed R the terms of all T are products over the nodes of T, so the sum is pushed from
    every R to all R + T instead of being pulled.
    """
    place = {node: number for number, node in enumerate(digraph)}
    heard_by = [sum(1 << place[other] for other in digraph.successors(node)) for node in digraph]
    counts = [1] + [0] * (2 ** len(place) - 1)  # A, by bit mask
    for rest, count in enumerate(counts):
        masks, terms = [rest], [-count]
        for number, targets in enumerate(heard_by):
            if not rest >> number & 1:
                free = -(2 ** (targets & rest).bit_count())
                masks += [mask | 1 << number for mask in masks]
                terms += [term * free for term in terms]
        for mask, term in zip(masks[1:], terms[1:], strict=True):
            counts[mask] += term
    return counts[-1]


def lemma1_bounds(graph: NetworkGraph) -> tuple[int, int]:
    """Lemma 1 of arXiv 1806.04965: (lower, upper) bound of the number of valid rollouts.

    Upper: only self-edges are never free, 2^(edges - self-edges). Lower, the better of

    - 2^(edges on no cycle): delay all edges on cycles;
    - the product of 2^p - 1 over cycles of p edges that share no node: delay all other edges.
      Then a cycle of zeros would have to be one of the chosen cycles, and each of these takes
      every pattern but all zeros. A self-edge contributes the factor 1.

    The cycles are chosen greedily, shortest or longest first, among the first `MAX_CYCLES`.
    """
    self_edges = sum(edge.is_self_edge for edge in graph.edges)
    free = len(graph.edges) - len(graph.recurrent_edges)
    # Integers instead of names: the order in which networkx finds cycles is then repeatable.
    place = {node: number for number, node in enumerate(graph.nodes)}
    longer = nx.DiGraph(
        (place[edge.source], place[edge.target])
        for edge in graph.recurrent_edges
        if not edge.is_self_edge
    )
    cycles = sorted(islice(nx.simple_cycles(longer), MAX_CYCLES), key=len)
    lower = max(2**free, _disjoint(cycles), _disjoint(cycles[::-1]))
    return lower, 2 ** (len(graph.edges) - self_edges)


def _disjoint(cycles: list[list[int]]) -> int:
    """Product of 2^p - 1 over the cycles that share no node with one chosen before."""
    used: set[int] = set()
    chosen = []
    for cycle in cycles:
        if used.isdisjoint(cycle):
            used.update(cycle)
            chosen.append(cycle)
    return prod(2 ** len(cycle) - 1 for cycle in chosen)
