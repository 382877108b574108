"""Update states, tableaus, the inference factor, and Theorem 1 that ties them together."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import MNIST_FF, POSTER, POSTER_MARKED, cifar_dsr, graphs, rollouts
from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory import (
    equally_model_parallel,
    inference_factor,
    sequential,
    streaming,
    tableau,
    update_states,
    valid_rollouts,
)

LAST_FRAME = 4


@given(rollouts(), st.integers(0, LAST_FRAME))
def test_the_tableau_is_what_iterated_updates_give(rollout, last_frame):
    states = list(update_states(rollout, last_frame))
    assert all(states[-1].values())
    for node, step in tableau(rollout, last_frame).items():
        assert [state[node] for state in states].index(True) == step


@given(rollouts())
def test_updated_nodes_stay_updated(rollout):
    states = list(update_states(rollout, LAST_FRAME))
    for before, after in pairwise(states):
        assert all(after[node] >= done for node, done in before.items())
        assert after != before


@given(rollouts())
def test_inputs_and_frame_0_are_given(rollout):
    inputs = rollout.graph.inputs
    for (frame, node), step in tableau(rollout, LAST_FRAME).items():
        assert (step == 0) == (frame == 0 or node in inputs)


@given(graphs(max_groups=4, max_edges=7))
@settings(max_examples=50)
def test_theorem_1_the_four_statements_are_equivalent(graph):
    everywhere = [(rollout, tableau(rollout, LAST_FRAME)) for rollout in valid_rollouts(graph)]
    fastest = {node: min(steps[node] for _, steps in everywhere) for node in everywhere[0][1]}
    for rollout, steps in everywhere:
        statements = {
            equally_model_parallel(rollout, streaming(graph)),
            inference_factor(rollout) == 1,
            all(step <= frame for (frame, _), step in steps.items()),
            steps == fastest,
        }
        assert len(statements) == 1


def rows(rollout, last_frame=3):
    steps = tableau(rollout, last_frame)
    return {
        group: [steps[frame, group] for frame in range(last_frame + 1)]
        for group in rollout.graph.groups
    }


def test_the_poster_network_streams_one_step_per_frame():
    assert rows(streaming(POSTER)) == {"v": [0, 1, 2, 3], "w": [0, 1, 2, 3]}
    assert inference_factor(streaming(POSTER)) == 1


def test_the_poster_network_takes_two_steps_per_frame_sequentially():
    assert rows(sequential(POSTER_MARKED)) == {"v": [0, 1, 3, 5], "w": [0, 2, 4, 6]}
    assert inference_factor(sequential(POSTER_MARKED)) == 2


def test_of_the_poster_networks_rollouts_four_take_one_step_and_eight_take_two():
    factors = Counter(inference_factor(rollout) for rollout in valid_rollouts(POSTER))
    assert factors == {1: 4, 2: 8}


def test_a_sequential_chain_takes_a_step_per_group():
    assert rows(sequential(MNIST_FF)) == {
        "h1": [0, 1, 1, 1],
        "h2": [0, 2, 2, 2],
        "out": [0] + 3 * [3],
    }


@pytest.mark.parametrize("more", range(7))
def test_the_sequential_cifar_networks_have_their_published_inference_factors(more):
    assert inference_factor(sequential(cifar_dsr(more))) == 4 + more
    assert inference_factor(streaming(cifar_dsr(more))) == 1


@pytest.mark.parametrize("last_frame", [-1, 1.0, True])
def test_a_window_must_have_whole_frames(last_frame):
    with pytest.raises(RolloutError, match="bad last_frame"):
        tableau(streaming(POSTER), last_frame)
    with pytest.raises(RolloutError, match="bad last_frame"):
        next(update_states(streaming(POSTER), last_frame))
