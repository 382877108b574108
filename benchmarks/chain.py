"""What the benchmarks measure on: chains of groups that each take a stated time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rates import group_seconds

from streaming_net_ros.network import parse_network

CHANNELS, SIDE = 16, 32  # a state of 64 KiB
_WIDTHS = (96, 48, 32, 16, 8, 4)
_STEPS = 8  # so many layers at least, so that one more or less is a small change
_NEAR = 0.1


@dataclass(frozen=True)
class Work:
    """What a group computes: so many convolutions of so many channels, at 32 x 32."""

    channels: int
    layers: int

    def stack(self, channels: int = CHANNELS) -> list[Any]:
        """The layers; what they give has so many channels."""
        kernel = 1 if self.channels == _WIDTHS[-1] else 3  # for the shortest times
        return [*[conv(self.channels)] * self.layers, conv(channels, kernel)]


def conv(channels: int, kernel: int = 3) -> dict[str, Any]:
    """A convolution that keeps the size."""
    padding = kernel // 2
    return {"Conv2d": {"out_channels": channels, "kernel_size": kernel, "padding": padding}}


def chain(groups: int, work: Work, *, fan_in: int = 1, side: int = SIDE) -> dict[str, Any]:
    """A network file's content: so many groups of this work; the last one ends in two numbers.

    Args:
        groups: how many.
        work: of each.
        fan_in: every group hears so many groups before it (the first ones: all there are).
        side: height and width of a state; the work is done at 32 x 32 all the same.
    """
    control = [
        {"AdaptiveAvgPool2d": {"output_size": 4}},
        "Flatten",
        {"Linear": {"out_features": 2}},
    ]
    names = [f"g{number}" for number in range(groups)]
    stack = work.stack()
    if side != SIDE:
        stack = [{"AdaptiveAvgPool2d": {"output_size": SIDE}}, *stack,
                 {"Upsample": {"size": [side, side]}}]  # fmt: skip
    made = []
    for number, name in enumerate(names):
        heard = names[max(0, number - fan_in) : number]
        widen = [] if heard else [conv(CHANNELS)]
        made.append(
            {
                "name": name,
                "edges": [{"source": one, "layers": widen} for one in heard or ["image"]],
                "apply": [*stack, *(control if name == names[-1] else [])],
            }
        )
    return {
        "name": "chain",
        "rate_hz": 30,
        "inputs": {"image": {"type": "image", "height": side, "width": side}},
        "groups": made,
        "outputs": {"last": {"group": names[-1]}},
    }


def work_for(target_s: float, tries: int = 5) -> Work:
    """Work that takes about so long here, within 10 % if that can be had.

    The widest layers of which several fit are taken, measured, and made more or fewer until they
    fit. What a run really takes is measured again beside it: a machine has fast and slow phases.
    """
    width, step_s = _WIDTHS[-1], math.inf
    for width in _WIDTHS:
        few, many = _seconds([Work(width, 2), Work(width, 10)])
        step_s = max((many - few) / 8, 1e-6)
        if step_s * _STEPS <= target_s:
            break
    layers = max(0, round(target_s / step_s) - 1)
    best, best_off = Work(width, layers), math.inf
    for _ in range(tries):
        (taken_s,) = _seconds([Work(width, layers)])
        off = abs(taken_s / target_s - 1)
        if off < best_off:
            best, best_off = Work(width, layers), off
        change = round((target_s - taken_s) / step_s)
        if off <= _NEAR or change == 0 or layers + change < 0:
            break
        layers += change
    return best


def _seconds(works: Sequence[Work]) -> list[float]:
    """Time of the middle group of a chain of three, of each work, measured in turns."""
    specs = [parse_network(chain(3, work)) for work in works]
    return group_seconds(specs, only=1, budget_s=0.6, clock=time.thread_time)


def write(content: dict[str, Any], folder: Path) -> Path:
    """The network file of a content."""
    path = folder / f"chain_{os.urandom(3).hex()}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
