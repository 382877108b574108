"""A factory for network files: a group that takes a random time and a fixed result."""

from __future__ import annotations

import random
import time

import torch
from torch import nn


class Jittery(nn.Module):
    """Sums what it hears, through one convolution each, after up to ``most_ms``; may hang."""

    def __init__(self, sources: int, channels: int, most_ms: float, hangs_at: int):
        super().__init__()
        self.heard = nn.ModuleList(nn.LazyConv2d(channels, 3, padding=1) for _ in range(sources))
        self.most_ms = most_ms
        self.calls_left = hangs_at
        self.random = random.Random()  # unseeded: the result must not depend on it

    def forward(self, *states):
        time.sleep(self.random.random() * self.most_ms / 1e3)
        self.calls_left -= 1
        if self.calls_left == 0:
            time.sleep(5)
        total = None
        for layer, state in zip(self.heard, states, strict=True):
            if state is not None:
                part = layer(state)
                total = part if total is None else total + part
        return torch.tanh(total)


def group(channels_in, channels, most_ms=3.0, hangs_at=-1):
    module = Jittery(len(channels_in), channels, most_ms, hangs_at)
    for layer, width in zip(module.heard, channels_in, strict=True):
        layer(torch.zeros(1, width, 4, 4))
    return module
