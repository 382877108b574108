"""Factories for network files: a group that makes a state of any size, and one that times its way.

The first writes the time at which its state is ready into the state; the second reads it when its
own compute begins. The difference, the hop, is its state, and so the network's response.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

_LOW_BITS, _HIGH_BITS = 20, 24  # whole numbers that float32 holds exactly; 4.9 hours of ns
_WRAP_NS = 1 << (_LOW_BITS + _HIGH_BITS)


class Make(nn.Module):
    """Gives a state of a stated shape, in channels-last memory, as fast as possible."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self._size = (1, channels, side, side)

    def forward(self, image: Tensor) -> Tensor:
        """A new state; the time is written last."""
        state = torch.empty(self._size, memory_format=torch.channels_last)
        numbers = state.as_strided((state.numel(),), (1,))
        numbers.fill_(1.0)
        now_ns = time.monotonic_ns() % _WRAP_NS
        numbers[0] = float(now_ns >> _LOW_BITS)
        numbers[1] = float(now_ns & ((1 << _LOW_BITS) - 1))
        return state


class Take(nn.Module):
    """Its state is how long the state that it hears took to come (microseconds)."""

    only_reads_inputs = True  # so they are used where they lie, as those of torch's layers are

    def forward(self, state: Tensor) -> Tensor:
        """(1, 1): the hop."""
        now_ns = time.monotonic_ns() % _WRAP_NS
        high, low = state.as_strided((2,), (1,)).tolist()
        ready_ns = (int(high) << _LOW_BITS) + int(low)
        return torch.tensor([[((now_ns - ready_ns) % _WRAP_NS) / 1e3]])


def make(channels: int, side: int) -> nn.Module:
    """The group that makes states."""
    return Make(channels, side)


def take() -> nn.Module:
    """The group that times them."""
    return Take()
