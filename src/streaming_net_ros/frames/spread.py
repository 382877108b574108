"""How a measured time is spread: median, 99th percentile, worst. Bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

RECENT = 1000


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the fraction ``q`` of the values do not exceed."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


class Spread:
    """Durations in ms: quantiles of the last thousand, mean and worst of all."""

    def __init__(self) -> None:
        self._recent_ms: deque[float] = deque(maxlen=RECENT)
        self._sum_ms = 0.0
        self.count = 0
        self.worst_ms = math.nan

    def add(self, took_ns: int) -> float:
        """Count one; returns it in ms."""
        took_ms = took_ns / 1e6
        self._recent_ms.append(took_ms)
        self._sum_ms += took_ms
        self.count += 1
        self.worst_ms = took_ms if self.count == 1 else max(took_ms, self.worst_ms)
        return took_ms

    @property
    def mean_ms(self) -> float:
        """Of all."""
        return self._sum_ms / self.count if self.count else math.nan

    def quantile_ms(self, q: float) -> float:
        """Of the last thousand."""
        return quantile(list(self._recent_ms), q)

    def told(self) -> dict[str, float]:
        """Median, 99th percentile and worst in ms, by name."""
        recent = sorted(self._recent_ms)
        return {
            "p50_ms": quantile(recent, 0.5),
            "p99_ms": quantile(recent, 0.99),
            "max_ms": self.worst_ms,
        }
