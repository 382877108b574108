"""A frame that was recorded once is the frame that the network computes, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from network.test_frame_law import images, spec_of
from networks import GOLDEN_TOY, TINY
from strategies import rollouts
from streaming_net_ros.errors import ParameterError, RolloutError, StateError
from streaming_net_ros.network import StreamingNetwork, parse_network, rollout_of
from streaming_net_ros.network.capture import plain_calls
from streaming_net_ros.network.frame_graph import MOST_SETS, FrameGraph
from streaming_net_ros.theory import Rollout

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


def in_any_order(seed):
    """Records branches that are called in another order every time: none may hear another."""
    drawn = random.Random(seed)

    def record(branches):
        def replay():
            plain_calls(drawn.sample(branches, len(branches)))()

        replay()  # as a GPU's warm-up: what it writes must not matter
        return replay

    return record


def streamed(rollout):
    """The same with every edge between groups delayed."""
    longer = {
        edge.key: max(rollout.delays[edge.key], int(edge.source in rollout.graph.groups))
        for edge in rollout.graph.edges
    }
    graph = replace(
        rollout.graph, edges=tuple(replace(edge, delay=None) for edge in rollout.graph.edges)
    )
    return Rollout(graph, longer, rollout.name)


def assert_gives_the_same(network, frames, record=None):
    graph = FrameGraph(network, record)
    state, begun = network.init_state(), 0
    with torch.inference_mode():
        for frame in frames:
            begun += graph.has_begun
            state, expected = network.advance(state, frame)
            got = graph.advance(frame)
            assert got.keys() == expected.keys()
            for name, batch in expected.items():
                if batch is None:
                    assert got[name] is None
                else:
                    assert torch.equal(got[name], batch), name
                    assert got[name].stride() == batch.stride()
                    assert got[name].dtype is batch.dtype
    return begun


@settings(max_examples=40)
@given(rollouts(max_groups=4, max_edges=7), st.integers(0, 100))
def test_the_frame_graph_gives_bit_for_bit_the_states_of_advance(rollout, seed):
    spec = spec_of(streamed(rollout))
    network = StreamingNetwork(spec, seed=seed).eval()
    fill = (len(network.groups) + 1) * (network.rollout.max_delay + 1)
    sets = network.rollout.max_delay + 1
    begun = assert_gives_the_same(
        network, images(spec, fill + 2 * sets + 1, seed), in_any_order(seed)
    )
    assert begun > 2 * sets  # each recording was replayed twice


@pytest.mark.parametrize("changes", [{}, {"state_dtype": "float16"}], ids=["float32", "float16"])
def test_images_and_both_precisions_go_through_the_frame_graph(changes):
    spec = parse_network({**TINY, **changes})
    network = StreamingNetwork(spec, rollout_of(spec, "streaming")).eval()
    assert assert_gives_the_same(network, images(spec, 12)) > 4


def test_a_recorded_state_stays_as_long_as_somebody_hears_it():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec, rollout_of(spec, "streaming")).eval()
    graph, frames = FrameGraph(network), list(images(spec, 16))
    for frame in frames[:10]:
        graph.advance(frame)
    first = graph.advance(frames[10])["deep"]
    kept = first.clone()
    assert torch.equal(first, kept) and graph.advance(frames[11])["deep"] is not first
    assert torch.equal(first, kept)
    assert graph.advance(frames[12])["deep"] is first  # a fixed set of buffers


def sequential():
    spec = parse_network(TINY)
    return StreamingNetwork(spec, rollout_of(spec, "sequential"))


def with_a_period():
    content = {**TINY, "groups": [{**TINY["groups"][0], "every": 2}, *TINY["groups"][1:]]}
    return StreamingNetwork(parse_network(content))


def with_a_long_delay():
    one, two = GOLDEN_TOY["groups"]
    one = {**one, "edges": [one["edges"][0], {"source": "a"}, {"source": "b", "delay": MOST_SETS}]}
    return StreamingNetwork(parse_network({**GOLDEN_TOY, "groups": [one, two]}))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (sequential, RolloutError, r"stem -> memory: .*not independent.*streaming rollout"),
        (with_a_period, ParameterError, r"group stem: every: .*every group: expected 1, got 2"),
        (with_a_long_delay, RolloutError, r"too many frames to record: expected delays below"),
    ],
)
def test_a_network_whose_frames_cannot_be_recorded_is_refused_with_the_reason(
    make, error, message
):
    with pytest.raises(error, match=message):
        FrameGraph(make())


@pytest.mark.parametrize(
    "inputs, got",
    [
        ({}, "got none"),
        ({"image": None}, "got none"),
        ({"image": torch.zeros(2, 3, 12, 16, dtype=torch.uint8)}, "got .*2, 3, 12, 16"),
        ({"image": torch.zeros(1, 3, 12, 16)}, "got .*float32"),
        ({"image": torch.zeros(1, 3, 12, 16), "picture": torch.zeros(1)}, "unknown input"),
    ],
)
def test_an_input_that_is_not_as_it_was_recorded_is_told_and_harms_nothing(inputs, got):
    spec = parse_network(TINY)
    network = StreamingNetwork(spec).eval()
    graph, state = FrameGraph(network), network.init_state()
    for number, frame in enumerate(images(spec, 12)):
        if number == 9:
            with pytest.raises(StateError, match=got):
                graph.advance(inputs)
        with torch.inference_mode():
            state, expected = network.advance(state, frame)
        head = graph.advance(frame)["head"]
        assert number < 9 or torch.equal(head, expected["head"])


@needs_gpu
def test_on_a_gpu_the_frame_graph_gives_the_states_of_advance():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec, rollout_of(spec, "streaming")).eval().to("cuda")
    frames = [{"image": frame["image"].cuda()} for frame in images(spec, 24)]
    graph, state = FrameGraph(network), network.init_state()
    with torch.inference_mode():
        for frame in frames:
            state, expected = network.advance(state, frame)
            got = graph.advance(frame)
            for name, batch in expected.items():
                if batch is not None:
                    assert torch.allclose(got[name].float(), batch.float(), atol=1e-5)
