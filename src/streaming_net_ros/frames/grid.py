"""The frame grid: frame number <-> stamp, by arithmetic alone.

Any node computes the frame of a stamp without asking anybody (grid law), so nodes may join, leave
and restart on different hosts without agreeing on a counter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from streaming_net_ros.errors import ParameterError

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class FrameGrid:
    """Frames at ``rate_hz``: frame ``t`` has the stamp ``t * period_ns``.

    Raises:
        ParameterError: the rate is not within 0.001 to 100,000 Hz.
    """

    rate_hz: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_hz) and 1e-3 <= self.rate_hz <= 1e5):
            raise ParameterError(
                "not a frame rate",
                where="rate_hz",
                expected="a number from 0.001 to 100000 (Hz)",
                got=self.rate_hz,
            )

    @cached_property
    def period_ns(self) -> int:
        """Nanoseconds from one frame to the next."""
        return round(NS_PER_S / self.rate_hz)

    def stamp_ns(self, frame: int) -> int:
        """The tick stamp of a frame, exact."""
        return frame * self.period_ns

    def frame_at(self, stamp_ns: int) -> int:
        """The frame that is under way at a stamp."""
        return stamp_ns // self.period_ns

    def nearest_frame(self, stamp_ns: int) -> int:
        """The frame whose tick lies nearest to a stamp (the later one of two equally near)."""
        return (stamp_ns + self.period_ns // 2) // self.period_ns
