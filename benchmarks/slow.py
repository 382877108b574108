"""A factory for network files: a group that is slowed from outside, by a number in a file.

It sleeps: that stands for layers which compute on another device, and leaves this machine's cores
to the other groups, so that what is measured is the policy and not the fight for cores.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor, nn

CONTROL = "STREAMING_NET_SLOW_FILE"  # environment: the file that holds milliseconds


class Slow(nn.Module):
    """One convolution that takes as many milliseconds as the control file says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._layer = nn.Conv2d(channels, channels, 3, padding=1)
        self._control = Path(os.environ[CONTROL])

    def forward(self, state: Tensor) -> Tensor:
        """The state, after its time."""
        time.sleep(float(self._control.read_text() or 0) / 1e3)
        return self._layer(state).tanh()


def group(channels: int) -> nn.Module:
    """The group."""
    return Slow(channels)
