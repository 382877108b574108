"""How often browsers may ask, so that many of them cost what a few do.

Each answer tells its client how long to wait before it asks again. Few clients ask five times a
second; the more there are, the rarer each of them. Pure: the clock is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_MS, MOST_MS = 200.0, 5000.0
MOST_PER_S = 120.0  # answers of all clients together
_WINDOW_S = 0.5


class Pace:
    """The wait between two requests of a client, after how many come of all of them.

    Args:
        now_s: a clock that never jumps.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._begun_s = now_s()
        self._asked = 0
        self._period_ms = LEAST_MS

    def asked(self) -> float:
        """A request has come; how long its client shall wait for the next one (ms)."""
        self._asked += 1
        taken_s = self._now_s() - self._begun_s
        if taken_s >= _WINDOW_S:
            # So many at this period make so few at that one: clients are slow to follow, so half.
            wanted_ms = self._period_ms * self._asked / taken_s / MOST_PER_S
            self._period_ms = (self._period_ms + wanted_ms) / 2
            self._period_ms = min(max(self._period_ms, LEAST_MS), MOST_MS)
            self._begun_s, self._asked = self._now_s(), 0
        return self._period_ms
