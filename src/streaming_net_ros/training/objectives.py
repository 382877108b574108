"""Losses: states of a sequence, frame by frame, against what they should be.

An objective knows which frames count (from a group's first response on), which target belongs to
the response of a frame (what was right at the newest image inside it), and how the losses of all
responses become one number. Imported by ``learners`` and ``trainer``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import (
    InputNormalisation,
    StreamingNetwork,
    build_stack,
    checked_arguments,
    find_named,
    first_line,
    seeded,
)
from streaming_net_ros.theory import first_frames
from streaming_net_ros.training.clips import UNKNOWN_CLASS, Clips
from streaming_net_ros.training.plan import ObjectiveSpec
from streaming_net_ros.training.sequences import Batch

# An alias; a layer with a loss; one that takes lists of class numbers.
_NO_LOSSES = ("NLLLoss2d", "LinearCrossEntropyLoss", "MultiLabelMarginLoss")
# Losses of the difference alone: those may be taken in standard deviations of the target.
_OF_DIFFERENCES = ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")
_OF_CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")  # losses of class numbers


@dataclass
class Piece:
    """Some consecutive frames of a batch, as the network lived them.

    Attributes:
        batch: where they come from.
        first: number of the piece's first frame in the sequence.
        is_last: whether the sequence ends with it.
        nodes: per frame every node's state, None where it does not exist.
    """

    batch: Batch
    first: int
    is_last: bool
    nodes: list[Mapping[str, Tensor | None]] = field(default_factory=list)

    @property
    def frames(self) -> range:
        """The numbers of its frames."""
        return range(self.first, self.first + len(self.nodes))


def known_losses() -> dict[str, type[nn.Module]]:
    """Every loss of ``torch.nn`` that compares an input with a target, element by element."""
    losses: dict[str, type[nn.Module]] = {}
    for name, member in vars(nn).items():
        if inspect.isclass(member) and issubclass(member, nn.modules.loss._Loss):
            taken = list(inspect.signature(member.forward).parameters)
            is_of_two = taken in (["self", "input", "target"], ["self", "log_input", "target"])
            if is_of_two and name not in _NO_LOSSES:
                losses[name] = member
    return losses


class Objective(nn.Module):
    """One loss, ready for a network and data. Its own weights are those of its readout.

    Attributes:
        spec: what was asked for.
        group: whose state it is about.
        first_frames: frame of that group's first response.

    Args:
        spec: what is compared.
        network: has the group.
        clips: have the target, if it is no node.
        where: the place in the plan, for errors.
        seed: draws the readout's weights.

    Raises:
        ParameterError: no such group, loss or target, or one that does not fit.
    """

    def __init__(self, spec: ObjectiveSpec, network: StreamingNetwork, clips: Clips, where: str,
                 seed: int = 0) -> None:  # fmt: skip
        super().__init__()
        self.spec = spec
        self._where = where
        self.group, shape = group_of(spec.of, network, where)
        self.first_frames = first_frames(network.rollout)[self.group]
        with seeded(seed, f"readout/{where}"):
            self.readout, shape = build_stack(
                spec.readout, shape, lambda *_: _no_sharing(where), f"{where}.readout"
            )
        self._is_of_classes = spec.loss.name in _OF_CLASSES
        self._is_of_data = spec.target in clips.targets
        self.elements: tuple[int, ...] | None = None
        self.fields: tuple[str, ...] = ()
        self.register_buffer("scale", torch.ones(1), persistent=False)
        self._intake: nn.Module | None = None
        if self._is_of_data:
            self._take_target_of_data(network, clips, shape, where)
        else:
            self._take_target_of_node(network, shape, where)
        self._criterion = _criterion(spec, where)
        if spec.combine == "td" and self._is_of_classes and spec.loss.name != "CrossEntropyLoss":
            raise ParameterError(
                "temporal differences mix targets, and this loss takes class numbers only",
                where=f"{where}.loss",
                expected="CrossEntropyLoss",
                got=spec.loss.name,
            )

    @property
    def is_judged(self) -> bool:
        """Whether its errors say how right the network is: it has a target in the data."""
        return self._is_of_data

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what ``errors`` tells: of the fields, or the share of wrong classes."""
        return self.fields or (("error rate",) if self._is_of_classes else ("error",))

    def loss(self, piece: Piece) -> Tensor | None:
        """The loss of a piece; None where it says nothing about it."""
        pairs = self._pairs(piece)
        if pairs is None:
            return None
        frames, answers, targets, known = pairs
        if self.spec.combine == "last":
            if not piece.is_last:
                return None
            frames, answers, targets, known = frames[-1:], answers[-1:], targets[-1:], known[-1:]
        if self.spec.combine == "td":
            targets = td_targets(self._settled(answers), self._as_settled(targets, answers),
                                 self.spec.td_lambda)  # fmt: skip
            known = known & known[-1:]  # what is mixed with an unknown target is unknown
        losses = self._losses(answers, targets, known)  # (responses, batch)
        weighted = losses * self._weights(frames).to(losses)[:, None]
        mean = weighted.sum() / known.flatten(2).any(2).sum().clamp(min=1)
        return mean * len(frames) if self.spec.combine == "sum" else mean

    def errors(self, piece: Piece) -> Tensor | None:
        """How wrong each response is: (responses, batch, columns), NaN where nobody knows.

        Of classes 1 where the wrong one is largest, else the absolute difference in the unit of
        the target.
        """
        pairs = self._pairs(piece)
        if pairs is None:
            return None
        _, answers, targets, known = pairs
        if self._is_of_classes:
            wrong = (answers.argmax(2) != targets).to(torch.float32)[..., None]
            return torch.where(known, wrong, torch.nan)
        difference = (self._settled(answers) - targets).abs() * self.get_buffer("scale")
        # NaN means "unknown" from here on; an answer that is none is infinitely wrong.
        return torch.where(known, difference.nan_to_num(nan=torch.inf), torch.nan)

    def _pairs(self, piece: Piece) -> tuple[list[int], Tensor, Tensor, Tensor] | None:
        """Frames that count, responses and targets (responses, batch, ...), which are known.

        What is known is told element by element, (responses, batch, elements); of classes there
        is one.
        """
        first, last = self.spec.responses
        frames = [
            t
            for t in piece.frames
            if t - self.first_frames >= first
            and (last is None or t - self.first_frames <= last)
            and piece.nodes[t - piece.first][self.group] is not None
            and (self._is_of_data or self._node(piece, t) is not None)
        ]
        if not frames:
            return None
        states = [piece.nodes[t - piece.first][self.group] for t in frames]
        answers = torch.stack([self.readout(s.to(torch.float32)) for s in states if s is not None])
        if not self._is_of_classes:
            answers = answers.flatten(2)
        if self.elements is not None:
            answers = answers[..., list(self.elements)]
        if self._is_of_data:
            begin = frames[0] - self.first_frames
            targets = piece.batch.targets(self.spec.target, begin, begin + len(frames))
        else:
            targets = torch.stack([n for t in frames if (n := self._node(piece, t)) is not None])
        if self._is_of_classes:
            return frames, answers, targets, (targets != UNKNOWN_CLASS)[..., None]
        scale = self.get_buffer("scale")
        answers, targets = answers / scale, targets.flatten(2) / scale
        known = ~targets.isnan()
        # An unknown target is no error and gives no gradient.
        targets = torch.where(known, targets, answers.detach())
        return frames, answers, targets, known

    def _node(self, piece: Piece, t: int) -> Tensor | None:
        """The state of the target's node for the response of frame ``t``, without gradient."""
        place = t - piece.first + self.spec.ahead
        state = piece.nodes[place][self.spec.target] if place < len(piece.nodes) else None
        if state is None:
            return None
        state = state.detach()
        return state.to(torch.float32) if self._intake is None else self._intake(state)

    def _losses(self, answers: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        """The criterion per response and sequence: (responses, batch)."""
        try:
            losses: Tensor = self._criterion(answers.flatten(0, 1), targets.flatten(0, 1))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ParameterError(
                f"this loss cannot take these targets ({first_line(error)})",
                where=f"{self._where}.loss.{self.spec.loss.name}",
            ) from None
        losses = losses.reshape(*answers.shape[:2], -1)
        if losses.shape[2] != known.shape[2]:  # one loss for all elements
            known = known.all(2, keepdim=True)
        total = torch.where(known, losses, torch.zeros_like(losses)).sum(2)
        return total / known.sum(2).clamp(min=1)

    def _settled(self, answers: Tensor) -> Tensor:
        """Responses as what a target could be: probabilities where the loss takes logits."""
        answers = answers.detach()
        if self._is_of_classes:
            return answers.softmax(2)
        return answers.sigmoid() if self.spec.loss.name == "BCEWithLogitsLoss" else answers

    def _as_settled(self, targets: Tensor, answers: Tensor) -> Tensor:
        if not self._is_of_classes:
            return targets
        return F.one_hot(targets.clamp(min=0), answers.shape[2]).to(answers)

    def _weights(self, frames: Sequence[int]) -> Tensor:
        given = self.spec.response_weights
        return torch.tensor([given[min(t - self.first_frames, len(given) - 1)] for t in frames])

    def _take_target_of_data(
        self, network: StreamingNetwork, clips: Clips, shape: tuple[int, ...], where: str
    ) -> None:
        target = self.spec.target
        if self._is_of_classes:
            if target not in clips.classes or shape != (len(clips.classes[target]),):
                raise ParameterError(
                    "this state cannot answer with these classes",
                    where=where,
                    expected=f"a state of {len(clips.classes.get(target, ()))} features, one per "
                    f"class of '{target}'",
                    got=shape,
                    remedy="change the network's last layer, or the loss",
                )
            return
        if target in clips.classes:
            raise ParameterError(
                "this loss does not take classes",
                where=f"{where}.loss",
                expected=f"one of {', '.join(_OF_CLASSES)}",
                got=self.spec.loss.name,
            )
        self.fields = clips.fields.get(target, ())
        output = network.spec.outputs.get(self.spec.of)
        if output is not None and not self.spec.readout and output.fields:
            elements = {str(name): element for name, element in output.fields.items()}
            if not self.fields or not set(self.fields) <= set(elements):
                raise ParameterError(
                    f"output '{self.spec.of}' does not have the fields of the target",
                    where=where,
                    expected=f"some of {', '.join(elements)}",
                    got=", ".join(self.fields) or f"'{target}', whose fields have no names",
                )
            self.elements = tuple(elements[name] for name in self.fields)
        elif clips.targets[target][0].numel() != torch.Size(shape).numel():
            raise ParameterError(
                "state and target differ in size",
                where=where,
                expected=f"{clips.targets[target][0].numel()} elements",
                got=shape,
            )
        if self.spec.loss.name in _OF_DIFFERENCES:
            self.register_buffer("scale", clips.deviation(target), persistent=False)

    def _take_target_of_node(
        self, network: StreamingNetwork, shape: tuple[int, ...], where: str
    ) -> None:
        target = self.spec.target
        if target not in network.shapes:
            raise ParameterError(
                "no such target",
                where=f"{where}.target",
                expected="a target of the data or a node of the network: "
                + ", ".join(network.shapes),
                got=target,
            )
        if network.shapes[target] != shape or self._is_of_classes:
            raise ParameterError(
                "this loss cannot compare these states",
                where=where,
                expected=f"a state of shape {network.shapes[target]}, as '{target}' has, and a "
                "loss of numbers (MSELoss, ...)",
                got=f"{shape} and {self.spec.loss.name}",
                remedy="put layers under 'readout' that give this shape",
            )
        if target in network.spec.inputs:
            self._intake = InputNormalisation(network.spec.inputs[target])


def td_targets(answers: Tensor, targets: Tensor, td_lambda: float) -> Tensor:
    """TD(lambda) targets of responses to a scene that stands still.

    z(t) = (1 - l) sum over i >= 1 of l^(i-1) answer(t + i) + l^(T-t-1) target, computed backwards
    as z(t) = (1 - l) answer(t + 1) + l z(t + 1) from z(T - 1) = target (Iuzzolino, Mozer, Bengio,
    *Improving anytime prediction with parallel cascaded networks and a temporal-difference loss*,
    2021).

    Args:
        answers: (T, ...) without gradient, as the target is given: probabilities for classes.
        targets: (T, ...); the last one counts.
        td_lambda: l.
    """
    mixed = [targets[-1]]
    for later in answers.flip(0)[:-1]:
        mixed.append((1 - td_lambda) * later + td_lambda * mixed[-1])
    return torch.stack(mixed[::-1])


def group_of(of: str, network: StreamingNetwork, where: str) -> tuple[str, tuple[int, ...]]:
    """The group that an objective is about, and the shape of its state.

    Raises:
        ParameterError: neither an output nor a group has this name.
    """
    output = network.spec.outputs.get(of)
    group = output.group if output is not None else of
    groups = [spec.name for spec in network.spec.groups]
    if group not in groups:
        known = dict.fromkeys([*network.spec.outputs, *groups])
        raise ParameterError(
            "no such output or group",
            where=f"{where}.of",
            expected=f"one of {', '.join(known)}",
            got=of,
        )
    return group, network.shapes[group]


def _criterion(spec: ObjectiveSpec, where: str) -> nn.Module:
    where = f"{where}.loss.{spec.loss.name}"
    factory = find_named(
        spec.loss.name,
        known_losses(),
        where,
        kind="loss",
        expected="the name of a torch.nn loss of (input, target)",
        error=ParameterError,
    )
    taken = checked_arguments(
        factory, spec.loss.args, where, filled={}, error=ParameterError, longest=1000
    )
    for name in ("reduction", "reduce", "size_average"):
        if name in taken:
            raise ParameterError(
                "'combine' says how losses become one", where=f"{where}.{name}", got=taken[name]
            )
    for name in ("weight", "pos_weight"):
        if taken.get(name) is None:
            continue
        if not isinstance(taken[name], tuple):
            raise ParameterError("not a list of numbers", where=f"{where}.{name}", got=taken[name])
        taken[name] = torch.tensor(taken[name], dtype=torch.float32)
    if spec.loss.name in ("CrossEntropyLoss", "NLLLoss"):
        taken["ignore_index"] = UNKNOWN_CLASS
    try:
        return factory(**taken, reduction="none")
    except (TypeError, ValueError) as error:
        raise ParameterError(f"torch refuses these arguments ({error})", where=where) from None


def _no_sharing(where: str) -> tuple[nn.Module, tuple[int, ...]]:
    raise ParameterError("a readout cannot use a shared stack", where=where)
