"""Rollouts: the three kinds, their validity, and how they compare."""

import copy
import pickle

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import POSTER, POSTER_MARKED, graphs, network, rollouts
from streaming_net_ros.errors import NetworkFileError, RolloutError
from streaming_net_ros.theory import (
    Rollout,
    equally_model_parallel,
    hybrid,
    is_valid_pattern,
    sequential,
    streaming,
)


@given(graphs())
def test_streaming_delays_every_edge_by_one(graph):
    rollout = streaming(graph)
    assert set(rollout.delays.values()) == {1}
    assert rollout.is_streaming
    assert rollout.name == "streaming"


@given(graphs())
def test_sequential_is_possible_exactly_if_self_edges_are_the_only_cycles(graph):
    if any(not edge.is_self_edge for edge in graph.recurrent_edges):
        with pytest.raises(RolloutError, match="in the network file"):
            sequential(graph)
    else:
        rollout = sequential(graph)
        assert all(rollout.delays[e.key] == int(e.is_self_edge) for e in graph.edges)


def test_sequential_needs_a_marked_edge_on_a_longer_cycle():
    with pytest.raises(RolloutError) as told:
        sequential(POSTER)
    assert "rollout sequential of poster: no delay on the cycle" in str(told.value)
    assert "v -> w -> v" in str(told.value) or "w -> v -> w" in str(told.value)
    assert "mark one of its edges with `delay: 1` in the network file" in str(told.value)
    assert sequential(POSTER_MARKED).delays_into("v") == {"u": 0, "v": 1, "w": 1}


def test_fixed_delays_hold_under_every_rollout():
    graph = network("a>x:3 x>x:2 x>y y>z:0")
    assert list(streaming(graph).delays.values()) == [3, 2, 1, 0]
    assert list(sequential(graph).delays.values()) == [3, 2, 0, 0]
    assert streaming(graph).is_streaming
    assert not sequential(graph).is_streaming
    with pytest.raises(RolloutError, match="delay of edge a -> x is fixed: expected 3, got 1"):
        hybrid(graph, {("a", "x"): 1})


def test_streaming_refuses_a_cycle_fixed_to_zero():
    with pytest.raises(RolloutError, match=r"cycle x -> x; give one of its edges a delay"):
        streaming(network("a>x x>x:0"))


def test_hybrid_overrides_its_base():
    rollout = hybrid(POSTER_MARKED, {("u", "w"): 2}, name="late")
    assert list(rollout.delays.values()) == [1, 1, 1, 2, 1]
    assert rollout.name == "late"
    rollout = hybrid(POSTER_MARKED, {("u", "w"): 2}, base="sequential")
    assert list(rollout.delays.values()) == [0, 1, 0, 2, 1]


def test_hybrid_may_mend_an_invalid_sequential_base():
    assert hybrid(POSTER, {("v", "w"): 1}, base="sequential").delay("w", "v") == 0


def test_hybrid_refuses_an_unknown_base():
    with pytest.raises(RolloutError, match="expected streaming or sequential, got diagonal"):
        hybrid(POSTER, {}, base="diagonal")


@given(graphs(max_edges=6), st.data())
def test_a_pattern_is_valid_exactly_if_every_cycle_holds_a_delay(graph, data):
    delays = {edge.key: data.draw(st.integers(0, 2)) for edge in graph.edges}
    cycles = nx.simple_cycles(graph.digraph)
    held = all(
        any(delays[pair] for pair in zip(cycle, cycle[1:] + cycle[:1], strict=True))
        for cycle in cycles
    )
    assert is_valid_pattern(graph, delays) == held


@given(rollouts())
def test_a_frame_is_computed_in_an_order_that_zero_delays_allow(rollout):
    order = rollout.frame_order
    assert sorted(order) == sorted(rollout.graph.groups)
    for (source, target), delay in rollout.delays.items():
        if delay == 0 and source not in rollout.graph.inputs:
            assert order.index(source) < order.index(target)


def test_free_groups_keep_the_file_order():
    graph = network("a>z a>y a>x x>y")
    assert streaming(graph).frame_order == ("z", "y", "x")
    assert sequential(graph).frame_order == ("z", "x", "y")


@given(rollouts())
def test_delays_are_told_by_edge_and_by_target(rollout):
    for target in rollout.graph.groups:
        for source, delay in rollout.delays_into(target).items():
            assert rollout.delay(source, target) == rollout.delays[source, target] == delay
    assert rollout.max_delay == max(rollout.delays.values())


@given(rollouts())
def test_rollouts_are_values_whatever_their_name_and_travel_between_processes(rollout):
    backwards = dict(reversed(rollout.delays.items()))
    other = Rollout(rollout.graph, backwards, "other")
    assert other == rollout
    assert hash(other) == hash(rollout)
    assert pickle.loads(pickle.dumps(rollout)) == rollout
    assert copy.deepcopy(rollout) == rollout


def test_rollouts_with_other_delays_differ_and_cannot_be_changed():
    rollout = streaming(POSTER)
    assert rollout != hybrid(POSTER, {("u", "v"): 2})
    assert rollout != streaming(POSTER_MARKED)
    with pytest.raises(TypeError):
        rollout.delays["u", "v"] = 0


@pytest.mark.parametrize("delay", [-1, 1.0, True, None, "1"])
def test_delays_must_be_whole_frames(delay):
    with pytest.raises(RolloutError, match="bad delay of edge u -> v"):
        hybrid(POSTER, {("u", "v"): delay})
    assert not is_valid_pattern(POSTER, {**streaming(POSTER).delays, ("u", "v"): delay})


def test_all_missing_and_unknown_edges_are_told_at_once():
    delays = {("u", "v"): 1, ("v", "v"): 1, ("v", "w"): 1, ("w", "u"): 1, "uw": 1}
    told = "no delay for u -> w, w -> v; no such edge: w -> u, 'uw'"
    with pytest.raises(RolloutError, match=told):
        Rollout(POSTER, delays)


def test_a_zero_cycle_is_named_with_the_remedy():
    with pytest.raises(RolloutError) as told:
        hybrid(POSTER, {("v", "v"): 0}, name="bold")
    assert str(told.value) == (
        "rollout bold of poster: no delay on the cycle v -> v; "
        "give one of its edges a delay of at least 1 frame"
    )


@pytest.mark.parametrize("name", ["", "two words", "#1"])
def test_names_that_a_table_cannot_hold_are_refused(name):
    with pytest.raises(RolloutError, match="bad rollout name"):
        hybrid(POSTER, {}, name=name)


def test_unknown_edges_and_nodes_are_refused():
    with pytest.raises(NetworkFileError, match="unknown edge"):
        streaming(POSTER).delay("w", "u")
    with pytest.raises(NetworkFileError, match="unknown node"):
        streaming(POSTER).delays_into("x")


def test_edges_out_of_inputs_do_not_count_for_model_parallelism():
    rollout = streaming(POSTER)
    assert equally_model_parallel(rollout, hybrid(POSTER, {("u", "v"): 0, ("u", "w"): 2}))
    assert not equally_model_parallel(rollout, hybrid(POSTER, {("w", "v"): 0}))


def test_rollouts_of_different_networks_are_not_compared():
    with pytest.raises(RolloutError, match="different networks"):
        equally_model_parallel(streaming(POSTER), streaming(network("a>x")))
