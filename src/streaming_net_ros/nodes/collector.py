"""Python's garbage collector, off the hot path.

It stops every thread whenever enough objects were made, and looks at all objects that torch, rclpy
and the network consist of: tens of milliseconds in the middle of a frame. What a frame makes is
freed by reference counts. So what exists when a container starts is set apart (``gc.freeze``), and
the rest is collected once a second, which takes a fraction of a millisecond.
"""

from __future__ import annotations

import gc
import threading
from typing import ClassVar


class Collector:
    """One container's hold on the collector of its process, which may have several containers."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _holding: ClassVar[set[Collector]] = set()

    def hold(self) -> None:
        """Collect no more until told so."""
        with self._lock:
            self._holding.add(self)
            gc.collect()
            gc.freeze()
            gc.disable()

    def collect(self) -> None:
        """Collect what is not frozen; called about once a second."""
        if self in self._holding:
            gc.collect()

    def release(self) -> None:
        """Leave the collector to Python again."""
        with self._lock:
            self._holding.discard(self)
            if not self._holding:
                gc.unfreeze()
                gc.enable()
