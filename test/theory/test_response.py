"""First and full responses and ages, against brute force."""

from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import assume, given

from strategies import (
    MNIST_S,
    MNIST_SR,
    POSTER,
    POSTER_MARKED,
    cifar_dsr,
    graphs,
    network,
    rollouts,
)
from streaming_net_ros.theory import (
    Ages,
    Edge,
    NetworkGraph,
    Rollout,
    ages,
    equally_model_parallel,
    first_frames,
    hybrid,
    light_cone,
    response_times,
    sequential,
    streaming,
    valid_rollouts,
)


def simulated_first_frames(rollout, frames):
    """Play the existence rule: a state exists once a state that it hears exists."""
    exists = {(frame, image) for frame in range(frames) for image in rollout.graph.inputs}
    for frame in range(frames):
        for _ in rollout.graph.groups:  # as often as an order within the frame could matter
            for (source, target), delay in rollout.delays.items():
                if (frame - delay, source) in exists:
                    exists.add((frame, target))
    return {
        node: min(frame for frame, name in exists if name == node) for node in rollout.graph.nodes
    }


@given(rollouts())
def test_first_frames_are_those_of_the_simulated_existence_rule(rollout):
    frames = 3 * len(rollout.graph.nodes) + 1
    assert first_frames(rollout) == simulated_first_frames(rollout, frames)


def brute_force_ages(rollout, image, output):
    digraph = rollout.graph.digraph
    paths = list(nx.all_simple_paths(digraph, image, output))
    delays = {sum(rollout.delay(*pair) for pair in nx.utils.pairwise(path)) for path in paths}
    walked = {node for path in paths for node in path}
    cycles = [set(cycle) for cycle in nx.simple_cycles(digraph)]
    return paths, Ages(tuple(sorted(delays)), any(walked & cycle for cycle in cycles))


@given(rollouts())
def test_ages_are_the_delays_of_all_paths_without_a_cycle(rollout):
    found = ages(rollout)
    assert tuple(found) == rollout.graph.outputs
    for output, by_input in found.items():
        for image in rollout.graph.inputs:
            paths, expected = brute_force_ages(rollout, image, output)
            assert by_input.get(image) == (expected if paths else None)


@given(rollouts())
def test_the_first_response_is_the_youngest_age_and_not_after_the_full_one(rollout):
    first = first_frames(rollout)
    for output, times in response_times(rollout).items():
        delays = {delay for age in times.ages.values() for delay in age.delays}
        assert times.output == output
        assert times.first_frames == first[output] == min(delays)
        assert times.full_frames == max(delays) >= times.first_frames
        assert times.first_step >= 1 and times.period_steps >= 1


@given(graphs())
def test_streaming_answers_after_the_shortest_path_and_then_at_every_step(graph):
    for output, times in response_times(streaming(graph)).items():
        shortest = min(
            nx.shortest_path_length(graph.digraph, image, output)
            for image in graph.inputs
            if nx.has_path(graph.digraph, image, output)
        )
        assert (times.first_frames, times.first_step, times.period_steps) == (
            shortest,
            shortest,
            1,
        )


@pytest.mark.parametrize("more", range(7))
def test_sequential_answers_at_multiples_of_the_inference_factor(more):
    times = response_times(sequential(cifar_dsr(more)))["out"]
    assert (times.first_frames, times.full_frames) == (0, 0)
    assert times.first_step == times.period_steps == 4 + more


@given(graphs(max_groups=4, max_edges=7))
def test_equally_model_parallel_rollouts_answer_at_the_same_step(graph):
    # The paper: an edge out of an input may be 0 or 1, the computation is the same.
    steps = {}
    for rollout in valid_rollouts(graph):
        parallel = next((r for r in steps if equally_model_parallel(r, rollout)), rollout)
        times = {out: (t.first_step, t.period_steps) for out, t in response_times(rollout).items()}
        assert steps.setdefault(parallel, times) == times


def test_a_skip_answers_early_and_the_long_path_refines():
    times = response_times(streaming(MNIST_S))["out"]
    assert (times.first_frames, times.full_frames) == (2, 3)
    assert (times.first_step, times.period_steps) == (2, 1)
    assert times.ages == {"image": Ages((2, 3), is_recurrent=False)}


def test_the_poster_network_mixes_older_images_through_its_cycles():
    assert ages(streaming(POSTER)) == {"w": {"u": Ages((1, 2), is_recurrent=True)}}
    assert ages(sequential(POSTER_MARKED)) == {"w": {"u": Ages((0,), is_recurrent=True)}}


def test_a_cycle_beside_the_way_does_not_age_an_output():
    rollout = streaming(network("a>x x>y x>z z>z", outputs=("y", "z")))
    assert not ages(rollout)["y"]["a"].is_recurrent
    assert ages(rollout)["z"]["a"].is_recurrent


def test_an_input_that_does_not_reach_an_output_has_no_age():
    rollout = streaming(network("a>x b>y x>y", outputs=("x", "y")))
    assert ages(rollout) == {
        "x": {"a": Ages((1,), False)},
        "y": {"a": Ages((2,), False), "b": Ages((1,), False)},
    }


def test_ages_of_a_dense_network_do_not_explode():
    names = ["in", *(f"g{i}" for i in range(40))]
    edges = [Edge(u, v) for i, v in enumerate(names) for u in names[:i]]
    rollout = streaming(NetworkGraph(tuple(edges)))  # 2^39 paths
    assert ages(rollout)["g39"]["in"].delays == tuple(range(1, 41))


def test_ages_of_a_dense_cycle_do_not_explode():
    names = [f"g{i}" for i in range(9)]
    edges = [Edge("in", "g0"), *(Edge(u, v) for u in names for v in names if u != v)]
    rollout = streaming(NetworkGraph(tuple(edges), ("g8",)))
    assert ages(rollout)["g8"]["in"].delays == tuple(range(2, 10))


def test_a_first_response_comes_as_soon_as_its_chain_of_updates_is_done():
    graph = network("a>x x>y y>z")
    chain = {("a", "x"): 0, ("x", "y"): 0, ("y", "z"): 1}
    times = response_times(Rollout(graph, chain))["z"]
    assert (times.first_frames, times.period_steps, times.first_step) == (1, 2, 3)
    times = response_times(hybrid(graph, {("a", "x"): 3}))["z"]
    assert (times.first_frames, times.period_steps, times.first_step) == (5, 1, 3)


def test_the_hybrid_of_the_paper_answers_between_streaming_and_sequential():
    """Its published hold mean, .506 over U=1-9, fits answers at 3, 5, 7, 9 only."""
    delays = {("h1", "h2"): 1, ("h1", "out"): 1}
    times = response_times(hybrid(MNIST_SR, delays, "sequential"))["out"]
    assert (times.first_step, times.period_steps) == (3, 2)


@given(rollouts(max_groups=4, max_edges=7))
def test_first_steps_by_brute_force(rollout):
    """Fire whatever can fire, step by step, with the first image alone."""
    inputs = rollout.graph.inputs
    assume(len({delay for edge, delay in rollout.delays.items() if edge[0] in inputs}) == 1)
    first = first_frames(rollout)
    last = max(first.values())
    done = {(0, image): 0 for image in rollout.graph.inputs}
    wanted = {
        (t, node): [
            (t - delay, source)
            for source, delay in rollout.delays_into(node).items()
            if t - delay >= first[source] and (source not in rollout.graph.inputs or t == delay)
        ]
        for node in rollout.graph.nodes
        if node not in rollout.graph.inputs
        for t in range(first[node], last + 1)
    }
    for step in range(1, len(wanted) + 1):
        fires = [
            k for k, needs in wanted.items() if k not in done and all(n in done for n in needs)
        ]
        done |= dict.fromkeys(fires, step)
    by_hand = {output: done[first[output], output] for output in rollout.graph.outputs}
    assert {o: t.first_step for o, t in response_times(rollout).items()} == by_hand


def test_response_times_cannot_be_changed():
    times = response_times(streaming(MNIST_S))["out"]
    assert replace(times, first_frames=2) == times
    with pytest.raises(AttributeError):
        times.first_frames = 1


def test_an_edge_that_teaches_makes_no_response_and_no_age():
    edges = (Edge("image", "a"), Edge("a", "b"), Edge("image", "b"))
    plain = streaming(NetworkGraph(edges, ("b",)))
    taught = streaming(
        NetworkGraph((*edges, Edge("label", "b", 7, teaches=True),
                      Edge("b", "a", 9, teaches=True)), ("b",))
    )  # fmt: skip
    assert response_times(taught) == response_times(plain)
    assert light_cone(taught, "b", 20, 20) == light_cone(plain, "b", 20, 20)
    assert light_cone(taught, "label", 20, 20) == {(20, "label")}
    assert first_frames(taught) == first_frames(plain) | {"label": 0}
