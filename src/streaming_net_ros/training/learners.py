"""Who updates which weights: optimisers with their losses, and Hebbian rules.

A plan has one learner or several; each follows its own losses (or a local rule), and updates the
weights of its own choice with its own optimiser, at its own period. Its gradients reach no other
weights. Imported by ``trainer``.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import (
    Named,
    StreamingNetwork,
    checked_arguments,
    find_named,
    first_line,
)
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.hebbian import HebbianLearner
from streaming_net_ros.training.learner import Learner
from streaming_net_ros.training.objectives import Objective, Piece
from streaming_net_ros.training.plan import LearnerSpec, TrainingPlan

_WITHOUT = ("Optimizer", "LBFGS", "SparseAdam")  # abstract; wants a closure; sparse gradients


class GradientLearner(Learner):
    """Follows the gradients of its objectives.

    Args:
        spec: its losses, weights and optimiser.
        plan: tells the number of steps, precision and seed.
        network: on its device.
        clips: have the targets.
        where: the place in the plan, for errors.

    Raises:
        ParameterError: a name, pattern or argument that does not fit.
    """

    def __init__(self, spec: LearnerSpec, plan: TrainingPlan, network: StreamingNetwork,
                 clips: Clips, where: str) -> None:  # fmt: skip
        super().__init__(spec)
        device = next(network.parameters()).device
        self.objectives = nn.ModuleList(
            Objective(o, network, clips, f"{where}.objectives[{k}]", plan.seed)
            for k, o in enumerate(spec.objectives)
        ).to(device)
        self.parameters = {
            **_chosen(network, spec.parameters, where),
            **{f"readout.{n}": p for n, p in self.objectives.named_parameters()},
        }
        self._gradient_limit = spec.gradient_limit
        self._gradients: list[Tensor | None] = [None] * len(self.parameters)
        self._optimiser = _optimiser(spec.optimizer, self.parameters, where)
        updates = max(1, plan.steps // spec.every)
        self._schedule = _schedule(spec.scheduler, self._optimiser, updates, where)
        self._scaler = torch.amp.GradScaler(
            device.type, enabled=plan.precision == "float16", growth_interval=200
        )

    def follow(self, piece: Piece, share: float, *, keep_graph: bool) -> float | None:
        """See ``Learner``."""
        losses = [
            objective.spec.weight * loss
            for objective in self.each_objective()
            if (loss := objective.loss(piece)) is not None
        ]
        if not losses:
            return None
        total = torch.stack(losses).sum()
        if total.requires_grad and bool(total.isfinite()):
            gradients = torch.autograd.grad(
                self._scaler.scale(total * share),
                list(self.parameters.values()),
                retain_graph=keep_graph,
                allow_unused=True,
            )
            self._gradients = [
                new if old is None else old if new is None else old + new
                for old, new in zip(self._gradients, gradients, strict=True)
            ]
        return float(total.detach())

    def update(self) -> float:
        """See ``Learner``: one step of the optimiser."""
        for parameter, gradient in zip(self.parameters.values(), self._gradients, strict=True):
            parameter.grad = gradient
        norm = 0.0
        if any(gradient is not None for gradient in self._gradients):
            norm = self._step()
        self._gradients = [None] * len(self.parameters)
        self._optimiser.zero_grad(set_to_none=True)
        if self._schedule is not None and not self.waits_for_score:
            self._schedule.step()
        return norm

    def _step(self) -> float:
        self._scaler.unscale_(self._optimiser)
        limit = torch.inf if self._gradient_limit is None else self._gradient_limit
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), limit))
        if self._scaler.is_enabled():
            # Half-precision gradients may overflow: the scaler leaves that step out by itself.
            self._scaler.step(self._optimiser)
            self._scaler.update()
            return norm if norm < torch.inf else 0.0
        if norm < torch.inf:
            self._optimiser.step()
        return norm

    def judge(self, score: float) -> None:
        """See ``Learner``: ReduceLROnPlateau waits for it."""
        if self._schedule is not None and self.waits_for_score:
            self._schedule.step(score)  # type: ignore[arg-type]

    def each_objective(self) -> list[Objective]:
        """Its objectives, in order."""
        return [o for o in self.objectives if isinstance(o, Objective)]

    @property
    def learning_rate(self) -> float:
        """The optimiser's at present."""
        return float(self._optimiser.param_groups[0]["lr"])

    @property
    def waits_for_score(self) -> bool:
        """See ``Learner``: ReduceLROnPlateau does."""
        return isinstance(self._schedule, lr_scheduler.ReduceLROnPlateau)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``Learner``."""
        tensors = {f"readout.{n}": t for n, t in self.objectives.state_dict().items()}
        for number, gradient in enumerate(self._gradients):  # of steps since the last update
            if gradient is not None:
                tensors[f"gradient.{number}"] = gradient
        values: dict[str, dict[str, Any]] = {}
        optimiser = self._optimiser.state_dict()
        for number, slots in optimiser["state"].items():
            for slot, value in slots.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{slot}"] = value
                else:
                    values.setdefault(str(number), {})[slot] = value
        facts = {
            "optimizer": {"values": values, "param_groups": optimiser["param_groups"]},
            "scheduler": None if self._schedule is None else _plain(self._schedule.state_dict()),
            "scaler": self._scaler.state_dict(),
        }
        return tensors, facts

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """See ``Learner``."""
        saved = facts["optimizer"]
        slots: dict[int, dict[str, Any]] = {int(n): dict(v) for n, v in saved["values"].items()}
        readout, gradients = {}, {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "readout":
                readout[rest] = tensor
            elif kind == "gradient":
                gradients[int(rest)] = tensor.to(next(iter(self.parameters.values())).device)
            else:
                number, _, slot = rest.partition(".")
                slots.setdefault(int(number), {})[slot] = tensor
        self.objectives.load_state_dict(readout)
        self._gradients = [gradients.get(number) for number in range(len(self.parameters))]
        self._optimiser.load_state_dict({"state": slots, "param_groups": saved["param_groups"]})
        if self._schedule is not None:
            self._schedule.load_state_dict({**self._schedule.state_dict(), **facts["scheduler"]})
        self._scaler.load_state_dict(facts["scaler"])


def make_learners(plan: TrainingPlan, network: StreamingNetwork, clips: Clips) -> list[Learner]:
    """All learners of a plan, ready for a network and data.

    Raises:
        ParameterError: anything in the plan that does not fit, with the place.
    """
    learners: list[Learner] = []
    for number, spec in enumerate(plan.learners):
        where = f"plan: learners[{number}] ({spec.name})"
        if spec.hebbian is not None:
            learners.append(HebbianLearner(spec, network, where))
        else:
            learners.append(GradientLearner(spec, plan, network, clips, where))
    return learners


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON gives back as it was; the rest (milestones) the plan makes again."""
    return {key: value for key, value in state.items() if not isinstance(value, Mapping)}


def _chosen(
    network: StreamingNetwork, patterns: tuple[str, ...], where: str
) -> dict[str, nn.Parameter]:
    """The weights whose names fit one of the patterns, by their names in a weights file."""
    named = {name.removeprefix("groups."): p for name, p in network.named_parameters()}
    chosen = {}
    for pattern in patterns:
        fitting = fnmatch.filter(named, pattern)
        if not fitting:
            raise ParameterError(
                "no weight has such a name",
                where=f"{where}.parameters",
                expected=f"a pattern that fits some of {', '.join(list(named)[:6])}, ...",
                got=pattern,
            )
        chosen.update({name: named[name] for name in fitting})
    return {name: p for name, p in named.items() if name in chosen}  # the network's own order


def _optimiser(
    named: Named, parameters: Mapping[str, nn.Parameter], where: str
) -> torch.optim.Optimizer:
    where = f"{where}.optimizer.{named.name}"
    table = {
        name: member
        for name, member in vars(torch.optim).items()
        if inspect.isclass(member)
        and issubclass(member, torch.optim.Optimizer)
        and name not in _WITHOUT
    }
    factory = find_named(
        named.name,
        table,
        where,
        kind="optimiser",
        expected="the name of a torch.optim optimiser",
        error=ParameterError,
    )
    taken = checked_arguments(
        factory, named.args, where, filled={}, given=("params",), error=ParameterError
    )
    try:
        return factory(list(parameters.values()), **taken)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(
            f"torch refuses these arguments ({first_line(error)})", where=where, got=taken
        ) from None


def _schedule(
    named: Named | None, optimiser: torch.optim.Optimizer, updates: int, where: str
) -> lr_scheduler.LRScheduler | None:
    if named is None:
        return None
    where = f"{where}.scheduler.{named.name}"
    table = {
        name: member
        for name, member in vars(lr_scheduler).items()
        if inspect.isclass(member)
        and issubclass(member, lr_scheduler.LRScheduler)
        and not name.endswith(("LRScheduler", "LambdaLR", "MultiplicativeLR"))  # need functions
        and name not in ("SequentialLR", "ChainedScheduler")  # need others
    }
    factory = find_named(
        named.name,
        table,
        where,
        kind="scheduler",
        expected="the name of a torch.optim.lr_scheduler",
        error=ParameterError,
    )
    filled = {"max_lr": optimiser.param_groups[0]["lr"], "T_max": updates}
    taken = checked_arguments(
        factory, named.args, where, filled=filled, given=("optimizer",), error=ParameterError
    )
    if named.name == "OneCycleLR":
        if taken.setdefault("total_steps", max(updates, 2)) < updates:
            raise ParameterError(
                "the schedule ends before the training",
                where=f"{where}.total_steps",
                expected=f"at least {updates}, or left out",
                got=taken["total_steps"],
            )
        if taken.get("pct_start", 0.3) * taken["total_steps"] == 1:
            taken["pct_start"] = 2 / taken["total_steps"]  # torch divides by nought at one step
    elif named.name == "PolynomialLR":
        taken.setdefault("total_iters", updates)
    try:
        return factory(optimiser, **taken)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise ParameterError(
            f"torch refuses these arguments ({first_line(error)})", where=where, got=taken
        ) from None
