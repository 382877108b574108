"""A layer group: its edges' layers, a merge, and what follows. Owns one state.

A group is a pure function of its inputs (`forward`); who holds states, and when it runs, is
decided elsewhere. The same object runs offline, in training and in a ROS node. Its result is in a
fixed memory layout, so that the bits do not depend on which of the three it was.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from streaming_net_ros.errors import NetworkFileError, StateError
from streaming_net_ros.network.layers import InputNormalisation, Shape, Share, build_stack
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.schema import GroupSpec, NetworkSpec

Inputs = Mapping[str, Tensor | None]
STATE_DTYPES = {"float32": torch.float32, "float16": torch.float16}


class LayerGroup(nn.Module):
    """One group of a network.

    Attributes:
        name: the group's name.
        sources: the names of its sources, in the file's order of edges.
        shape: its state's shape, (channels, height, width) or (features,).
        dtype: its state's dtype as it is handed on.
        noise: standard deviation of the noise on its state (``noise``); it is added by whoever
            knows the frame.
        gains: factors by which what edges bring is multiplied, by source; none where it is 1.
    """

    def __init__(self, network: NetworkSpec, spec: GroupSpec, shapes: Mapping[str, Shape],
                 share: Share) -> None:  # fmt: skip
        super().__init__()
        self.name = spec.name
        self.sources = tuple(edge.source for edge in spec.edges)
        self.dtype = STATE_DTYPES[network.state_dtype]
        self.gains: dict[str, float] = {}
        self.noise = 0.0
        self._merge = spec.merge
        where = f"{network.path}: group {spec.name}"
        self.intakes = nn.ModuleDict()
        for name, given in network.inputs.items():
            if name in self.sources:
                self.intakes[name] = InputNormalisation(given)
        self.edges = nn.ModuleDict()
        self.edge_shapes: dict[str, Shape] = {}
        self.made: nn.Module | None = None
        if spec.factory is not None:
            self.made, self.shape = _from_factory(spec, where)
            return
        for edge in spec.edges:
            place = f"{where}: edge {edge.source} -> {spec.name}: layers"
            self.edges[edge.source], self.edge_shapes[edge.source] = build_stack(
                edge.layers, shapes[edge.source], share, place
            )
        merged = merged_shape(spec, self.edge_shapes, where)
        self.after, self.shape = build_stack(spec.apply, merged, share, f"{where}: apply")

    def forward(self, inputs: Inputs) -> Tensor | None:
        """The group's state for one frame (frame law).

        Args:
            inputs: per source its state, (batch, ...), or None where it does not exist. A source
                that is left out does not exist either.

        Returns:
            The state, (batch, channels, height, width) in channels-last memory or (batch,
            features); None if no input exists: the group stays silent.
        """
        heard = {
            source: self._take_in(source, state)
            for source in self.sources
            if (state := inputs.get(source)) is not None
        }
        if not heard:
            return None
        if self.made is not None:
            heard = {s: self.amplified(s, state) for s, state in heard.items()}
            state = self.made(*(heard.get(source) for source in self.sources))
            if not isinstance(state, Tensor):
                raise StateError(
                    "a factory's module must return a tensor",
                    where=f"group {self.name}",
                    got=type(state).__name__,
                )
        else:
            heard = {s: self.amplified(s, self.edges[s](h)) for s, h in heard.items()}
            state = self.after(self.merged(heard))
        return as_state(state if state.dtype is self.dtype else state.to(self.dtype))

    def amplified(self, source: str, brought: Tensor) -> Tensor:
        """What an edge brings, times its gain."""
        return brought if source not in self.gains else brought * self.gains[source]

    def _take_in(self, source: str, state: Tensor) -> Tensor:
        if source in self.intakes:
            state = self.intakes[source](state)
        elif state.dtype is not torch.float32:
            state = state.to(torch.float32)
        return state

    def merged(self, heard: Mapping[str, Tensor]) -> Tensor:
        """Sum, product or concatenation of the edges that exist, always in the file's order."""
        if self._merge != "concat" and len(heard) == 1:
            return next(iter(heard.values()))
        if self._merge == "concat":
            some = next(iter(heard.values()))
            return torch.cat(
                [
                    heard[s] if s in heard else some.new_zeros((len(some), *self.edge_shapes[s]))
                    for s in self.sources
                ],
                dim=1,
            )
        states = iter(heard.values())
        merged = next(states)
        for state in states:
            merged = merged + state if self._merge == "sum" else merged * state
        return merged


def merged_shape(spec: GroupSpec, edge_shapes: Mapping[str, Shape], where: str) -> Shape:
    """The shape after the merge.

    Raises:
        NetworkFileError: the edges' shapes cannot be merged; all of them are listed.
    """
    shapes = list(edge_shapes.values())
    if spec.merge == "concat":
        fits = len({(len(shape), shape[1:]) for shape in shapes}) == 1
        expected = "edges that differ in nothing but their channels"
    else:
        fits = len(set(shapes)) == 1
        expected = "edges that all give one shape"
    if not fits:
        listed = ", ".join(f"{s} -> {spec.name} gives {shape}" for s, shape in edge_shapes.items())
        raise NetworkFileError(
            f"shapes do not meet in the {spec.merge}",
            where=where,
            expected=expected,
            got=listed,
            remedy="give the odd edge a layer that changes its shape (stride, out_channels)",
        )
    if spec.merge == "concat":
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return shapes[0]


def _from_factory(spec: GroupSpec, where: str) -> tuple[nn.Module, Shape]:
    """Import and call a group's factory; its module and the shape that the file states for it."""
    if spec.shape is None:
        raise NetworkFileError(
            "a group from a factory must state its shape",
            where=where,
            expected="shape: [channels, height, width] or [features]",
        )
    module_name, _, function = (spec.factory or "").partition(":")
    try:
        make = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise NetworkFileError(
            "cannot import the factory",
            where=f"{where}.factory",
            expected="package.module:function that can be imported here",
            got=f"{spec.factory} ({error})",
        ) from None
    try:
        inspect.signature(make).bind(**spec.args)
        made = make(**spec.args)
    except TypeError as error:
        raise NetworkFileError(
            f"the factory does not take these arguments ({error})", where=f"{where}.args"
        ) from None
    if not isinstance(made, nn.Module):
        raise NetworkFileError(
            "the factory must return a torch.nn.Module",
            where=f"{where}.factory",
            got=type(made).__name__,
        )
    return made, spec.shape
