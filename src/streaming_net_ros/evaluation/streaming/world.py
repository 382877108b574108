"""What was right in a recording, and what a rollout answered while it was.

Owns the times at which the world is looked at, and what counts as a change of it. Knows numpy
only. ``measures`` judges by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.bags import Series, align
from streaming_net_ros.evaluation.streaming.changes import Change, changes_of, class_changes_of
from streaming_net_ros.evaluation.streaming.played import Answers
from streaming_net_ros.evaluation.streaming.references import Kind


@dataclass(frozen=True)
class World:
    """What was right in one recording, for one output.

    Attributes:
        bag: the recording's name.
        captured_ns: (images,) of all images.
        judged: (first, last) which of them to judge; last is not included.
        at_capture: (images, fields) what was right at each capture, NaN where unknown.
        stamps_ns: (n,) of the reference itself.
        values: (n, fields) of it.
    """

    bag: str
    captured_ns: NDArray[np.int64]
    judged: tuple[int, int]
    at_capture: NDArray[np.float64]
    stamps_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def times_ns(self, answers: Sequence[Answers]) -> NDArray[np.int64]:
        """When the world is looked at: times of references that all of these have answered by.

        From the capture of the first judged image to that of the last one.
        """
        begin_ns, last_ns = (self.captured_ns[n] for n in (self.judged[0], self.judged[1] - 1))
        never = np.iinfo(np.int64).max
        starts = (int(a.published_ns[0]) if len(a) else never for a in answers)
        begin_ns = max([int(begin_ns), *starts])
        known = np.isfinite(self.values).all(axis=1)
        chosen = known & (self.stamps_ns >= begin_ns) & (self.stamps_ns <= last_ns)
        return np.unique(self.stamps_ns[chosen])

    def at(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """The reference at each time, held; NaN before the first: (times, fields)."""
        places = np.searchsorted(self.stamps_ns, times_ns, "right") - 1
        return _held(self.values, places)


@dataclass(frozen=True)
class Lived:
    """One rollout in one world.

    Attributes:
        world: what was right.
        times_ns: when the world is looked at; the same for all rollouts that are compared.
        offline: every image a frame, no time passes.
        timed: with compute times.
    """

    world: World
    times_ns: NDArray[np.int64]
    offline: Answers
    timed: Answers

    def answers_at(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """The newest answer at each time, held; NaN before the first: (times, fields)."""
        return _held(self.timed.values, self.timed.newest_at(times_ns))


def world_of(
    bag: str,
    captured_ns: NDArray[np.int64],
    series: Series,
    part: slice = slice(None),
    *,
    tolerance_ns: int,
) -> World:
    """The world of a recording, for one output.

    Args:
        bag: the recording's name.
        captured_ns: (images,) of all images.
        series: the reference over time.
        part: the images to judge.
        tolerance_ns: how near to a capture a reference must be stamped to be that image's.

    Raises:
        ParameterError: the part holds no image.
    """
    first, last, _ = part.indices(len(captured_ns))
    if first >= last:
        raise ParameterError(
            "no image to judge",
            where=f"--judge of {bag}",
            expected=f"FIRST:LAST of {len(captured_ns)} images",
        )
    return World(
        bag,
        captured_ns,
        (first, last),
        align(series, captured_ns, tolerance_ns=tolerance_ns).astype(np.float64),
        series.stamps_ns,
        series.values.astype(np.float64),
    )


def thresholds_of(
    worlds: Sequence[World], names: Sequence[str], kind: Kind, threshold: float | None
) -> dict[str, float]:
    """Per field how far a reference must go to have changed.

    Half of its standard deviation over all judged images, unless it is given; 0 for a class.
    """
    if kind == "class":
        return dict.fromkeys(names, 0.0)
    judged = np.concatenate([world.at_capture[slice(*world.judged)] for world in worlds])
    judged = judged[np.isfinite(judged).all(axis=1)]
    half = judged.std(axis=0) / 2 if len(judged) else np.zeros(len(names))
    return {
        name: float(half[field]) if threshold is None else threshold
        for field, name in enumerate(names)
    }


def changes_in(world: World, field: int, kind: Kind, threshold: float) -> list[Change]:
    """The changes of one field of the judged part of a world."""
    begin_ns, last_ns = (world.captured_ns[n] for n in (world.judged[0], world.judged[1] - 1))
    inside = (world.stamps_ns >= begin_ns) & (world.stamps_ns <= last_ns)
    stamps_ns, values = world.stamps_ns[inside], world.values[inside, field]
    if kind == "class":
        return class_changes_of(stamps_ns, values)
    return changes_of(stamps_ns, values, threshold) if threshold > 0 else []


def _held(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    held: NDArray[np.float64] = np.full((len(places), values.shape[1]), np.nan)
    held[places >= 0] = values[places[places >= 0]]
    return held
