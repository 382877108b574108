"""Who listens to a publisher, asked rarely: the question costs as much as a small layer.

The answer is 20 ms old at most. That loses nothing: who must hear from the first frame on is
matched before it (``peers``), and nothing is asked here before that.
"""

from __future__ import annotations

import time

from rclpy.publisher import Publisher


class Listeners:
    """True if somebody subscribes to one of the publishers.

    Args:
        publishers: that are asked.
        fresh_s: how long an answer stands.
    """

    def __init__(self, *publishers: Publisher, fresh_s: float = 0.02) -> None:
        self._publishers = publishers
        self._fresh_ns = round(fresh_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Ask anew the next time: a run begins."""
        self._count = 0
        self._asked_ns = -self._fresh_ns

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def count(self) -> int:
        """Subscriptions to all of the publishers."""
        now_ns = time.monotonic_ns()
        if now_ns - self._asked_ns >= self._fresh_ns:
            self._count = sum(p.get_subscription_count() for p in self._publishers)
            self._asked_ns = now_ns
        return self._count
