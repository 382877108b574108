"""Noise on a group's state: Gaussian, and the same whenever a frame is computed again.

It depends on the group and the frame alone, so that a run with noise is as
repeatable as one without: offline, over any number of processes, and replayed.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layout import as_state


def with_noise(group: LayerGroup, state: Tensor, frame: int) -> Tensor:
    """A state with the group's noise; the state itself if it has none.

    Args:
        group: whose; ``group.noise`` is the standard deviation.
        state: (1, ...), in the layout of states.
        frame: its number.
    """
    if not group.noise:
        return state
    generator = torch.Generator().manual_seed(zlib.crc32(f"{group.name}/{frame}".encode()))
    drawn = torch.randn(state.shape, generator=generator).to(state.device, state.dtype)
    return as_state(state + group.noise * drawn)
