"""The number of rollouts: enumeration, formula, bounds and published counts."""

from itertools import islice, product

import pytest
from hypothesis import given

from strategies import MNIST_FF, MNIST_S, MNIST_SR, POSTER, POSTER_MARKED, cifar_dsr, graphs
from strategies import network as network_of
from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory import (
    Edge,
    NetworkGraph,
    Rollout,
    count_valid_rollouts,
    is_valid_pattern,
    lemma1_bounds,
    streaming,
    valid_rollouts,
)
from streaming_net_ros.theory.counting import MAX_BLOCK_NODES


def complete(groups: int) -> NetworkGraph:
    """Every group hears every other one."""
    names = [f"g{i}" for i in range(groups)]
    between = [Edge(u, v) for u in names for v in names if u != v]
    return NetworkGraph((Edge("in", "g0"), *between), name="complete")


@given(graphs(max_edges=8))
def test_enumeration_yields_every_valid_pattern_once(graph):
    keys = [edge.key for edge in graph.edges]
    patterns = [dict(zip(keys, bits, strict=True)) for bits in product((0, 1), repeat=len(keys))]
    expected = {Rollout(graph, delays) for delays in patterns if is_valid_pattern(graph, delays)}
    found = list(valid_rollouts(graph))
    assert len(found) == len(expected)
    assert set(found) == expected
    assert found[0] == streaming(graph)


@given(graphs())
def test_lemma_1_bounds_the_count_and_the_count_is_the_enumeration(graph):
    lower, upper = lemma1_bounds(graph)
    count = count_valid_rollouts(graph)
    assert count == sum(1 for _ in valid_rollouts(graph))
    assert 1 <= lower <= count <= upper


@pytest.mark.parametrize(
    ("network", "count"),
    [(POSTER, 12), (MNIST_FF, 8), (MNIST_S, 16), (MNIST_SR, 16)]
    + [(cifar_dsr(k), 2**bits) for k, bits in enumerate([4, 6, 8, 11, 14, 18, 22])],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_published_networks_have_their_published_counts(network, count):
    assert count_valid_rollouts(network) == count


@pytest.mark.parametrize(
    ("groups", "count"), [(2, 3), (3, 25), (4, 543), (10, 4175098976430598143)]
)
def test_a_complete_network_counts_as_the_labelled_acyclic_graphs_do(groups, count):
    assert count_valid_rollouts(complete(groups)) == 2 * count


def test_the_bounds_of_the_poster_network():
    # Two edges on no cycle give 4, the cycle v -> w -> v gives 3; 5 edges with one self-edge.
    assert lemma1_bounds(POSTER) == (4, 16)


def test_disjoint_cycles_multiply_in_the_lower_bound():
    graph = network_of("a>x x>y y>x y>z z>t t>z")
    assert lemma1_bounds(graph) == (9, 64)
    assert count_valid_rollouts(graph) == 2 * 3 * 2 * 3


def test_cycles_that_share_a_node_do_not_multiply():
    graph = network_of("a>x x>y y>x x>z z>x")
    assert lemma1_bounds(graph) == (3, 32)
    assert count_valid_rollouts(graph) == 2 * 3 * 3


def test_enumeration_and_count_ignore_fixed_delays():
    found = list(valid_rollouts(POSTER_MARKED))
    assert len(found) == count_valid_rollouts(POSTER_MARKED) == 12
    assert {rollout.graph for rollout in found} == {POSTER_MARKED.freed()}


def test_a_large_network_is_enumerated_lazily():
    assert len(list(islice(valid_rollouts(cifar_dsr(6)), 3))) == 3


def test_blocks_are_counted_apart():
    # A chain of 2-cycles is one component of many groups, but each cycle is a block of its own.
    chain = " ".join(f"g{i}>g{i + 1} g{i + 1}>g{i}" for i in range(30))
    assert count_valid_rollouts(network_of(f"in>g0 {chain}")) == 2 * 3**30


def test_a_block_that_is_too_large_is_refused_with_the_bounds():
    graph = complete(MAX_BLOCK_NODES + 1)
    lower, upper = lemma1_bounds(graph)
    with pytest.raises(RolloutError, match=f"only the bounds of Lemma 1 .* {lower} to {upper}"):
        count_valid_rollouts(graph)
