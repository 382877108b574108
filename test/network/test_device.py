"""A group computes on its device's stream; on the CPU that is nothing, and costs no copy."""

from __future__ import annotations

import pytest
import torch

from networks import TINY
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.device import CPU, ComputeStream, compute_stream
from streaming_net_ros.network.flat import flattened
from streaming_net_ros.network.layout import all_finite, to_payload
from streaming_net_ros.network.tuning import example_inputs

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


def test_the_cpu_has_no_streams_and_hands_its_memory_on():
    stream = compute_stream(CPU)
    assert type(stream) is ComputeStream
    given = torch.ones(3)
    with stream.work(), stream.work():  # two threads may be at it
        assert stream.to_host(given) is given
    stream.wait()


@needs_gpu
def test_groups_on_their_own_streams_give_the_states_of_one_stream():
    network = StreamingNetwork(parse_network(TINY)).eval().to("cuda")
    group = network.group("stem")
    gpu = torch.device("cuda")
    streams = [compute_stream(gpu) for _ in range(3)]
    given = example_inputs(network, "stem", device=gpu)
    layers = flattened(group)
    with torch.inference_mode():
        expected = layers(given)
        torch.cuda.synchronize()
        for _ in range(20):
            for stream in streams:
                with stream.work():
                    state = layers(given)
                    assert all_finite(state)
                assert torch.equal(state, expected)
                assert torch.equal(stream.to_host(to_payload(state)), to_payload(state.cpu()))
