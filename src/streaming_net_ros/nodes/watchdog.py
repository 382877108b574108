"""Realtime's watchdog: names cameras and groups that are silent for too long, and clock jumps.

It lives with the frame source, which hears all of them. Not thread-safe: its owner holds a lock
around ``image`` and ``progress``, and looks from one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.node import Node

from streaming_net_ros.frames import Watch

_JUMP_NS = 50_000_000  # more than a clock that is disciplined ever moves between two looks
_START_NS = 10**10  # how long cameras and processes of groups may take to come up


class Watchdog:
    """Who is silent, said once in the log and kept for ``/diagnostics``.

    Args:
        node: that logs.
        cameras: all inputs.
        primary: the input whose images set the frames.
        groups: all groups.
        silence_ns: how long a silence may last, by the machine's own clock.
    """

    def __init__(
        self,
        node: Node,
        cameras: Iterable[str],
        primary: str,
        groups: Iterable[str],
        silence_ns: int,
    ) -> None:
        self._node = node
        self._primary = primary
        self._cameras = Watch(cameras, silence_ns, _START_NS)
        self._groups = Watch(groups, silence_ns, _START_NS)
        self._cameras.begin(time.monotonic_ns())
        self._silent: dict[str, str] = {}  # by name: what is said of it
        self._offset_ns: int | None = None  # of ROS time against the machine's own clock
        self.clock_jumps = 0

    @property
    def silent(self) -> list[str]:
        """What is to be said of whom now."""
        return list(self._silent.values())

    def image(self, name: str) -> None:
        """An input is heard."""
        self._cameras.heard(name, time.monotonic_ns())

    def fed(self) -> None:
        """A frame is fed: from the first one on groups should be heard."""
        self._groups.begin(time.monotonic_ns())

    def progress(self, group: str) -> None:
        """A group has finished a frame."""
        self._groups.heard(group, time.monotonic_ns())

    def clock(self, ros_ns: int) -> None:
        """Has the clock that ROS time follows been set? Not to be asked of a simulated one."""
        before_ns, self._offset_ns = self._offset_ns, ros_ns - time.monotonic_ns()
        if before_ns is not None and abs(self._offset_ns - before_ns) > _JUMP_NS:
            self.clock_jumps += 1
            by_s = (self._offset_ns - before_ns) / 1e9
            self._node.get_logger().error(f"the clock has jumped by {by_s:+.3f} s")

    def look(self, is_paused: bool) -> None:
        """Find who is silent; a change is logged. Now and then, from one thread."""
        now_ns = time.monotonic_ns()
        cameras = self._cameras.silent(now_ns)
        # Without images every group falls silent; that is the camera's fault, not theirs.
        is_fed = self._primary not in cameras and not is_paused
        groups = self._groups.silent(now_ns) if is_fed else {}
        silent = {
            name: f"{kind} '{name}' has been silent for {quiet_ns / 1e9:.1f} s"
            for kind, found in (("camera", cameras), ("group", groups))
            for name, quiet_ns in found.items()
        }
        for name in silent.keys() - self._silent.keys():
            self._node.get_logger().error(silent[name])
        for name in self._silent.keys() - silent.keys():
            self._node.get_logger().info(f"'{name}' is heard again")
        self._silent = silent
