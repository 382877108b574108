"""The shape of every state, followed from the inputs along the edges, and stacks that are shared.

Everything happens on torch's ``meta`` device: no memory, no arithmetic, and torch's own rules.
Imported by ``network``, and by ``plan``, which needs shapes but no weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from streaming_net_ros.errors import NetworkFileError
from streaming_net_ros.network.group import LayerGroup, merged_shape
from streaming_net_ros.network.layers import Shape, Share, build_stack, seeded
from streaming_net_ros.network.schema import GroupSpec, NetworkSpec


def state_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """The shape of every node's state, inferred from the inputs along the edges.

    Recurrent edges are followed once their source is known and then checked like all others.

    Raises:
        NetworkFileError: shapes that do not fit, naming the edge; a shape that a file states
            wrongly; or a cycle in which no shape can be known.
    """
    shapes: dict[str, Shape] = {name: given.shape for name, given in network.inputs.items()}
    share = SharedStacks(network).get
    waiting = list(network.groups)
    with torch.device("meta"):
        while waiting:
            known = [group for group in waiting if _infer(network, group, shapes, share)]
            if not known:
                known = [group for group in waiting if group.shape is not None][:1]
                if not known:
                    names = ", ".join(group.name for group in waiting)
                    raise NetworkFileError(
                        f"the state shapes of {names} depend on each other",
                        where=str(network.path),
                        remedy=f"state one of them: 'shape: [..]' in group {waiting[0].name}",
                    )
                shapes[known[0].name] = known[0].shape or ()
            waiting = [group for group in waiting if group not in known]
        for group in network.groups:
            built = LayerGroup(network, group, shapes, share)
            stated = group.shape or shapes[group.name]
            if built.shape != stated:
                raise NetworkFileError(
                    "the layers give a state of another shape than the file states",
                    where=f"{network.path}: group {group.name}",
                    expected=str(stated),
                    got=built.shape,
                )
    _check_outputs(network, shapes)
    return shapes


def _check_outputs(network: NetworkSpec, shapes: dict[str, Shape]) -> None:
    """Every element that an output puts into a message exists in its group's state."""
    for name, output in network.outputs.items():
        shape = shapes[output.group]
        beyond = [field for field, n in output.fields.items() if n >= math.prod(shape)]
        if beyond:
            raise NetworkFileError(
                f"the state of '{output.group}' has too few elements",
                where=f"{network.path}: outputs.{name}.fields.{beyond[0]}",
                expected=f"an element from 0 to {math.prod(shape) - 1}",
                got=output.fields[beyond[0]],
            )


def _infer(network: NetworkSpec, group: GroupSpec, shapes: dict[str, Shape], share: Share) -> bool:
    """Find one group's shape if enough of its sources are known."""
    where = f"{network.path}: group {group.name}"
    if group.factory is not None and group.shape is not None:
        shapes[group.name] = group.shape
        return True
    edge_shapes = {}
    for edge in group.edges:
        if edge.source in shapes:
            place = f"{where}: edge {edge.source} -> {group.name}: layers"
            _, edge_shapes[edge.source] = build_stack(
                edge.layers, shapes[edge.source], share, place
            )
    if not edge_shapes or (group.merge == "concat" and len(edge_shapes) < len(group.edges)):
        return False
    merged = merged_shape(group, edge_shapes, where)
    _, shapes[group.name] = build_stack(group.apply, merged, share, f"{where}: apply")
    return True


class SharedStacks:
    """The stacks that several places use with the same weights, each built once, at first use."""

    def __init__(self, network: NetworkSpec, seed: int = 0) -> None:
        self._network = network
        self._seed = seed
        self._widths: dict[str, int] = {}
        self.stacks = nn.ModuleDict()

    def get(self, name: str, shape: Shape, where: str) -> tuple[nn.Module, Shape]:
        """The stack of that name, and the shape that leaves it for states of a shape.

        Raises:
            NetworkFileError: no such stack, or it is already used for another shape.
        """
        if name not in self._network.shared:
            raise NetworkFileError(
                "unknown shared stack",
                where=where,
                expected=f"one of {sorted(self._network.shared)}",
                got=name,
                remedy="define it under 'shared'",
            )
        layers = self._network.shared[name]
        place = f"{self._network.path}: shared.{name}"
        if any(layer.is_shared for layer in layers):
            raise NetworkFileError("a shared stack cannot use another one", where=place)
        with torch.device("meta"):
            probe, leaving = build_stack(layers, shape, self.get, place)
        if name not in self.stacks:
            with seeded(self._seed, f"shared/{name}"):
                self.stacks[name], _ = build_stack(layers, shape, self.get, place)
            self._widths[name] = shape[0]
        elif self._widths[name] != shape[0] or not _same_weights(probe, self.stacks[name]):
            raise NetworkFileError(
                f"shared stack '{name}' is used for states that need different weights",
                where=where,
                expected=f"a state with {self._widths[name]} channels",
                got=shape,
            )
        return self.stacks[name], leaving


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """True if both have parameters of the same shapes."""
    return [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
