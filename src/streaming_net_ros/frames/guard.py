"""Safety of an output: an answer that is too old, or too much of which stood in, does not leave.

Pure, with the clock handed in. One guard belongs to one output; the node that publishes it asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.frames.origin import Origin


class Verdict(Enum):
    """What may be done with an output now."""

    ANSWER = "the answer may leave"
    STOP = "it must stop now: send the safe command, once"
    STOPPED = "it has stopped already: send nothing"


@dataclass(frozen=True)
class Limits:
    """How bad an answer may be.

    Attributes:
        max_age_ns: since the capture of the newest image inside; None: any.
        max_held: largest share of held paths, 0 to 1; None: any.
    """

    max_age_ns: int | None = None
    max_held: float | None = None


class OutputGuard:
    """Judges the answers of one output, and its silence. Not thread-safe.

    Args:
        limits: of the output.
        grid: the frame grid.
        start_ns: how long a first answer may take, counted from the first look, until its silence
            counts; None: for ever.

    Attributes:
        reason: why the output has stopped, in words; None while it has not.
        stops: how often it has.
    """

    def __init__(self, limits: Limits, grid: FrameGrid, start_ns: int | None = None) -> None:
        self._limits = limits
        self._period_ns = grid.period_ns
        self._start_ns = start_ns
        self._newest_ns: int | None = None  # since when the newest answer's age counts
        self._now_ns: int | None = None
        self.reason: str | None = None
        self.stops = 0

    def judge(self, origin: Origin, now_ns: int) -> Verdict:
        """An answer is ready. It resumes by itself: a good answer ends a stop."""
        self._now_ns = now_ns
        reason = self._too_old(origin.since_ns, now_ns)
        most = self._limits.max_held
        if reason is None and most is not None and origin.held > most:
            reason = f"{origin.held:.0%} of its paths held, the limit is {most:.0%}"
        if reason is not None:
            return self._stop(reason)
        self.reason = None
        self._newest_ns = origin.since_ns
        return Verdict.ANSWER

    def watch(self, now_ns: int) -> Verdict:
        """No answer is ready: has the last one that left become too old?"""
        before_ns, self._now_ns = self._now_ns, now_ns
        if self._newest_ns is None:  # nothing has left: nothing to take back
            if self._start_ns is not None:
                self._newest_ns = now_ns + self._start_ns
            return Verdict.STOPPED
        if before_ns is not None and now_ns < before_ns - self._period_ns:
            return self._stop("no newer answer since time jumped back")
        if self.reason is None and self._newest_ns > now_ns:  # a first answer may take its time
            return Verdict.ANSWER
        reason = self._too_old(self._newest_ns, now_ns)
        return Verdict.ANSWER if reason is None else self._stop(f"no newer answer; {reason}")

    def _too_old(self, since_ns: int, now_ns: int) -> str | None:
        limit_ns = self._limits.max_age_ns
        if limit_ns is None:
            return None
        age_ns = now_ns - since_ns
        if age_ns < -self._period_ns:
            return f"of the future by {-age_ns / 1e6:.0f} ms: time jumped back"
        if age_ns <= limit_ns:
            return None
        return f"{age_ns / 1e6:.0f} ms old, the limit is {limit_ns / 1e6:g} ms"

    def _stop(self, reason: str) -> Verdict:
        is_new = self.reason is None
        self.reason = reason
        self.stops += is_new
        return Verdict.STOP if is_new else Verdict.STOPPED
