"""What rollouts are worth on recordings: errors, ages and response times of their answers.

Owns the definitions (docs/evaluation.md tells them with formulas); knows numpy, and nothing of how
the answers came about (``played``) or of how the numbers are shown (``report``).

* *offline*: the answer of response k is the one whose newest image is k - first frames newer than
  the image that it is judged by; both are compared at that image's capture, as in ``metrics``.
* *streaming*: at each time of a reference, the newest answer that was published by then (Li, Wang,
  Ramanan: Towards Streaming Perception, ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation.streaming.changes import Held, Lag, lag_of, response_ns
from streaming_net_ros.evaluation.streaming.played import Answers
from streaming_net_ros.evaluation.streaming.references import Kind
from streaming_net_ros.evaluation.streaming.world import Lived, changes_in

Numbers = dict[str, list[float]]  # per measure a number per field


@dataclass(frozen=True)
class Spread:
    """How times are distributed, in ms."""

    mean: float
    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, times_ns: NDArray[np.int64]) -> Spread:
        """Of times in ns; NaN of none."""
        if not len(times_ns):
            return cls(*(float("nan"),) * 4)
        ms = times_ns / 1e6
        p50, p95 = np.percentile(ms, [50, 95])
        return cls(float(ms.mean()), float(p50), float(p95), float(ms.max()))


@dataclass(frozen=True)
class ChangeResponses:
    """How changes of one field were answered.

    Attributes:
        changes: how many there were.
        answered: how many of them were answered.
        median_ms: of all, those that were missed being infinitely late; infinite if most were.
        threshold: of a change; 0 for a class.
    """

    changes: int
    answered: int
    median_ms: float
    threshold: float


@dataclass(frozen=True)
class Measures:
    """Everything measured of one rollout's output, over one or several recordings.

    Attributes:
        names: of the fields.
        kind: of what is compared.
        first_frames, full_frames: from an image to its early and to its full response.
        images: judged offline.
        offline: errors of each response, from the early (first) to the full one (last).
        offline_mean: of always giving the mean of these references (the commonest class).
        times: judged streaming.
        streaming: errors of the newest answer against the world of that time.
        streaming_mean: of always giving the mean.
        age_ms: at these times, of the newest image inside the newest answer.
        latency_ms: from a capture to the publication of the first answer that it influenced.
        answers: published.
        answers_hz: as often.
        images_answered: share of the images that are the newest one of some answer.
        changes: per field.
        lags: per field; empty for a class.
        ages_ns: behind ``age_ms``.
    """

    names: tuple[str, ...]
    kind: Kind
    first_frames: int
    full_frames: int
    images: int
    offline: tuple[Numbers, ...]
    offline_mean: Numbers
    times: int
    streaming: Numbers
    streaming_mean: Numbers
    age_ms: Spread
    latency_ms: Spread
    answers: int
    answers_hz: float
    images_answered: float
    changes: Mapping[str, ChangeResponses]
    lags: Mapping[str, Lag]
    ages_ns: NDArray[np.int64]

    @property
    def main(self) -> str:
        """The measure that is shown first."""
        return "accuracy" if self.kind == "class" else "mae"


def measure(
    lived: Sequence[Lived],
    names: Sequence[str],
    kind: Kind,
    frames: tuple[int, int],
    thresholds: Mapping[str, float],
) -> Measures:
    """Judge one rollout's output over recordings, which are pooled.

    Args:
        lived: the rollout in each of them.
        names: of the fields.
        kind: of what is compared.
        frames: first and full of the rollout's output.
        thresholds: per field, of a change.

    Raises:
        BagError: not one image, or not one time, can be judged.
    """
    images, offline, offline_mean = _offline(lived, kind, frames)
    answers = np.concatenate([part.answers_at(part.times_ns) for part in lived])
    world = np.concatenate([part.world.at(part.times_ns) for part in lived])
    if not len(world):
        raise BagError(
            "no reference can be judged",
            expected="references stamped between the first answer and the last image",
            got=f"{sum(len(part.timed) for part in lived)} answers, "
            f"{sum(len(part.world.stamps_ns) for part in lived)} references",
            remedy="check the stamps, judge more images, or give less compute time",
        )
    ages_ns = np.concatenate([_ages_ns(part) for part in lived])
    firsts = [_judged_firsts(part) for part in lived]
    delays = [first.published_ns - first.captured_ns for first in firsts]
    judged_images = sum(part.world.judged[1] - part.world.judged[0] for part in lived)
    published, seconds = _published(lived)
    return Measures(
        names=tuple(names),
        kind=kind,
        first_frames=frames[0],
        full_frames=frames[1],
        images=images,
        offline=offline,
        offline_mean=offline_mean,
        times=len(world),
        streaming=errors_of(kind, answers, world),
        streaming_mean=errors_of(kind, _always(kind, world), world),
        age_ms=Spread.of(ages_ns),
        latency_ms=Spread.of(np.concatenate(delays)),
        answers=published,
        answers_hz=published / seconds if seconds > 0 else float("nan"),
        images_answered=sum(map(len, delays)) / judged_images,
        changes={
            name: _changes(lived, field, kind, thresholds[name])
            for field, name in enumerate(names)
        },
        lags={} if kind == "class" else {n: _lag(lived, field) for field, n in enumerate(names)},
        ages_ns=ages_ns,
    )


def errors_of(
    kind: Kind, answers: NDArray[np.float64], references: NDArray[np.float64]
) -> Numbers:
    """Errors per field of (n, fields) answers: mae and rmse, or for a class accuracy."""
    if kind == "class":
        return {"accuracy": (answers == references).mean(axis=0).tolist()}
    difference = answers - references
    return {
        "mae": np.abs(difference).mean(axis=0).tolist(),
        "rmse": np.sqrt(np.square(difference).mean(axis=0)).tolist(),
    }


def _offline(
    lived: Sequence[Lived], kind: Kind, frames: tuple[int, int]
) -> tuple[int, tuple[Numbers, ...], Numbers]:
    """Errors of every response from the early to the full one, over the same images."""
    spread = frames[1] - frames[0]
    by_response: list[NDArray[np.float64]] = []  # per recording (responses, images, fields)
    right: list[NDArray[np.float64]] = []
    for part in lived:
        world = part.world
        answers = part.offline.first_per_image
        by_image = np.full(world.at_capture.shape, np.nan)
        by_image[np.searchsorted(world.captured_ns, answers.captured_ns)] = answers.values
        first, last = world.judged[0], min(world.judged[1], len(by_image) - spread)
        if last <= first:
            continue
        given = np.stack([by_image[first + k : last + k] for k in range(spread + 1)])
        reference = world.at_capture[first:last]
        known = np.isfinite(given).all(axis=(0, 2)) & np.isfinite(reference).all(axis=1)
        by_response.append(given[:, known])
        right.append(reference[known])
    references = np.concatenate(right) if right else np.empty((0, 1))
    if not len(references):
        raise BagError(
            "no image has a reference, an early and a full answer",
            got=f"{sum(len(part.world.captured_ns) for part in lived)} images",
            remedy="judge more images, or check the reference's stamps",
        )
    given = np.concatenate(by_response, axis=1)
    return (
        len(references),
        tuple(errors_of(kind, answers, references) for answers in given),
        errors_of(kind, _always(kind, references), references),
    )


def _always(kind: Kind, references: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a predictor says that does not look: the mean, or the commonest class."""
    if kind == "class":
        numbers, counts = np.unique(references[:, 0], return_counts=True)
        return np.full_like(references, numbers[counts.argmax()])
    return np.broadcast_to(references.mean(axis=0), references.shape)


def _ages_ns(part: Lived) -> NDArray[np.int64]:
    newest = part.timed.newest_at(part.times_ns)
    ages: NDArray[np.int64] = part.times_ns - part.timed.captured_ns[newest]
    return ages


def _judged_firsts(part: Lived) -> Answers:
    """The first answer of each judged image that has one."""
    first = part.timed.first_per_image
    begin_ns, last_ns = (
        part.world.captured_ns[n] for n in (part.world.judged[0], part.world.judged[1] - 1)
    )
    inside = (first.captured_ns >= begin_ns) & (first.captured_ns <= last_ns)
    return Answers(first.published_ns[inside], first.captured_ns[inside], first.values[inside])


def _published(lived: Sequence[Lived]) -> tuple[int, float]:
    """How many answers came while the world was looked at, and in how many seconds."""
    count, seconds = 0, 0.0
    for part in lived:
        if len(part.times_ns) > 1:
            begin_ns, end_ns = part.times_ns[0], part.times_ns[-1]
            published = part.timed.published_ns
            count += int(((published > begin_ns) & (published <= end_ns)).sum())
            seconds += (end_ns - begin_ns) / 1e9
    return count, seconds


def _changes(lived: Sequence[Lived], field: int, kind: Kind, threshold: float) -> ChangeResponses:
    delays = []
    for part in lived:
        for change in changes_in(part.world, field, kind, threshold):
            if len(part.times_ns) and change.at_ns >= part.times_ns[0]:
                delays.append(
                    response_ns(
                        change,
                        part.timed.published_ns,
                        part.timed.values[:, field],
                        is_class=kind == "class",
                    )
                )
    late = [float("inf") if delay is None else delay / 1e6 for delay in delays]
    median_ms = float(np.percentile(late, 50, method="lower")) if late else float("nan")
    return ChangeResponses(
        len(delays), sum(delay is not None for delay in delays), median_ms, threshold
    )


def _lag(lived: Sequence[Lived], field: int) -> Lag:
    def pieces() -> Iterator[tuple[int, int, Held, Held]]:
        for part in lived:
            if len(part.times_ns):

                def answer(times_ns: NDArray[np.int64], part: Lived = part) -> NDArray[np.float64]:
                    return part.answers_at(times_ns)[:, field]

                def right(times_ns: NDArray[np.int64], part: Lived = part) -> NDArray[np.float64]:
                    return part.world.at(times_ns)[:, field]

                yield int(part.times_ns[0]), int(part.times_ns[-1]) + 1, answer, right

    return lag_of(list(pieces()))


def plain(value: Any) -> Any:
    """Numbers, lists and words as JSON has them: six decimals, None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
