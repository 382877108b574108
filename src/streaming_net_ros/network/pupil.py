"""How one group is taught: by a loss with its optimiser, or by a Hebbian rule, on a copy of it.

Owns what a section ``learning`` means for a group: which weights change, what a frame must have
to teach, and one step. Knows no frames, and not when a step takes effect (``online``).
"""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from streaming_net_ros.errors import NetworkFileError
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layers import InputNormalisation, build_stack, seeded
from streaming_net_ros.network.local import hebbian_change
from streaming_net_ros.network.named import checked_arguments, find_named, first_line
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.schema import LearningSpec

LOSSES: Mapping[str, type[nn.Module]] = {
    loss.__name__: loss for loss in (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
}
_OLD_ARGUMENTS = ("size_average", "reduce", "reduction")  # a loss is the mean here
_OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


class Pupil:
    """A copy of the group that learns. One call at a time, outside ``inference_mode``.

    Attributes:
        twin: the copy.
    """

    def __init__(self, twin: LayerGroup) -> None:
        self.twin = twin

    def step(self, heard: Mapping[str, Tensor], rate: float) -> float | None:
        """Change the twin.

        Args:
            heard: (lessons, ...) per source, the target among them.
            rate: learning rate, or factor of the change.

        Returns:
            The loss before, if there is one.
        """
        raise NotImplementedError


class Teaching:
    """What a section ``learning`` of the network file means for its group.

    Args:
        network: has the group.
        name: of the group.

    Attributes:
        names: of the weights that change.
        needs: sources that must be there in a frame that teaches.

    Raises:
        NetworkFileError: the section does not fit the group.
    """

    def __init__(self, network: StreamingNetwork, name: str) -> None:
        self._spec = spec = network.spec.learning[name]
        self._group = network.group(name)
        where = f"{network.spec.path}: learning.{name}"
        self.needs = tuple(dict.fromkeys([*self._group.sources, *filter(None, [spec.target])]))
        if spec.rule == "local":
            self.names = _chosen(self._group, spec, where)
            self._comparison = _Comparison(network, self._group, spec, where)
        else:
            layer = _dense_layer(self._group, spec, where)
            named = self._group.named_parameters()
            self.names = tuple(name for name, p in named if p is layer.weight)
        if not self.names:
            raise NetworkFileError("these weights are shared with other edges, and do not learn "
                                   "while they stream", where=where)  # fmt: skip

    def begin(self) -> Pupil:
        """From the group's present weights, with a readout and an optimiser that know nothing."""
        twin = copy.deepcopy(self._group).requires_grad_(requires_grad=False)
        if self._spec.rule != "local":
            return _Hebbian(twin, self._spec)
        comparison = copy.deepcopy(self._comparison).to(next(twin.parameters()).device)
        return _Local(twin, self.names, comparison, self._spec)


class _Comparison(nn.Module):
    """The loss between states and targets, with the readout's weights."""

    def __init__(
        self, network: StreamingNetwork, group: LayerGroup, spec: LearningSpec, where: str
    ) -> None:
        super().__init__()
        assert spec.target is not None
        self._readout = _readout(network, group, spec, where)
        given = network.spec.inputs.get(spec.target)
        self._intake = nn.Identity() if given is None else InputNormalisation(given)
        self._criterion = _criterion(spec, where)

    def forward(self, states: Tensor, targets: Tensor) -> Tensor:
        """The mean loss."""
        said = self._readout(states.to(torch.float32))
        loss: Tensor = self._criterion(said, self._intake(targets).to(torch.float32))
        return loss


class _Local(Pupil):
    """Follows the gradient of a loss."""

    def __init__(
        self,
        twin: LayerGroup,
        names: tuple[str, ...],
        comparison: nn.Module,
        spec: LearningSpec,
    ) -> None:
        super().__init__(twin)
        assert spec.target is not None
        self._target = spec.target
        self._comparison = comparison
        own = dict(twin.named_parameters())
        learnt = [*(own[name] for name in names), *comparison.parameters()]
        for parameter in learnt:
            parameter.requires_grad_()
        self._optimiser = _OPTIMISERS[spec.optimizer](learnt, lr=spec.rate)

    def step(self, heard: Mapping[str, Tensor], rate: float) -> float:
        """See ``Pupil``."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with torch.enable_grad():
            loss: Tensor = self._comparison(self.twin(heard), heard[self._target])
            self._optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        self._optimiser.step()
        return float(loss.detach())


class _Hebbian(Pupil):
    """Follows what fires before and after a dense layer."""

    def __init__(self, twin: LayerGroup, spec: LearningSpec) -> None:
        super().__init__(twin)
        assert spec.rule != "local"
        self._rule = spec.rule
        self._layer = _dense_layer(twin, spec, "")
        self._inside: list[Tensor] = []
        self._layer.register_forward_pre_hook(lambda _, given: self._inside.append(given[0]))

    @torch.no_grad()
    def step(self, heard: Mapping[str, Tensor], rate: float) -> None:
        """See ``Pupil``."""
        self._inside.clear()
        state = self.twin(heard)
        x, y = self._inside[0].to(torch.float32), state.to(torch.float32)
        self._layer.weight += rate * hebbian_change(self._rule, x, y, self._layer.weight)


def _chosen(group: LayerGroup, spec: LearningSpec, where: str) -> tuple[str, ...]:
    """The names of the weights that change."""
    known = [name for name, _ in group.named_parameters()]
    chosen: set[str] = set()
    for pattern in spec.parameters:
        fitting = fnmatch.filter(known, pattern)
        if not fitting:
            raise NetworkFileError(
                "no weight of the group has such a name",
                where=f"{where}.parameters",
                expected=f"a pattern that fits some of {', '.join(known[:6]) or 'none'}",
                got=pattern,
            )
        chosen.update(fitting)
    return tuple(name for name in known if name in chosen)


def _dense_layer(group: LayerGroup, spec: LearningSpec, where: str) -> nn.Linear:
    assert spec.edge is not None
    stack = group.edges[spec.edge] if group.made is None else None
    layer = stack[-1] if isinstance(stack, nn.Sequential) and len(stack) else None
    if not isinstance(layer, nn.Linear) or group.shape != (layer.out_features,):
        raise NetworkFileError(
            "a Hebbian rule is for a dense edge, with a unit per element of the state",
            where=f"{where}.edge",
            expected=f"an edge whose layers end in a Linear of {math.prod(group.shape)}",
            got=spec.edge,
        )
    return layer


def _readout(
    network: StreamingNetwork, group: LayerGroup, spec: LearningSpec, where: str
) -> nn.Sequential:
    assert spec.target is not None

    def refuse(*_: Any) -> tuple[nn.Module, tuple[int, ...]]:
        raise NetworkFileError("a readout cannot use a shared stack", where=f"{where}.readout")

    with seeded(0, f"learning/{group.name}"):
        readout, shape = build_stack(spec.readout, group.shape, refuse, f"{where}.readout")
    if shape != network.shapes[spec.target]:
        raise NetworkFileError(
            "state and target differ in shape",
            where=where,
            expected=f"{network.shapes[spec.target]}, as '{spec.target}' has",
            got=shape,
            remedy="put layers under 'readout' that give this shape",
        )
    return readout.eval()


def _criterion(spec: LearningSpec, where: str) -> nn.Module:
    where = f"{where}.loss.{spec.loss.name}"
    factory = find_named(
        spec.loss.name, LOSSES, where, kind="loss", expected=f"one of {', '.join(LOSSES)}"
    )
    taken = checked_arguments(factory, spec.loss.args, where, filled={}, given=_OLD_ARGUMENTS)
    try:
        criterion = factory(**taken)
        criterion(torch.zeros(1), torch.zeros(1))
    except (TypeError, ValueError, RuntimeError) as error:
        raise NetworkFileError(
            f"torch refuses these arguments ({first_line(error)})", where=where
        ) from None
    return criterion
