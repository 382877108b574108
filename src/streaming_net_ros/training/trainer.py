"""Training over the unrolled frames of a streaming rollout.

``StreamingNetwork.step`` is unrolled over a window, from silence, and every response from the
first on is compared with what was right at the newest image inside it: early responses learn as
early responses, and states learn to carry what later ones need. Knows torch; no ROS, no terminal:
who shows progress hands in a callback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.evaluation.metrics import mean_over_onsets
from streaming_net_ros.network import StreamingNetwork
from streaming_net_ros.training.target import Target, responses_of
from streaming_net_ros.training.windows import Batch, Windows


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        steps: updates of the weights.
        batch: windows per step.
        learning_rate: the highest, of AdamW; it warms up, then falls along a cosine to 0.
        weight_decay: of AdamW.
        gradient_limit: norm to which gradients are clipped.
        validate_every: steps between two validations; the last step is always followed by one.
        seed: of the draw of windows and their changes.
    """

    steps: int = 1000
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    gradient_limit: float = 1.0
    validate_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "gradient_limit", "validate_every"):
            if not 0 < getattr(self, name) < math.inf:
                raise ParameterError(
                    "must be above 0", where=f"training.{name}", got=getattr(self, name)
                )


@dataclass(frozen=True)
class Validation:
    """How right a network was on windows that it did not learn from.

    Attributes:
        step: updates of the weights so far.
        mae: (frames, fields) mean absolute error, by frames since the first response.
        score: what is smallest for the best weights: mean over frames and scaled fields.
    """

    step: int
    mae: NDArray[np.float32]
    score: float


@dataclass(frozen=True)
class TrainingHistory:
    """What happened.

    Attributes:
        losses: of every step.
        validations: in order; none without validation windows.
        best_step: the step whose weights the network was left with.
        was_interrupted: whether Ctrl-C ended it.
    """

    losses: tuple[float, ...]
    validations: tuple[Validation, ...]
    best_step: int
    was_interrupted: bool


def train(
    network: StreamingNetwork,
    target: Target,
    windows: Windows,
    plan: TrainingPlan,
    *,
    validation: Windows | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_validation: Callable[[Validation], None] = lambda validation: None,
) -> TrainingHistory:
    """Fit a network's weights; it is left with the best ones, in evaluation mode.

    On one CPU thread the same seeds give the same bits. Best are the weights of the second half
    of the steps with the smallest validation score, or the last ones without validation. Ctrl-C
    ends the training early and leaves the best so far.

    Args:
        network: on its device; any rollout.
        target: what is learnt.
        windows: to learn from, longer than the first response takes.
        plan: how.
        validation: windows to judge on.
        on_step: called after each step with its number, from 1, and its loss.
        on_validation: called after each validation.

    Raises:
        ParameterError: windows that end before the first response.
        RunError: the loss is no longer a number; the network keeps the best weights so far.
    """
    if windows.frames <= target.times.first_frames:
        raise ParameterError(
            "windows end before the first response",
            where="--window",
            expected=f"more than {target.times.first_frames} frames",
            got=windows.frames,
        )
    session = _Session(network, target, windows, plan, validation)
    was_interrupted = False
    torch.manual_seed(plan.seed)  # dropout, if the network has any
    try:
        for step, loss in session.steps():
            on_step(step, loss)
            if validation and (step % plan.validate_every == 0 or step == plan.steps):
                on_validation(session.validate(step))
    except KeyboardInterrupt:
        was_interrupted = True
    finally:
        session.restore_best()
    return TrainingHistory(
        tuple(session.losses), tuple(session.validations), session.best_step, was_interrupted
    )


class _Session:
    """One training's moving parts: optimiser, schedule, and the best weights so far."""

    def __init__(self, network: StreamingNetwork, target: Target, windows: Windows,
                 plan: TrainingPlan, validation: Windows | None) -> None:  # fmt: skip
        self._network = network
        self._target = target
        self._plan = plan
        self._validation = validation
        self._device = next(network.parameters()).device
        self._scale = torch.from_numpy(windows.target_scale).to(self._device)
        self._batches = windows.batches(plan.batch, np.random.default_rng(plan.seed))
        self._optimiser = torch.optim.AdamW(
            network.parameters(), plan.learning_rate, weight_decay=plan.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: _schedule(step, plan.steps)
        )
        self._best: Mapping[str, Tensor] | None = None
        self.losses: list[float] = []
        self.validations: list[Validation] = []
        self.best_step = 0

    def steps(self) -> Iterator[tuple[int, float]]:
        """Update the weights once per item: the step's number, from 1, and its loss."""
        for step in range(1, self._plan.steps + 1):
            self._network.train()
            loss = self._loss(next(self._batches))
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(
                self._network.parameters(), self._plan.gradient_limit
            )
            value = float(loss.detach())
            if not (math.isfinite(value) and math.isfinite(float(norm))):
                raise RunError(
                    "the loss is no longer a number",
                    where=f"training step {step}",
                    got=value,
                    remedy="lower --learning-rate, and look for odd values in the targets",
                )
            self._optimiser.step()
            self._schedule.step()
            self.losses.append(value)
            if self._validation is None:
                self.best_step = step
            yield step, value

    def validate(self, step: int) -> Validation:
        """Judge the weights as they are now, and keep them if they are the best so far."""
        assert self._validation is not None
        self._network.eval()
        errors = []
        with torch.no_grad():
            for batch in self._validation.tiles(self._plan.batch):
                answers, right = self._responses(batch)
                answers = answers.nan_to_num(nan=math.inf)  # NaN means "unknown" from here on
                errors.append((answers - right).abs().transpose(0, 1).cpu().numpy())
        mae = mean_over_onsets(np.concatenate(errors))
        score = float(np.nanmean(mae / self._scale.cpu().numpy()))
        validation = Validation(step, mae, score)
        if math.isfinite(score) and self._is_best(validation):
            state = self._network.state_dict()
            self._best = {name: tensor.clone() for name, tensor in state.items()}
            self.best_step = step
        self.validations.append(validation)
        return validation

    def _is_best(self, validation: Validation) -> bool:
        """Whether to keep these weights rather than earlier ones.

        On a small validation part weights that have hardly learnt can look best by luck; so
        those of the second half compete only with each other.
        """
        half = self._plan.steps / 2
        rivals = [v for v in self.validations if (v.step > half) == (validation.step > half)]
        return all(validation.score < rival.score for rival in rivals)

    def restore_best(self) -> None:
        """Give the network its best weights."""
        if self._best is not None:
            self._network.load_state_dict(self._best)
        else:
            self.best_step = len(self.losses)
        self._network.eval()

    def _loss(self, batch: Batch) -> Tensor:
        """Huber loss, in standard deviations of the targets, over what is known."""
        answers, right = self._responses(batch)
        known = ~torch.isnan(right)
        right = torch.where(known, right, answers.detach())  # no error, no gradient
        error = F.smooth_l1_loss(answers / self._scale, right / self._scale, reduction="sum")
        return error / known.sum().clamp(min=1)

    def _responses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Responses and what they should be, both (time, batch, fields)."""
        images = torch.from_numpy(np.ascontiguousarray(batch.images)).to(self._device)
        right = batch.targets_of_responses(self._target.times.first_frames)
        answers = torch.stack(list(responses_of(self._network, self._target, images)))
        return answers, torch.from_numpy(np.ascontiguousarray(right)).to(self._device)


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: a short warm-up, then a cosine to 0."""
    warm_up = max(1, min(100, steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
