"""A whole streaming frame as one recorded graph, whose branches are the groups.

Streaming makes the groups of a frame independent of one another: each hears states of earlier
frames only. So all of them are recorded side by side (``capture``), and a frame is one call: on a
GPU one CUDA graph, without a thread, a stream or a kernel started from Python.

States stay where they are. With a longest delay of ``D`` frames there are ``D + 1`` sets of
buffers: frame ``t`` is written into set ``t % (D + 1)``, and what it hears lies in the others.
Each set is a recording of its own, so between two frames nothing is copied but the inputs::

    D = 1      set 0        set 1
    frame 0    writes <---  is read
    frame 1    is read ---> writes
    frame 2    writes <---  is read

Knows torch, and nothing of nodes or time. For one process that drives a network by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from streaming_net_ros.errors import ParameterError, RolloutError, StateError
from streaming_net_ros.network.capture import Record, Replay, recorder_of
from streaming_net_ros.network.flat import Layers, flattened
from streaming_net_ros.network.group import Inputs
from streaming_net_ros.network.network import NetworkState, StreamingNetwork

MOST_SETS = 64  # each is a recording of the whole network, and a copy of all of its states
_States = dict[str, Tensor]


class FrameGraph:
    """Drives a network from silence, frame by frame, as ``StreamingNetwork.advance`` does.

    Until every state exists, frames are computed by ``advance`` itself; then the recordings are
    made (a frame that takes longer), and replayed from then on. The states are the same bits on
    the CPU. One thread, and on a GPU one stream: that of the caller.

    Args:
        network: all groups, in evaluation mode, on one device, with their weights.
        record: what records; that of the device if None.

    Raises:
        RolloutError: a group hears another one of the same frame, or the delays are too long.
        ParameterError: a group does not compute in every frame.
    """

    def __init__(self, network: StreamingNetwork, record: Record | None = None) -> None:
        _check(network)
        self._network = network
        self._record = record
        self._layers = {name: flattened(network.group(name)) for name in network.groups}
        self._state = network.init_state()
        self._frame = 0
        self._sets: list[_States] = []
        self._replays: list[Replay] = []

    @property
    def has_begun(self) -> bool:
        """True once the recordings are made."""
        return bool(self._replays)

    def advance(self, inputs: Inputs) -> dict[str, Tensor | None]:
        """Compute the next frame.

        Args:
            inputs: per input its state; once the graph has begun, all of them in every frame, of
                one size. On a GPU, pinned memory may be written again when the frame is computed.

        Returns:
            The states of all nodes in this frame, None where there is none. Once the graph has
            begun they are its own buffers, written again by the frame ``D + 1`` later.

        Raises:
            StateError: an input that is unknown, missing, or of another size or type.
        """
        with torch.inference_mode():
            if not self.has_begun:
                return self._advance_plainly(inputs)
            own = self._sets[self._frame % len(self._sets)]
            for name, given in self._checked(inputs, own).items():
                own[name].copy_(given, non_blocking=True)
            self._replays[self._frame % len(self._sets)]()
            self._frame += 1
            return dict(own)

    def _advance_plainly(self, inputs: Inputs) -> dict[str, Tensor | None]:
        self._state, nodes = self._network.advance(self._state, inputs)
        self._frame = self._state.frame
        there = {name: state for name, state in nodes.items() if state is not None}
        is_full = all(s is not None for states in self._state.history.values() for s in states)
        if is_full and len(there) == len(nodes):
            self._begin(there)
        return nodes

    def _begin(self, states: Mapping[str, Tensor]) -> None:
        """Record a frame into each set, then fill the sets with what the next frames will hear."""
        count = self._network.rollout.max_delay + 1
        self._sets = [
            {name: torch.zeros_like(state) for name, state in states.items()} for _ in range(count)
        ]
        record = self._record or recorder_of(next(iter(states.values())).device)
        replays = [
            record([partial(self._compute, name, own) for name in self._network.groups])
            for own in range(count)
        ]
        for name, past in self._state.history.items():
            for age, state in enumerate(past, 1):
                if state is not None:
                    self._sets[(self._frame - age) % count][name].copy_(state)
        self._state = NetworkState(0, {})  # it holds all states of the last frames
        self._replays = replays

    def _compute(self, name: str, own: int) -> None:
        """A branch: one group, from the sets of earlier frames into the frame's own."""
        heard = {
            source: self._sets[(own - delay) % len(self._sets)][source]
            for source, delay in self._network.rollout.delays_into(name).items()
        }
        layers: Layers = self._layers[name]
        state = layers(heard)
        assert state is not None  # all of its sources are there
        self._sets[own][name].copy_(state)

    def _checked(self, inputs: Inputs, own: _States) -> dict[str, Tensor]:
        given = {
            name: self._network.checked_input(name, state)
            for name, state in inputs.items()
            if state is not None
        }
        for name in self._network.spec.inputs:
            expected, got = own[name], given.get(name)
            if got is None or got.shape != expected.shape or got.dtype is not expected.dtype:
                raise StateError(
                    "a recorded frame takes every input as it was recorded",
                    where=f"input {name}",
                    expected=f"{tuple(expected.shape)} {expected.dtype}",
                    got="none" if got is None else f"{tuple(got.shape)} {got.dtype}",
                    remedy="StreamingNetwork.advance takes them as they come",
                )
        return given


def _check(network: StreamingNetwork) -> None:
    """Can a frame of this network be recorded?"""
    rollout = network.rollout
    for edge in rollout.graph.edges:
        is_of_group = edge.source in network.groups
        if is_of_group and rollout.delay(edge.source, edge.target) == 0:
            raise RolloutError(
                "the groups of a frame are not independent",
                where=f"edge {edge.source} -> {edge.target}",
                expected="a delay of 1 or more between groups",
                got=0,
                remedy="take the streaming rollout",
            )
    if rollout.max_delay >= MOST_SETS:
        raise RolloutError(
            "too many frames to record",
            where="rollout",
            expected=f"delays below {MOST_SETS}",
            got=rollout.max_delay,
        )
    if network.spec.periods:
        name = next(iter(network.spec.periods))
        raise ParameterError(
            "a recorded frame computes every group",
            where=f"group {name}: every",
            expected="1",
            got=network.spec.periods[name].every,
            remedy="StreamingNetwork.advance repeats states",
        )
