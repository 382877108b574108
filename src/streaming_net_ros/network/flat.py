"""A group's layers as one flat list of functions: the same operations, without module calls.

A small convolution takes 8 us, and to be called as a module inside modules another 10 to 20: with
small groups, most of the cost of streaming. What is computed, and in which order, is exactly what
`LayerGroup.forward` computes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from streaming_net_ros.network.group import Inputs, LayerGroup
from streaming_net_ros.network.layers import SharedReference
from streaming_net_ros.network.layout import as_state

Layers = Callable[[Inputs], Tensor | None]  # a state from the states of sources, as a LayerGroup
_Step = Callable[[Tensor], Tensor]


def flattened(group: LayerGroup) -> Layers:
    """A function that gives what a group gives, for inference.

    Args:
        group: in evaluation mode, on its device. Weights are shared with it, not copied.
    """
    return group if group.made is not None else _Flat(group)


def only_reads(group: LayerGroup) -> bool:
    """Is it known that the group writes to none of its inputs, and keeps none?

    A layer with ``inplace`` may write. A factory's module says so itself, by an attribute
    ``only_reads_inputs`` that is true.
    """
    if group.made is not None:
        return getattr(group.made, "only_reads_inputs", False) is True
    return not any(getattr(layer, "inplace", False) for layer in _all_layers(group))


def _all_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Every layer in it, those of shared stacks too."""
    for layer in module.modules():
        yield layer
        if isinstance(layer, SharedReference):
            yield from _all_layers(layer.stack)


class _Flat:
    def __init__(self, group: LayerGroup) -> None:
        self._merge, self._dtype, self._gains = group.merged, group.dtype, group.gains
        stacks = {source: tuple(_steps(group.edges[source])) for source in group.sources}
        self._edges = {
            source: (*_intake(group, source), *_frugal(stack)) for source, stack in stacks.items()
        }
        # A single edge's result goes through the merge as it is.
        is_new = all(stack and stack[-1][1] for stack in stacks.values())
        self._after = tuple(_frugal(_steps(group.after), is_new))

    def __call__(self, inputs: Inputs) -> Tensor | None:
        heard: dict[str, Tensor] = {}
        for source, steps in self._edges.items():
            state = inputs.get(source)
            if state is not None:
                for step in steps:
                    state = step(state)
                heard[source] = state * self._gains[source] if source in self._gains else state
        if not heard:
            return None
        state = self._merge(heard)
        for step in self._after:
            state = step(state)
        return as_state(state if state.dtype is self._dtype else state.to(self._dtype))


def _intake(group: LayerGroup, source: str) -> Iterator[_Step]:
    """How a group hears a source."""
    if source in group.intakes:
        yield group.intakes[source].forward
    elif group.dtype is not torch.float32:
        yield Tensor.float


def _steps(layers: nn.Module) -> Iterator[tuple[_Step, bool]]:
    """The functions of a stack of layers, in order, and whether what they give is surely new.

    A layer unknown here is its ``forward``.
    """
    if type(layers) is nn.Sequential:
        for layer in layers:
            yield from _steps(layer)
    elif type(layers) is nn.Conv2d and layers.padding_mode == "zeros":
        yield _convolution(layers), True
    elif type(layers) is nn.ReLU and not layers.inplace:
        yield torch.relu, True
    else:
        yield layers.forward, False


def _frugal(steps: Iterable[tuple[_Step, bool]], is_new: bool = False) -> Iterator[_Step]:
    """The same functions; a ReLU of what is new is made where it lies, as nobody else has it.

    Args:
        steps: with whether what each gives is new: in memory that nothing else refers to.
        is_new: is what the first one is given?
    """
    for step, gives_new in steps:
        yield torch.relu_ if step is torch.relu and is_new else step
        is_new = gives_new


def _convolution(layer: nn.Conv2d) -> _Step:
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    rest: Any = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def convolve(state: Tensor) -> Tensor:
        return torch.conv2d(state, weight, bias, *rest)

    return convolve
