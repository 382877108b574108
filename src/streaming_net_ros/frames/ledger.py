"""The ledger: what happened to the frames of one group, counted and summed up.

Bounded: counters and the last thousand work times, however long the run. Feeds ``/diagnostics``
and the cadence report at the end of a run.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

_RECENT = 1000


def quantile(values: list[float], q: float) -> float:
    """The smallest value that at least the fraction ``q`` of the values do not exceed."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


@dataclass(frozen=True)
class Cadence:
    """How a run kept its rate.

    Attributes:
        frames: frames computed.
        rate_hz: measured over the whole run, nan below two frames.
        target_hz: the network's rate, or None where there is none to keep (lockstep).
        over_budget: frames whose work took longer than the target's period.
        work_mean_ms, work_p50_ms, work_p99_ms, work_worst_ms: time in the group's layers; p50 and
            p99 over the last thousand frames.
        held: inputs stood in for.
        skipped: frames given up.
        duplicates: states that arrived again and were ignored.
        late: states that arrived after their frame had fired.
    """

    frames: int
    rate_hz: float
    target_hz: float | None
    over_budget: int
    work_mean_ms: float
    work_p50_ms: float
    work_p99_ms: float
    work_worst_ms: float
    held: int
    skipped: int
    duplicates: int
    late: int

    def __str__(self) -> str:
        """One line, as it is printed at the end of a run."""
        if self.frames == 0:
            return "no frame"
        rate = f"{self.rate_hz:.1f} Hz"
        if self.target_hz is not None:
            rate += f" (target {self.target_hz:g}), {self.over_budget} over budget"
        return (
            f"{self.frames} frames, {rate}, work mean {self.work_mean_ms:.1f} ms "
            f"p99 {self.work_p99_ms:.1f} worst {self.work_worst_ms:.1f}, "
            f"held {self.held}, skipped {self.skipped}"
        )


class FrameLedger:
    """Records frames of one group. Not thread-safe: its owner holds a lock."""

    def __init__(self, target_hz: float | None = None) -> None:
        self._target_hz = target_hz
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._frames = 0
        self._work_sum_ms = 0.0
        self._work_worst_ms = 0.0
        self._over_budget = 0
        self._first_ns = 0
        self._last_ns = 0
        self.held: dict[str, int] = {}
        self.skipped = 0
        self.duplicates = 0
        self.late = 0

    def record(
        self, done_ns: int, work_ns: int, held: tuple[str, ...] = (), skipped: int = 0
    ) -> None:
        """A frame is done at ``done_ns`` after ``work_ns`` in the layers."""
        work_ms = work_ns / 1e6
        if self._frames == 0:
            self._first_ns = done_ns
        self._last_ns = done_ns
        self._frames += 1
        self._work_sum_ms += work_ms
        self._work_worst_ms = max(self._work_worst_ms, work_ms)
        self._recent_ms.append(work_ms)
        if self._target_hz is not None and work_ms > 1e3 / self._target_hz:
            self._over_budget += 1
        for source in held:
            self.held[source] = self.held.get(source, 0) + 1
        self.skipped += skipped

    def cadence(self) -> Cadence:
        """The sum so far."""
        span_ns = self._last_ns - self._first_ns
        recent = list(self._recent_ms)
        return Cadence(
            frames=self._frames,
            rate_hz=(self._frames - 1) * 1e9 / span_ns if span_ns > 0 else math.nan,
            target_hz=self._target_hz,
            over_budget=self._over_budget,
            work_mean_ms=self._work_sum_ms / self._frames if self._frames else math.nan,
            work_p50_ms=quantile(recent, 0.5),
            work_p99_ms=quantile(recent, 0.99),
            work_worst_ms=self._work_worst_ms,
            held=sum(self.held.values()),
            skipped=self.skipped,
            duplicates=self.duplicates,
            late=self.late,
        )
