"""A runner asks its backend for what that is made for, and the group for everything else."""

from __future__ import annotations

import pytest
import torch

from networks import TINY
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.network.tuning import example_inputs

NETWORK = StreamingNetwork(parse_network(TINY)).eval()


class Untouched:
    """A backend that must not be asked."""

    def __call__(self, states):
        raise AssertionError("asked")


def test_whatever_the_backend_is_not_made_for_the_group_computes():
    group, given = NETWORK.group("stem"), example_inputs(NETWORK, "stem", 1)
    runner = Runner(group, Untouched(), example_inputs(NETWORK, "stem"))
    with torch.inference_mode():
        for inputs in (
            {"image": given["image"]},
            {"image": given["image"], "deep": None},
            {name: torch.cat([state, state]) for name, state in given.items()},
            {**given, "image": given["image"].float()},
        ):
            assert torch.equal(runner(inputs), group(inputs))
        assert runner({}) is None
        with pytest.raises(AssertionError, match="asked"):
            runner(given)


def test_a_runner_hears_its_sources_in_the_order_of_the_file():
    heard = []
    group, given = NETWORK.group("stem"), example_inputs(NETWORK, "stem")

    def compute(states):
        heard.extend(states)
        return given["deep"]

    runner = Runner(group, compute, given)
    runner(dict(reversed(given.items())))
    assert all(a is b for a, b in zip(heard, given.values(), strict=True))


def test_a_runner_computes_on_its_own_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        given = example_inputs(NETWORK, "deep")
        runner = Runner(NETWORK.group("deep"), torch_threads=2)
        assert torch.get_num_threads() == 1
        runner(given)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
