"""A group that learns while it streams: it changes its own weights by what it hears itself.

Owns one group's learning: frames that teach, an update from some of them, the limit on what may
change, and the way back. An update is computed beside the group, on a copy of it, and takes effect
at once between two frames: every frame is computed with the old weights or with the new ones.
Nothing depends on time or on chance: the same frames give the same weights, bit for bit.

Knows no mailbox and no thread. Who drives it (``offline``, ``replay``, the nodes) says which
frames there were, and between which two frames an update takes effect. Names the terms of
``schema.LearningSpec``; docs/training.md, "Learning while it drives".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming_net_ros.frames import Job
from streaming_net_ros.network.local import relative_change, within
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.pupil import Pupil, Teaching


@dataclass(frozen=True)
class Lesson:
    """A frame that teaches.

    Attributes:
        frame: of the group.
        heard: what the group heard for it, by source, its target among them; (1, ...) each.
    """

    frame: int
    heard: Mapping[str, Tensor]


@dataclass(frozen=True)
class Update:
    """New weights, not yet in effect.

    Attributes:
        frames: of the lessons that it was made from.
        rate: that it was made with.
        loss: of these lessons before it; None for a Hebbian rule.
        weights: by name within the group; None if some number was NaN or infinite.
        pupil: that it was made by: one for each beginning of learning.
    """

    frames: tuple[int, ...]
    rate: float
    loss: float | None
    weights: Mapping[str, Tensor] | None
    pupil: Pupil


class OnlineLearner:
    """Learning of one group. Not thread-safe, but ``compute`` may run beside everything else.

    Args:
        network: has the group, in evaluation mode, with its weights, on its device.
        name: of a group with a section ``learning``.
        torch_threads: of one torch operation of an update; None: as many as torch is set to.

    Attributes:
        spec: the section.
        rate: at present.
        is_on: whether it learns.
        updates: in effect since it was made.
        loss: of the last update in effect.
        change: the largest of any tensor from where learning began, relative to its norm.
        stopped: why it stopped by itself; empty if it did not.

    Raises:
        NetworkFileError: a rule that does not fit the group.
    """

    def __init__(
        self, network: StreamingNetwork, name: str, torch_threads: int | None = None
    ) -> None:
        self.spec = network.spec.learning[name]
        self._group = network.group(name)
        self._threads = torch_threads
        self._teaching = Teaching(network, name)
        self._names = self._teaching.names
        self._pupil: Pupil | None = None
        self._base: dict[str, Tensor] | None = None  # where learning began
        self._before: dict[str, Tensor] = {}  # the weights that the last update replaced
        self._lessons: list[Lesson] = []
        self.rate = self.spec.rate
        self.is_on = False
        self.updates = 0
        self.loss: float | None = None
        self.change = 0.0
        self.stopped = ""

    # --- on and off ----------------------------------------------------------------------------

    def begin(self, *, anew: bool = False) -> None:
        """Learn from the next frame on; what was collected or remembered before is gone.

        Args:
            anew: the limit counts from the present weights, as it does the first time: the group
                was given others.
        """
        with _outside_inference():
            if anew or self._base is None:
                self._base = {name: p.clone() for name, p in self._present().items()}
                self.change = 0.0
            self._pupil = self._teaching.begin()
        self._before = {}
        self._lessons = []
        self.is_on, self.stopped = True, ""

    def end(self) -> None:
        """Learn no more. The weights stay as they are."""
        self.is_on = False
        self._lessons = []

    # --- frames --------------------------------------------------------------------------------

    def hear(self, frame: int, heard: Mapping[str, Tensor]) -> None:
        """The group has computed a frame.

        It teaches if everything is there: all of its sources, and the target.

        Args:
            frame: its number.
            heard: per source what went in; without those that were held.
        """
        if self.is_on and all(source in heard for source in self._teaching.needs):
            self._lessons.append(Lesson(frame, dict(heard)))

    def live(self, frame: int, heard: Mapping[str, Tensor]) -> None:
        """``hear``, and put an update that is due into effect at once: without a clock."""
        self.hear(frame, heard)
        if lessons := self.due():
            self.apply(self.compute(lessons))

    def due(self) -> tuple[Lesson, ...]:
        """The lessons of an update that is due now, which it takes; empty if none is."""
        if len(self._lessons) < self.spec.period_frames:
            return ()
        lessons, self._lessons = tuple(self._lessons), []
        return lessons

    # --- updates -------------------------------------------------------------------------------

    def compute(self, lessons: Sequence[Lesson]) -> Update:
        """New weights from some lessons. One at a time; ``apply`` must have followed the last."""
        pupil, base, rate = self._pupil, self._base, self.rate
        assert pupil is not None and base is not None  # learning has begun
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with _outside_inference():
            heard = {
                source: torch.cat([lesson.heard[source] for lesson in lessons])
                for source in self._teaching.needs
            }
            loss = pupil.step(heard, rate)
            twins = dict(pupil.twin.named_parameters())
            with torch.no_grad():
                for name in self._names:
                    twins[name].copy_(within(twins[name], base[name], self.spec.limit))
            weights = {name: twins[name].detach().clone() for name in self._names}
        is_finite = (loss is None or math.isfinite(loss)) and all(
            bool(tensor.isfinite().all()) for tensor in weights.values()
        )
        frames = tuple(lesson.frame for lesson in lessons)
        return Update(frames, rate, loss, weights if is_finite else None, pupil)

    def apply(self, update: Update) -> bool:
        """Put an update into effect: between two frames of the group.

        Returns:
            False if it has no effect: learning has stopped or begun anew meanwhile, or the update
            holds NaN or infinity, which stops learning.
        """
        if not self.is_on or update.pupil is not self._pupil:
            return False
        if update.weights is None:
            self._stop(f"NaN or infinity in the update from frame {update.frames[-1]}")
            return False
        present = self._present()
        with _outside_inference():
            self._before = {name: present[name].clone() for name in self._names}
            self._copy(update.weights)
        assert self._base is not None
        self.change = max(relative_change(t, self._base[n]) for n, t in update.weights.items())
        self.loss = update.loss
        self.updates += 1
        return True

    def take_back(self) -> bool:
        """The group gives NaN or infinity: the weights from before the last update, and no more.

        Returns:
            False if there is nothing to go back to: learning is not the cause.
        """
        if not self.is_on or not self._before:
            return False
        with _outside_inference():
            self._copy(self._before)
        assert self._base is not None
        self.change = max(relative_change(t, self._base[n]) for n, t in self._before.items())
        self._before = {}
        self._stop("its state became NaN or infinite; the weights before the last update are back")
        return True

    def _stop(self, why: str) -> None:
        self.end()
        self.stopped = why

    def _present(self) -> dict[str, Tensor]:
        own = dict(self._group.named_parameters())
        return {name: own[name].detach() for name in self._names}

    def _copy(self, weights: Mapping[str, Tensor]) -> None:
        """Into the group's own memory: whoever has flattened the group sees them as well."""
        present = self._present()
        for name, tensor in weights.items():
            present[name].copy_(tensor)


def learners_of(
    network: StreamingNetwork, torch_threads: int | None = None
) -> dict[str, OnlineLearner]:
    """A learner for every group of a network that may learn; none learns yet.

    Raises:
        NetworkFileError: a section that does not fit its group.
    """
    return {
        name: OnlineLearner(network, name, torch_threads)
        for name in network.spec.learning
        if name in network.groups
    }


def fresh_inputs(job: Job[Tensor]) -> dict[str, Tensor]:
    """What a group heard in a frame of the states that the frame law asks for: nothing held."""
    return {
        source: given.state
        for source, given in job.inputs.items()
        if given.state is not None and not given.is_held
    }


def _outside_inference() -> torch.inference_mode:
    """Workers run under ``inference_mode``; what learns needs tensors with a history."""
    return torch.inference_mode(mode=False)
