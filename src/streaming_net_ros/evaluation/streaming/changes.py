"""How fast answers follow changes of the world.

Two measures that stand beside each other, because each is blind where the other sees:

* The *response time* to a change. The reference has changed when it has left the last level by a
  threshold (for a class: when it is another one). It is answered when the newest answer has
  covered 63 % of the way from the old level to the new one, as a first-order system has after one
  time constant. The change is missed if the reference turns back before, or after a second.
* The *lag*: by how much the answers must be shifted back in time to fit the reference best.

Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVERED = 1 - np.exp(-1)  # of the way: one time constant
HORIZON_NS = 1_000_000_000
LAG_STEP_NS = 10_000_000

Held = Callable[[NDArray[np.int64]], NDArray[np.float64]]  # a value at each time, NaN for none


@dataclass(frozen=True)
class Change:
    """The reference has gone to another level.

    Attributes:
        at_ns: when it had left the old level by the threshold.
        before: the old level.
        after: the new one.
        until_ns: when it turned back, went on to another class, or the horizon.
    """

    at_ns: int
    before: float
    after: float
    until_ns: int

    @property
    def goal(self) -> float:
        """What an answer must have reached."""
        return self.before + float(COVERED) * (self.after - self.before)


def changes_of(
    stamps_ns: NDArray[np.int64], values: NDArray[np.float64], threshold: float
) -> list[Change]:
    """The changes of one field of a reference, in order.

    Args:
        stamps_ns: (n,) of the reference, increasing.
        values: (n,) numbers; NaN is passed over.
        threshold: how far it must have gone from the last level; above 0.
    """
    known = np.isfinite(values)
    stamps_ns, values = stamps_ns[known], values[known]
    found: list[Change] = []
    level = values[0] if len(values) else 0.0
    for number in range(1, len(values)):
        value = float(values[number])
        if abs(value - level) >= threshold:
            at_ns = int(stamps_ns[number])
            change = Change(at_ns, float(level), value, at_ns + HORIZON_NS)
            later = slice(number, int(np.searchsorted(stamps_ns, change.until_ns, "right")))
            gone = np.flatnonzero(~_has_reached(change, values[later]))
            if len(gone):
                change = Change(at_ns, float(level), value, int(stamps_ns[number + gone[0]]))
            found.append(change)
            level = value
    return found


def class_changes_of(stamps_ns: NDArray[np.int64], values: NDArray[np.float64]) -> list[Change]:
    """The changes of a class; each lasts until the next one, and at most to the horizon."""
    places = np.flatnonzero(np.diff(values) != 0) + 1
    begins_ns = stamps_ns[places]
    ends_ns = begins_ns + HORIZON_NS
    ends_ns[:-1] = np.minimum(ends_ns[:-1], begins_ns[1:])
    return [
        Change(begin_ns, float(values[place - 1]), float(values[place]), end_ns)
        for place, begin_ns, end_ns in zip(
            places, begins_ns.tolist(), ends_ns.tolist(), strict=True
        )
    ]


def response_ns(
    change: Change,
    published_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    is_class: bool = False,
) -> int | None:
    """How long after a change it was answered; 0 if the newest answer was there already.

    Args:
        change: of the reference.
        published_ns: (n,) of the answers, in order.
        values: (n,) the answers.
        is_class: answered is only what is the same class.

    Returns:
        The time, or None: the change was missed.
    """
    first = max(0, int(np.searchsorted(published_ns, change.at_ns, "right")) - 1)
    last = int(np.searchsorted(published_ns, change.until_ns, "left"))
    near = values[first:last]
    reached = near == change.after if is_class else _has_reached(change, near)
    places = np.flatnonzero(reached)
    if not len(places):
        return None
    return max(0, int(published_ns[first + places[0]]) - change.at_ns)


@dataclass(frozen=True)
class Lag:
    """How well answers fit the reference, by how far they are shifted.

    Attributes:
        lags_ns: by how much the answers are late.
        correlations: Pearson's, for each; NaN where one of the two does not vary.
    """

    lags_ns: NDArray[np.int64]
    correlations: NDArray[np.float64]

    @property
    def best(self) -> int | None:
        """Place of the lag that fits best, the smallest of equals; None if nothing varies."""
        if not np.isfinite(self.correlations).any():
            return None
        order = np.argsort(np.abs(self.lags_ns), kind="stable")
        return int(order[np.nanargmax(self.correlations[order].round(9))])

    @property
    def zero(self) -> float:
        """The correlation without a shift."""
        return float(self.correlations[np.flatnonzero(self.lags_ns == 0)[0]])


def lag_of(pieces: Sequence[tuple[int, int, Held, Held]]) -> Lag:
    """Cross-correlation of newest answers with the reference, both held, every 10 ms.

    Args:
        pieces: stretches of time (from, to in ns), each with its answers and its reference.
    """
    steps = HORIZON_NS // LAG_STEP_NS
    lags_ns = np.arange(-steps, steps + 1, dtype=np.int64) * LAG_STEP_NS
    correlations = np.full(len(lags_ns), np.nan)
    sampled = []
    for begin_ns, end_ns, answer, reference in pieces:
        times_ns = np.arange(begin_ns, end_ns, LAG_STEP_NS, dtype=np.int64)
        if len(times_ns):
            sampled.append((answer(times_ns), reference(times_ns)))
    for place, shift in enumerate(range(-steps, steps + 1)):
        pairs = [
            (a[max(0, shift) : len(a) + min(0, shift)], r[max(0, -shift) : len(r) - max(0, shift)])
            for a, r in sampled
            if len(a) > abs(shift)
        ]
        if pairs:
            answers = np.concatenate([a for a, _ in pairs])
            references = np.concatenate([r for _, r in pairs])
            correlations[place] = _correlation(answers, references)
    return Lag(lags_ns, correlations)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 2:
        return float("nan")
    a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 1e-12 * known.sum() else float("nan")


def _has_reached(change: Change, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    upwards = np.sign(change.after - change.before)
    reached: NDArray[np.bool_] = upwards * (values - change.goal) >= 0
    return reached
