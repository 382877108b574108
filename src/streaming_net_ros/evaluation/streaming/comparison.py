"""Rollouts compared on recordings: plays all of them on each, and measures what came of it.

Owns the order of work and the shape of ``result.json``. Knows neither terminal nor files of
results; ``report`` and ``annotated`` show what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.bags import open_bag
from streaming_net_ros.evaluation.inputs import RecordedInputs, read_inputs
from streaming_net_ros.evaluation.streaming.measures import Measures, measure, plain
from streaming_net_ros.evaluation.streaming.played import (
    Answers,
    Contender,
    TimedPlay,
    Timing,
    play_offline,
    play_timed,
)
from streaming_net_ros.evaluation.streaming.references import Reference, find_references
from streaming_net_ros.evaluation.streaming.world import Lived, World, thresholds_of, world_of

Tick = Callable[[], None]
Play = Callable[[Contender, "Drive", RecordedInputs, Sequence[Reference], Tick], TimedPlay]
OnImage = Callable[[int, int, str], None]  # (done, total, what)


@dataclass(frozen=True)
class Drive:
    """A recording to play.

    Attributes:
        name: in the results; no two have the same.
        path: where it lies.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Task:
    """What is compared, and how.

    Attributes:
        contenders: at least one.
        drives: at least one.
        references: ``[OUTPUT=]TOPIC:FIELD[,FIELD]``, each for another output.
        timing: per contender.
        image_topic: None for the only one.
        topics: per further input of the networks.
        part: the images to judge, of each recording.
        threshold: of a change; None: half of the reference's standard deviation.
    """

    contenders: Sequence[Contender]
    drives: Sequence[Drive]
    references: Sequence[str]
    timing: Mapping[str, Timing]
    image_topic: str | None = None
    topics: Mapping[str, str] | None = None
    part: slice = field(default_factory=lambda: slice(None))
    threshold: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of it. Everything is by contender, output and recording, in the task's order.

    Attributes:
        task: what was compared.
        references: by output.
        image_topics: by recording.
        images: by recording, how many.
        lived: by contender, output and recording.
        plays: by contender and recording.
        pooled: by contender and output, over all recordings.
        single: by contender, output and recording.
    """

    task: Task
    references: Mapping[str, Reference]
    image_topics: Mapping[str, str]
    images: Mapping[str, int]
    lived: Mapping[str, Mapping[str, Mapping[str, Lived]]]
    plays: Mapping[str, Mapping[str, TimedPlay]]
    pooled: Mapping[str, Mapping[str, Measures]]
    single: Mapping[str, Mapping[str, Mapping[str, Measures]]]

    def is_live(self, contender: str) -> bool:
        """Whether a contender was played on a machine, in whose time it took."""
        return any(play.computed is None for play in self.plays[contender].values())

    def runs(self, contender: str) -> str:
        """How a contender was played, in words."""
        bags = [play.recorded_in for play in self.plays[contender].values() if play.recorded_in]
        if bags:
            return f"recorded in {', '.join(bags)}"
        (one,) = (c for c in self.task.contenders if c.name == contender)
        where = ", through ROS" if self.is_live(contender) else ""
        return ("all groups at once" if one.is_pipelined else "one pass after the other") + where

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words; nothing that differs from run to run of one machine."""
        return {
            "recordings": [
                {
                    "name": drive.name,
                    "images": self.images[drive.name],
                    "image_topic": self.image_topics[drive.name],
                }
                for drive in self.task.drives
            ],
            "references": {
                output: {
                    "topic": reference.topic,
                    "fields": list(reference.fields),
                    "names": list(reference.names),
                    "compared_as": reference.kind,
                }
                for output, reference in self.references.items()
            },
            "rollouts": {c.name: self._contender_json(c) for c in self.task.contenders},
        }

    def _contender_json(self, contender: Contender) -> dict[str, Any]:
        timing = self.task.timing[contender.name]
        plays = list(self.plays[contender.name].values())
        spec = contender.network.spec
        return {
            "network": spec.name,
            "rollout": contender.network.rollout.name,
            "weights": contender.weights,
            "runs": self.runs(contender.name),
            "rate_hz": plain(timing.rate_hz or spec.rate_hz),
            **({} if self.is_live(contender.name) else _timing_json(contender, timing, plays)),
            "outputs": {
                output: {
                    "all": measures_json(self.pooled[contender.name][output]),
                    "by_recording": {
                        drive: measures_json(measures)
                        for drive, measures in self.single[contender.name][output].items()
                    },
                }
                for output in self.references
            },
        }


def compare(
    task: Task, players: Mapping[str, Play] | None = None, on_image: OnImage | None = None
) -> Comparison:
    """Play every contender on every recording, and measure.

    Args:
        task: what to compare.
        players: those who play a contender with time; all others are played in virtual time.
        on_image: told of progress.

    Raises:
        BagError: a recording that lacks what is needed.
        ParameterError: a reference that no output answers; networks that cannot be compared.
    """
    references = _common_references(task)
    progress = _Progress(task, on_image)
    worlds: dict[str, dict[str, World]] = {output: {} for output in references}
    offline: dict[str, dict[str, Mapping[str, Answers]]] = {c.name: {} for c in task.contenders}
    plays: dict[str, dict[str, TimedPlay]] = {c.name: {} for c in task.contenders}
    images: dict[str, int] = {}
    image_topics: dict[str, str] = {}
    for number, drive in enumerate(task.drives):
        inputs: dict[str, RecordedInputs] = {}  # by what the networks want
        for contender in task.contenders:
            spec = contender.network.spec
            key = repr(spec.inputs)
            if key not in inputs:
                inputs[key] = read_inputs(drive.path, spec, task.image_topic, task.topics)
            given = inputs[key]
            image_topics[drive.name] = given.topics[spec.primary_input]
            images[drive.name] = len(given)
            own = find_references(spec, task.references)
            progress.begin(drive, contender, number, len(given))
            player = (players or {}).get(contender.name)
            timed = (
                play_timed(contender, given, own, task.timing[contender.name], progress.tick)
                if player is None
                else player(contender, drive, given, own, progress.tick)
            )
            plays[contender.name][drive.name] = timed
            offline[contender.name][drive.name] = (
                timed.answers
                if timed.recorded_in
                else play_offline(contender, given, own, progress.tick)
            )
        some = next(iter(inputs.values()))
        for output, reference in references.items():
            worlds[output][drive.name] = _world(task, drive, some, reference)
    lived = _lived(task, references, worlds, offline, plays)
    pooled, single = _measured(task, references, worlds, lived)
    return Comparison(task, references, image_topics, images, lived, plays, pooled, single)


def measures_json(measures: Measures) -> dict[str, Any]:
    """The numbers of one output."""
    names = measures.names

    def by_field(numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        return {kind: dict(zip(names, values, strict=True)) for kind, values in numbers.items()}

    told = {
        "offline": {
            "images": measures.images,
            "first_frames": measures.first_frames,
            "full_frames": measures.full_frames,
            "by_frames_since_image": {
                str(measures.first_frames + k): by_field(numbers)
                for k, numbers in enumerate(measures.offline)
            },
            "always_the_mean": by_field(measures.offline_mean),
        },
        "streaming_evaluation": {
            "times": measures.times,
            **by_field(measures.streaming),
            "always_the_mean": by_field(measures.streaming_mean),
        },
        "age_ms": asdict(measures.age_ms),
        "latency_ms": asdict(measures.latency_ms),
        "answers": measures.answers,
        "answers_hz": measures.answers_hz,
        "images_answered": measures.images_answered,
        "changes": {name: asdict(change) for name, change in measures.changes.items()},
        "lag": {
            name: {
                "lag_ms": None if lag.best is None else lag.lags_ns[lag.best] / 1e6,
                "correlation": None if lag.best is None else lag.correlations[lag.best],
                "correlation_unshifted": lag.zero,
            }
            for name, lag in measures.lags.items()
        },
    }
    kept: dict[str, Any] = plain(told)
    return kept


def _timing_json(
    contender: Contender, timing: Timing, plays: Iterable[TimedPlay]
) -> dict[str, Any]:
    """How a contender was played in virtual time."""
    return {
        "work_ms": {g: plain(timing.work_ns.get(g, 0) / 1e6) for g in contender.groups},
        "camera_ms": plain(timing.camera_ns / 1e6),
        "workers": timing.workers or len(contender.groups),
        "group_frames_computed": sum(play.computed or 0 for play in plays),
        "inputs_held": sum(play.held or 0 for play in plays),
    }


def _common_references(task: Task) -> dict[str, Reference]:
    """The references, which must mean the same for every network."""
    found: dict[str, Reference] = {}
    for contender in task.contenders:
        for reference in find_references(contender.network.spec, task.references):
            first = found.setdefault(reference.output, reference)
            if (first.names, first.kind) != (reference.names, reference.kind):
                raise ParameterError(
                    "the networks answer different things",
                    where=f"output '{reference.output}' of {contender.name}",
                    expected=f"{first.kind} {', '.join(first.names)}",
                    got=f"{reference.kind} {', '.join(reference.names)}",
                )
    for contender in task.contenders:
        answered = [r.output for r in find_references(contender.network.spec, task.references)]
        if answered != list(found):
            raise ParameterError(
                "the networks' outputs have different names",
                where=contender.name,
                expected=", ".join(found),
                got=", ".join(answered),
            )
    return found


def _world(task: Task, drive: Drive, inputs: RecordedInputs, reference: Reference) -> World:
    with open_bag(drive.path) as bag:
        series = bag.series(reference.topic, reference.fields)
    reference.check(series.values, str(drive.path))
    captured_ns = inputs.captured_ns
    return world_of(drive.name, captured_ns, series, task.part, tolerance_ns=inputs.period_ns)


def _lived(
    task: Task,
    references: Mapping[str, Reference],
    worlds: Mapping[str, Mapping[str, World]],
    offline: Mapping[str, Mapping[str, Mapping[str, Answers]]],
    plays: Mapping[str, Mapping[str, TimedPlay]],
) -> dict[str, dict[str, dict[str, Lived]]]:
    """Every rollout beside its world, looked at when all of them have answered."""
    lived: dict[str, dict[str, dict[str, Lived]]] = {
        c.name: {output: {} for output in references} for c in task.contenders
    }
    for output in references:
        for drive, world in worlds[output].items():
            timed = {c.name: plays[c.name][drive].answers[output] for c in task.contenders}
            times_ns = world.times_ns(list(timed.values()))
            for name, answers in timed.items():
                lived[name][output][drive] = Lived(
                    world, times_ns, offline[name][drive][output], answers
                )
    return lived


def _measured(
    task: Task,
    references: Mapping[str, Reference],
    worlds: Mapping[str, Mapping[str, World]],
    lived: Mapping[str, Mapping[str, Mapping[str, Lived]]],
) -> tuple[dict[str, dict[str, Measures]], dict[str, dict[str, dict[str, Measures]]]]:
    pooled: dict[str, dict[str, Measures]] = {c.name: {} for c in task.contenders}
    single: dict[str, dict[str, dict[str, Measures]]] = {c.name: {} for c in task.contenders}
    for output, reference in references.items():
        names, kind = reference.names, reference.kind
        thresholds = thresholds_of(list(worlds[output].values()), names, kind, task.threshold)
        for contender in task.contenders:
            frames = contender.response_frames(output)
            parts = lived[contender.name][output]
            pooled[contender.name][output] = measure(
                list(parts.values()), names, kind, frames, thresholds
            )
            single[contender.name][output] = {
                drive: measure([part], names, kind, frames, thresholds)
                for drive, part in parts.items()
            }
    return pooled, single


class _Progress:
    """Counts images over all plays; how many there will be is guessed from those known so far."""

    def __init__(self, task: Task, on_image: OnImage | None) -> None:
        self._on_image = on_image or (lambda done, total, what: None)
        self._contenders = len(task.contenders)
        self._drives = len(task.drives)
        self._images: list[int] = []
        self._done = 0
        self._what = ""

    def begin(self, drive: Drive, contender: Contender, number: int, images: int) -> None:
        if len(self._images) <= number:
            self._images.append(images)
        self._what = f"{contender.name} on {drive.name}"

    def tick(self) -> None:
        self._done += 1
        each = float(np.mean(self._images))
        total = round(2 * self._contenders * each * self._drives)
        self._on_image(self._done, max(total, self._done), self._what)
