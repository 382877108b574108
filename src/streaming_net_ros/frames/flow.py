"""Flow control of lockstep: how far the source may run ahead of the slowest group.

The source owns one window. Groups report the frames that they have finished (topic ``progress``);
an image may be fed while no group has more than ``size`` images still to work through. With a
window as long as the network is deep, every group has work while no queue grows without bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from streaming_net_ros.errors import ParameterError


class FlowWindow:
    """Counts, per group, the images that it has not yet worked through.

    A group whose first state exists ``first_frames`` frames after the first image has worked
    through the image of frame ``t`` when it has finished frame ``t + first_frames``.

    Raises:
        ParameterError: the size is below 1.
    """

    def __init__(self, first_frames: Mapping[str, int], size: int) -> None:
        if size < 1:
            raise ParameterError(
                "window too small", where="window_frames", expected=">= 1", got=size
            )
        self.size = size
        self._first_frames = dict(first_frames)
        self._done: dict[str, int] = {}  # newest image that a group has worked through
        self._newest: int | None = None

    def may_feed(self, frame: int) -> bool:
        """True if the image of ``frame`` fits into the window."""
        return self._newest is None or all(
            frame - done <= self.size for done in self._done.values()
        )

    def fed(self, frame: int) -> None:
        """The image of ``frame`` has been fed."""
        if self._newest is None:
            self._done = dict.fromkeys(self._first_frames, frame - 1)
        self._newest = frame

    def finished(self, group: str, frame: int) -> None:
        """``group`` has finished ``frame``; unknown groups and old news are ignored."""
        if group in self._done:
            image = frame - self._first_frames[group]
            self._done[group] = max(self._done[group], image)

    @property
    def is_drained(self) -> bool:
        """True if every group has worked through every image that was fed."""
        return self._newest is None or all(d >= self._newest for d in self._done.values())

    def slowest(self) -> tuple[str, ...]:
        """The groups that are furthest behind, while anything is outstanding."""
        if self.is_drained:
            return ()
        least = min(self._done.values())
        return tuple(group for group, done in self._done.items() if done == least)
