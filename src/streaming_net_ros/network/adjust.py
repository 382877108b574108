"""What can be changed of a group between two frames: gains of edges, scalars, noise, weights.

A change has a name and a value, as a ROS parameter and a line of the ledger have, so that a node
and a replay make it alike: ``edge.SOURCE.gain``, ``scalar.PATH``, ``noise`` and ``weights``. It is
checked first and takes effect when it is applied. What is held or silenced is no change of the
group: see ``frames.lesion``. Nor is what it learns: see ``online``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layers import SharedReference
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.weights import (
    copy_weights,
    file_fingerprint,
    group_tensors,
    read_group_weights,
)

WEIGHTS = "weights"
NOISE = "noise"
LEARNING = "learning"
_UNUSED = {"p", "momentum", "init"}  # dropout, running statistics, beginnings: of training alone
Value = float | str


@dataclass(frozen=True)
class Change:
    """A change that was checked.

    Attributes:
        name: of what is changed.
        value: that it takes.
        fingerprint: of the weights file that was read; empty for other changes.
        apply: makes it, within microseconds (weights: a copy of them); between two frames only.
    """

    name: str
    value: Value
    fingerprint: str
    apply: Callable[[], None]


class Adjustable:
    """One group of a network, as far as it can be changed while it runs.

    Args:
        network: that holds the group.
        name: of the group.
    """

    def __init__(self, network: StreamingNetwork, name: str) -> None:
        self._network = network
        self._group = network.group(name)
        self._scalars = dict(scalars_of(self._group))

    def numbers(self) -> dict[str, float]:
        """Every number that can be changed, by name, with its value now."""
        gains = {gain_name(s): self._group.gains.get(s, 1.0) for s in self._group.sources}
        return (
            gains
            | {NOISE: self._group.noise}
            | {
                f"scalar.{path}": float(getattr(layer, attribute))
                for path, (layer, attribute) in self._scalars.items()
            }
        )

    def checked(self, name: str, value: Value) -> Change:
        """A change that can be applied.

        Raises:
            ParameterError: nothing of that name, or not a finite number.
            WeightsError: a weights file that cannot be read, or is of another network.
        """
        where = f"group {self._group.name}: {name}"
        if name == WEIGHTS:
            return self._swap(Path(str(value)), where)
        known = self.numbers()
        if name not in known:
            raise ParameterError(
                "nothing to change", where=where, expected=f"one of {list(known)}"
            )
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ParameterError("not a number", where=where, expected="finite", got=value)
        if name == NOISE and value < 0:
            raise ParameterError("noise below zero", where=where, expected=">= 0", got=value)
        return Change(name, float(value), "", self._setting(name, float(value)))

    def _setting(self, name: str, value: float) -> Callable[[], None]:
        if name == NOISE:
            return partial(setattr, self._group, "noise", value)
        kind, _, path = name.partition(".")
        if kind == "scalar":
            layer, attribute = self._scalars[path]
            return lambda: setattr(layer, attribute, value)
        source, gains = path.removesuffix(".gain"), self._group.gains

        def set_gain() -> None:
            gains[source] = value
            if value == 1.0:  # an edge as the file has it costs nothing
                del gains[source]

        return set_gain

    def _swap(self, path: Path, where: str) -> Change:
        if any(isinstance(layer, SharedReference) for layer in self._group.modules()):
            raise ParameterError(
                "this group shares layers with others",
                where=where,
                remedy="start the network with the new weights",
            )
        pairs = read_group_weights(self._network, self._group.name, path)
        return Change(WEIGHTS, str(path), file_fingerprint(path), partial(copy_weights, pairs))


def way_back(network: StreamingNetwork, name: str) -> Callable[[], None]:
    """Brings the weights and numbers of a group back to what they are now."""
    adjustable, mine = Adjustable(network, name), group_tensors(network, name)
    pairs = [(tensor, tensor.clone()) for tensor in mine.values()]
    changes = [adjustable.checked(*number) for number in adjustable.numbers().items()]

    def go_back() -> None:
        copy_weights(pairs)
        for change in changes:
            change.apply()

    return go_back


def lesion_name(source: str | None) -> str:
    """The name under which the lesion of a source's edge, or of the group (None), is changed."""
    return "lesion" if source is None else f"edge.{source}.lesion"


def is_lesion(name: str) -> bool:
    """Is it a lesion that is changed under this name?"""
    return name.rpartition(".")[2] == "lesion"


def is_learning(name: str) -> bool:
    """Is it learning that is changed under this name? The ledger tells of what it did itself."""
    return name.partition(".")[0] == LEARNING


def gain_name(source: str) -> str:
    """The name under which the gain of a source's edge is changed."""
    return f"edge.{source}.gain"


def scalars_of(group: LayerGroup) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    """The numbers that a group's layers were made with and use in every frame.

    Those that their constructors declare as ``float``: slopes, thresholds, exponents.

    Yields:
        Path (``apply.0.negative_slope``, ``edges.SOURCE.1.alpha``) and where it is kept.
    """
    for path, layer in group.named_modules():
        for name, given in inspect.signature(type(layer)).parameters.items():
            is_float = given.annotation in (float, "float") and name not in _UNUSED
            value = getattr(layer, name, None)
            if is_float and isinstance(value, int | float) and math.isfinite(value):
                yield f"{path.replace('after.', 'apply.', 1)}.{name}", (layer, name)
