"""The tally: what happened to the frames of one group, counted and summed up.

Bounded: counters and the last thousand of each time, however long the run. Feeds
``/diagnostics``, the topics under ``debug/`` and the cadence report at the end of a run. What was
computed from what, frame by frame, is the ``ledger``'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streaming_net_ros.frames.mailbox import Arrival, Job
from streaming_net_ros.frames.spread import Spread


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
        absent: inputs that had nothing to stand in.
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
    absent: int
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
        absent = f", absent {self.absent}" if self.absent else ""
        return (
            f"{self.frames} frames, {rate}, work mean {self.work_mean_ms:.1f} ms "
            f"p99 {self.work_p99_ms:.1f} worst {self.work_worst_ms:.1f}, "
            f"held {self.held}{absent}, skipped {self.skipped}"
        )


@dataclass
class EdgeTally:
    """What came over one edge.

    Attributes:
        hop: from the sending of a state to its arrival (between processes, realtime).
        wait: from the arrival of a state to the begin of the frame that uses it.
        age: of the newest image inside a state when a frame begins (realtime).
        arrivals: states by what became of them.
        held: frames in which an older state stood in.
        absent: frames in which nothing could stand in.
    """

    hop: Spread = field(default_factory=Spread)
    wait: Spread = field(default_factory=Spread)
    age: Spread = field(default_factory=Spread)
    arrivals: dict[Arrival, int] = field(default_factory=lambda: dict.fromkeys(Arrival, 0))
    held: int = 0
    absent: int = 0


class FrameTally:
    """Records frames of one group. Not thread-safe: its owner holds a lock.

    Args:
        sources: whom the group hears.
        target_hz: the rate to keep, if there is one.

    Attributes:
        work: time in the layers, of frames that were computed.
        edges: what came from each source.
        skipped: frames given up.
        repeated: frames that repeated the last state (groups with a period).
        silent: frames without a state, because there was nothing to hear.
        not_finite: states that were NaN or infinite and went nowhere.
    """

    def __init__(self, sources: Iterable[str] = (), target_hz: float | None = None) -> None:
        self._target_hz = target_hz
        self._frames = 0
        self._over_budget = 0
        self._first_ns = 0
        self._last_ns = 0
        self.work = Spread()
        self.edges = {source: EdgeTally() for source in sources}
        self.skipped = 0
        self.repeated = 0
        self.silent = 0
        self.not_finite = 0

    def arrived(self, source: str, arrival: Arrival) -> None:
        """A state has arrived; those that came as they should need not be told."""
        self.edges[source].arrivals[arrival] += 1

    def record(self, job: Job[Any], done_ns: int, work_ns: int) -> None:
        """A frame is done at ``done_ns`` after ``work_ns`` in the layers."""
        if self._frames == 0:
            self._first_ns = done_ns
        self._last_ns = done_ns
        self._frames += 1
        if job.is_silent:
            self.silent += 1
        elif job.repeated is None:
            work_ms = self.work.add(work_ns)
            if self._target_hz is not None and work_ms > 1e3 / self._target_hz:
                self._over_budget += 1
        else:
            self.repeated += 1
        for source, given in job.inputs.items():
            if given.is_held:
                self.edges[source].held += 1
        for source in job.absent:
            self.edges[source].absent += 1
        self.skipped += job.skipped

    @property
    def held(self) -> dict[str, int]:
        """How often each source was stood in for, where it was at all."""
        return {source: edge.held for source, edge in self.edges.items() if edge.held}

    def count(self, arrival: Arrival) -> int:
        """How many arrivals ended so, over all edges."""
        return sum(edge.arrivals[arrival] for edge in self.edges.values())

    def cadence(self) -> Cadence:
        """The sum so far."""
        span_ns = self._last_ns - self._first_ns
        return Cadence(
            frames=self._frames,
            rate_hz=(self._frames - 1) * 1e9 / span_ns if span_ns > 0 else math.nan,
            target_hz=self._target_hz,
            over_budget=self._over_budget,
            work_mean_ms=self.work.mean_ms,
            work_p50_ms=self.work.quantile_ms(0.5),
            work_p99_ms=self.work.quantile_ms(0.99),
            work_worst_ms=self.work.worst_ms,
            held=sum(edge.held for edge in self.edges.values()),
            absent=sum(edge.absent for edge in self.edges.values()),
            skipped=self.skipped,
            duplicates=self.count(Arrival.DUPLICATE),
            late=self.count(Arrival.LATE),
        )
