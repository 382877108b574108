"""Where a state comes from: the newest image inside it, and how much of it stood in.

Owns the age law's arithmetic. Every state carries an origin, in memory and on the wire, so that
the age of an answer is known wherever it is read. Pure; imported by ``mailbox``, ``wire`` and all
that hands states on.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import NamedTuple


class Origin(NamedTuple):
    """Of what a state is made.

    Attributes:
        captured_ns: capture stamp of the newest image that can have influenced it (age law).
        image_frame: the frame of that image.
        held: the share of its paths that is not as the frame law wants it, 0 to 1: held, or absent
            beyond the limit. Each group counts its inputs equally, its own memory not at all.
        clocked_ns: realtime: since when its age counts, in ROS time: the capture, or the arrival
            of an image whose camera stamps with another clock. None: the capture.
    """

    captured_ns: int
    image_frame: int
    held: float = 0.0
    clocked_ns: int | None = None

    @property
    def since_ns(self) -> int:
        """Since when the age counts."""
        return self.captured_ns if self.clocked_ns is None else self.clocked_ns


_image_frame = attrgetter("image_frame")


def origin_of(origins: Collection[Origin], held: float = 0.0) -> Origin:
    """The origin of what is made of several states: the newest image of any of them.

    Args:
        origins: of the states, at least one.
        held: the share that is not as it should be.
    """
    newest = max(origins, key=_image_frame)
    return newest if newest.held == held else newest._replace(held=held)
