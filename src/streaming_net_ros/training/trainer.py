"""Training over the unrolled frames of a rollout, streaming or any other.

The network is unrolled over a sequence from silence; every response from the first on is compared
with what was right at the newest image inside it, and gradients flow back through layers and
frames. Early responses learn as early responses, and states learn to carry what later ones need.
Long sequences are learnt in pieces that carry their states (truncated back-propagation).

A step is a pure function of the weights, the learners' memory, the seed and the step's number:
what was interrupted goes on bit for bit. Knows torch; no ROS, no terminal: who shows progress
hands in a callback.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming_net_ros.errors import ParameterError, RunError, WeightsError
from streaming_net_ros.evaluation.metrics import mean_over_onsets
from streaming_net_ros.network import NetworkState, StreamingNetwork, as_state
from streaming_net_ros.theory import format_table
from streaming_net_ros.training.checkpoint import below, read_checkpoint, write_checkpoint
from streaming_net_ros.training.history import Step, TrainingHistory, Validation, Watching
from streaming_net_ros.training.learner import Learner
from streaming_net_ros.training.learners import GradientLearner, make_learners
from streaming_net_ros.training.objectives import Objective, Piece
from streaming_net_ros.training.plan import TrainingPlan
from streaming_net_ros.training.sequences import Batch, Sequences, generator
from streaming_net_ros.training.target import image_input

_DROPOUT = 100  # a kind of draw, beside those of ``sequences``
_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def train(
    network: StreamingNetwork,
    data: Sequences,
    plan: TrainingPlan,
    *,
    validation: Sequences | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    watching: Watching | None = None,
) -> TrainingHistory:
    """Fit a network's weights; it is left with the best ones, in evaluation mode.

    On one CPU thread the same seeds give the same bits, in one go or resumed. Best are the
    weights of the second half of the steps with the smallest validation score, or the last ones
    without validation.

    Args:
        network: on its device; any rollout.
        data: sequences to learn from, on the same device.
        plan: how.
        validation: sequences to judge on.
        checkpoint: a file that is written every ``validate_every`` steps and at the end.
        resume: go on from that file.
        watching: who is told, and who may stop it.

    Raises:
        ParameterError: a plan that does not fit network or data; sequences that end before the
            first response.
        WeightsError: a checkpoint that cannot be read or written, or that another plan made.
        RunError: a state, loss or gradient is no longer a number: where it arose. The network
            keeps the best weights so far.
    """
    watching = watching or Watching()
    trainer = Trainer(network, data, plan, validation)
    if resume and checkpoint is not None:
        trainer.load(checkpoint)
    watching.on_begin(trainer.steps)
    was_interrupted = False
    try:
        while not trainer.is_done and not was_interrupted:
            watching.on_step(trainer.step())
            if trainer.is_at_a_landmark:
                if validation is not None:
                    watching.on_validation(trainer.validate())
                if checkpoint is not None:
                    trainer.save(checkpoint)
            was_interrupted = not trainer.is_done and watching.should_stop()
        if was_interrupted and checkpoint is not None:
            trainer.save(checkpoint)
    finally:
        trainer.restore_best()
    return replace(trainer.history, was_interrupted=was_interrupted)


class Trainer:
    """One training's moving parts.

    Args:
        network: on its device.
        data: sequences to learn from.
        plan: how.
        validation: sequences to judge on.

    Raises:
        ParameterError: a plan that does not fit.
    """

    def __init__(self, network: StreamingNetwork, data: Sequences, plan: TrainingPlan,
                 validation: Sequences | None = None) -> None:  # fmt: skip
        self._network = network
        self._data = data
        self._plan = plan
        self._validation = validation
        self._input, _ = image_input(network.spec)
        self._device = next(network.parameters()).device
        self._learners = make_learners(plan, network, data.clips)
        self._objectives = _by_name(self._learners)
        self._check_length()
        self._check_scores()
        if plan.compile:
            # One graph per group, and per set of inputs that exist: all share one code object.
            torch._dynamo.config.recompile_limit = 1024
            for name in network.groups:
                network.group(name).compile()
        self._state = network.init_state()
        self._best: dict[str, Tensor] | None = None
        self._average: dict[str, Tensor] | None = None
        if plan.average is not None:
            self._average = {n: t.clone() for n, t in network.state_dict().items()}
        self._losses: list[float] = []
        self._validations: list[Validation] = []
        self._best_step = 0
        self._began_s = time.perf_counter()

    @property
    def steps(self) -> int:
        """Updates so far."""
        return len(self._losses)

    @property
    def is_done(self) -> bool:
        """Whether the plan is fulfilled, or patience has ended."""
        return self.steps >= self._plan.steps or self._patience_has_ended

    @property
    def is_at_a_landmark(self) -> bool:
        """Whether weights should be judged and a checkpoint written now."""
        return self.steps % self._plan.validate_every == 0 or self.steps == self._plan.steps

    @property
    def history(self) -> TrainingHistory:
        """What has happened so far."""
        best = self._best_step if self._best is not None else self.steps
        return TrainingHistory(
            tuple(self._losses),
            tuple(self._validations),
            best,
            stopped_early=self._patience_has_ended,
            seconds=self._seconds(),
        )

    def step(self) -> Step:
        """Update the weights once.

        Raises:
            RunError: a state, loss or gradient is no longer a number.
        """
        number = self.steps + 1
        self._set_mode(training=True)
        losses: dict[str, float] = {}
        for turn in range(self._plan.accumulate):
            with self._random(number, turn):
                piece = self._live(number, turn)
                followed = self._follow(piece, losses)
            if not all(map(math.isfinite, followed)):
                raise self._broken(number, piece)
        due = [learner for learner in self._learners if number % learner.every == 0]
        changes = {learner.name: learner.update() for learner in due}
        for name, change in changes.items():
            if not math.isfinite(change):
                raise RunError(
                    "a gradient is no longer a number",
                    where=f"training step {number}, learner {name}",
                    got=change,
                    remedy="lower the learning rate, or set gradient_limit",
                )
        if self._average is not None and self._plan.average is not None:
            _towards(self._average, self._network.state_dict(), 1 - self._plan.average)
        self._losses.append(sum(losses.values()))
        rates = {
            learner.name: learner.learning_rate
            for learner in self._learners
            if isinstance(learner, GradientLearner)
        }
        return Step(number, losses, changes, rates)

    @torch.no_grad()
    def validate(self) -> Validation:
        """Judge the weights as they are now, and keep them if they are the best so far."""
        if self._validation is None:
            raise ParameterError("there is nothing to judge on", where="validation")
        self._set_mode(training=False)
        judged = {n: o for n, o in self._objectives.items() if o.is_judged}
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in judged}
        with self._judged_weights() as weights:
            for batch in self._validation.tiles(self._plan.batch):
                for name, of_batch in self._errors(batch, judged).items():
                    found[name].append(of_batch.transpose(0, 1).cpu().numpy())
            errors = {n: mean_over_onsets(np.concatenate(e)) for n, e in found.items() if e}
            scaled = [errors[n] / judged[n].get_buffer("scale").cpu().numpy() for n in errors]
            score = float(np.mean([np.nanmean(e) for e in scaled])) if scaled else math.nan
            columns = {name: judged[name].columns for name in errors}
            validation = Validation(self.steps, errors, columns, score)
            if math.isfinite(score) and self._is_best(validation):
                self._best = {name: tensor.clone() for name, tensor in weights.items()}
                self._best_step = self.steps
        for learner in self._learners:
            learner.judge(score)
        self._validations.append(validation)
        return validation

    def _errors(self, batch: Batch, judged: Mapping[str, Objective]) -> dict[str, Tensor]:
        """Errors of all responses to a batch, which is lived in pieces as in training."""
        found: dict[str, list[Tensor]] = {name: [] for name in judged}
        state = self._network.init_state()
        length = min(self._plan.truncate or batch.frames, batch.frames)
        for first in range(0, batch.frames, length):
            last = min(first + length, batch.frames)
            piece = Piece(batch, first, last == batch.frames)
            state = self._live_frames(piece, state, batch.images(first, last))
            for name, objective in judged.items():
                errors = objective.errors(piece)
                if errors is not None:
                    found[name].append(errors)
        return {name: torch.cat(errors) for name, errors in found.items() if errors}

    def restore_best(self) -> None:
        """Give the network its best weights, in evaluation mode."""
        best = self._best or self._average
        if best is not None:
            self._network.load_state_dict(best)
        self._network.eval()

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on.

        Raises:
            WeightsError: the file cannot be written.
        """
        tensors = {f"weights.{n}": t for n, t in self._network.state_dict().items()}
        tensors |= {f"best.{n}": t for n, t in (self._best or {}).items()}
        tensors |= {f"average.{n}": t for n, t in (self._average or {}).items()}
        for node, states in self._state.history.items():
            for age, state in enumerate(states):
                if state is not None:
                    tensors[f"state.{node}.{age}"] = state
        facts: dict[str, Any] = {
            "plan": self._plan.model_dump(mode="json"),
            "made_of": self._made_of(),
            "seconds": self._seconds(),
            "frame": self._state.frame,
            "losses": self._losses,
            "validations": [validation.to_json() for validation in self._validations],
            "best_step": self._best_step,
            "learners": {},
        }
        for learner in self._learners:
            own, facts["learners"][learner.name] = learner.state()
            tensors |= {f"learner.{learner.name}.{n}": t for n, t in own.items()}
        write_checkpoint(path, tensors, facts)

    def load(self, path: Path) -> None:
        """Go on from what ``save`` wrote.

        Raises:
            WeightsError: no checkpoint, or one that another plan, network or data made.
        """
        tensors, facts = read_checkpoint(path)
        self._check_same(facts, path)
        try:
            self._network.load_state_dict(below(tensors, "weights."))
            for learner in self._learners:
                own = below(tensors, f"learner.{learner.name}.")
                learner.load(own, facts["learners"][learner.name])
        except (RuntimeError, KeyError, ValueError) as error:
            what = f"this checkpoint is of another network ({str(error).splitlines()[0][:100]})"
            raise WeightsError(what, where=str(path), remedy="remove the checkpoint") from None
        on_device = {n: t.to(self._device) for n, t in tensors.items()}
        self._best = below(on_device, "best.") or None
        self._average = below(on_device, "average.") or None
        self._state = NetworkState(
            facts["frame"],
            {
                node: tuple(
                    # In the one layout of states, or other kernels would give other bits.
                    None if (s := on_device.get(f"state.{node}.{age}")) is None else as_state(s)
                    for age in range(len(states))
                )
                for node, states in self._network.init_state().history.items()
            },
        )
        self._began_s = time.perf_counter() - facts["seconds"]
        self._losses = list(facts["losses"])
        self._best_step = facts["best_step"]
        self._validations = [Validation.from_json(v) for v in facts["validations"]]

    def _live(self, number: int, turn: int) -> Piece:
        """The network lives the next piece of its sequences; its state is carried along."""
        batch, first, last = self._piece_of(number, turn)
        if first == 0:
            self._state = self._network.init_state()
        piece = Piece(batch, first, last == batch.frames)
        state = self._live_frames(piece, self._state, batch.images(first, last))
        self._state = state.detach()
        return piece

    def _piece_of(self, number: int, turn: int) -> tuple[Batch, int, int]:
        """Which batch a step learns from, and which of its frames."""
        frames = self._data.frames
        length = min(self._plan.truncate or frames, frames)
        pieces = math.ceil(frames / length)
        at, within = divmod((number - 1) * self._plan.accumulate + turn, pieces)
        batch = self._data.batch(at, self._plan.batch, self._plan.seed)
        return batch, within * length, min((within + 1) * length, frames)

    def _live_frames(self, piece: Piece, state: NetworkState, images: Tensor) -> NetworkState:
        """Unroll the network over a piece; fills in its nodes, and gives the state after it."""
        dtype = _PRECISIONS.get(self._plan.precision)
        is_learning = torch.is_grad_enabled()
        with torch.autocast(self._device.type, dtype=dtype, enabled=dtype is not None):
            for image in images:
                state, nodes = self._network.advance(state, {self._input: image})
                piece.nodes.append(nodes)
                if is_learning:
                    for learner in self._learners:
                        learner.hear(nodes)
        return state

    def _follow(self, piece: Piece, losses: dict[str, float]) -> list[float]:
        """Every learner takes a piece in; gives the losses, and adds their shares up."""
        share = 1 / self._plan.accumulate
        followed = []
        for learner in self._learners:
            is_last = learner is self._learners[-1]
            loss = learner.follow(piece, share / learner.every, keep_graph=not is_last)
            if loss is not None:
                followed.append(loss)
                losses[learner.name] = losses.get(learner.name, 0.0) + loss * share
        return followed

    @contextmanager
    def _random(self, number: int, turn: int) -> Iterator[None]:
        """Dropout that depends on the seed and the step alone."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed = generator(self._plan.seed, number, turn, _DROPOUT).initial_seed()
            torch.manual_seed(seed)
            yield

    def _broken(self, number: int, piece: Piece) -> RunError:
        """Where the first value arose that is no number: the frame and group."""
        where = f"training step {number}"
        for frame, nodes in zip(piece.frames, piece.nodes, strict=True):
            for name in self._network.rollout.frame_order:
                state = nodes[name]
                if state is not None and not bool(state.isfinite().all()):
                    return RunError(
                        "a state is no longer a number",
                        where=f"{where}: frame {frame}, group {name}",
                        remedy="lower the learning rate, and look for odd values in the data",
                    )
        return RunError(
            "the loss is no longer a number, though every state is one",
            where=where,
            remedy="lower the learning rate, and look for odd values in the targets",
        )

    @contextmanager
    def _judged_weights(self) -> Iterator[Mapping[str, Tensor]]:
        """The weights that are judged and kept are in the network: its own, or their average."""
        own = self._network.state_dict()
        if self._average is None:
            yield own
            return
        own = {name: tensor.clone() for name, tensor in own.items()}
        self._network.load_state_dict(self._average)
        try:
            yield self._average
        finally:
            self._network.load_state_dict(own)

    def _is_best(self, validation: Validation) -> bool:
        """Whether to keep these weights rather than earlier ones.

        On a small validation part weights that have hardly learnt can look best by luck; so
        those of the second half compete only with each other.
        """
        half = self._plan.steps / 2
        rivals = [v for v in self._validations if (v.step > half) == (validation.step > half)]
        return all(validation.score < rival.score for rival in rivals)

    @property
    def _patience_has_ended(self) -> bool:
        scores = [v.score for v in self._validations if math.isfinite(v.score)]
        if self._plan.patience is None or not scores:
            return False
        return len(scores) - 1 - scores.index(min(scores)) >= self._plan.patience

    def _check_length(self) -> None:
        for objective in self._objectives.values():
            needed = objective.first_frames + objective.spec.responses[0] + objective.spec.ahead
            if self._plan.truncate is not None and self._plan.truncate <= objective.spec.ahead:
                raise ParameterError(
                    "pieces end before the state that is predicted",
                    where="plan.truncate",
                    expected=f"more than {objective.spec.ahead}",
                    got=self._plan.truncate,
                )
            for sequences in (self._data, self._validation):
                if sequences is not None and sequences.frames <= needed:
                    raise ParameterError(
                        "sequences end before the first response",
                        where=objective.spec.of,
                        expected=f"more than {needed} frames",
                        got=sequences.frames,
                        remedy="take more --responses",
                    )

    def _check_scores(self) -> None:
        """Whoever waits for validations gets some."""
        for learner in self._learners:
            if learner.waits_for_score and self._validation is None:
                raise ParameterError(
                    "this scheduler waits for validations, and there are none",
                    where=f"learner {learner.name}",
                    remedy="set something aside to judge on, or take another scheduler",
                )

    def _set_mode(self, *, training: bool) -> None:
        """Dropout and batch norms of the network and of the readouts."""
        for module in (self._network, *self._objectives.values()):
            module.train(training)

    def _made_of(self) -> dict[str, Any]:
        """What a training is made of, beside its plan: rollout and data, by some of their bits."""
        images = self._data.clips.images
        some = images[:: max(1, len(images) // 16)].cpu().numpy()
        return {
            "rollout": format_table(self._network.rollout),
            "number of sequences": [len(self._data), self._data.frames],
            "data": zlib.crc32(some.tobytes()),
        }

    def _seconds(self) -> float:
        """Of training, what was done before a resume included."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - self._began_s

    def _check_same(self, facts: Mapping[str, Any], path: Path) -> None:
        """A resumed training is the one that was interrupted."""
        try:
            made = facts["plan"] | {"validate_every": 0}
            made_of = facts["made_of"]
        except (KeyError, TypeError):
            raise WeightsError("not a checkpoint of a training", where=str(path)) from None
        mine = self._plan.model_dump(mode="json") | {"validate_every": 0}
        odd = [key for key in mine if mine[key] != made.get(key)]
        mine = self._made_of()
        odd += [key for key in mine if mine[key] != made_of.get(key)]
        if odd:
            raise WeightsError(
                "this checkpoint is of another training",
                where=str(path),
                expected="the same plan and data",
                got=f"another {', '.join(odd)}",
                remedy="resume with what it began with, or remove the checkpoint",
            )


def _towards(average: dict[str, Tensor], weights: Mapping[str, Tensor], share: float) -> None:
    """Move an average by a share of the way; what is no fraction is copied."""
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, share)
        else:
            average[name].copy_(tensor)


def _by_name(learners: Sequence[Learner]) -> dict[str, Objective]:
    """Every objective: ``LEARNER/OF``, with a number where a learner has several of one state."""
    named: dict[str, Objective] = {}
    for learner in learners:
        if not isinstance(learner, GradientLearner):
            continue
        for objective in learner.each_objective():
            name = plain = f"{learner.name}/{objective.spec.of}"
            while name in named:
                name = f"{plain} {len(named) + 1}"
            named[name] = objective
    return named
