"""Where a state comes from: the newest image inside it, and how much of it stood in.

Owns the age law's arithmetic. Every state carries an origin, in memory and on the wire, so that
the age of an answer is known wherever it is read. Pure; imported by ``mailbox``, ``wire`` and all
that hands states on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from streaming_net_ros.frames.grid import NS_PER_S, FrameGrid

PLAUSIBLE_NS = 10 * NS_PER_S


@dataclass(frozen=True)
class Origin:
    """Of what a state is made.

    Attributes:
        captured_ns: capture time of the newest image that can have influenced it (age law).
        image_frame: the frame of that image.
        held: the share of its paths that is not as the frame law wants it, 0 to 1: held, or absent
            beyond the limit. Each group counts its inputs equally, its own memory not at all.
    """

    captured_ns: int
    image_frame: int
    held: float = 0.0


def origin_of(origins: Collection[Origin], held: float = 0.0) -> Origin:
    """The origin of what is made of several states: the newest image of any of them.

    Args:
        origins: of the states, at least one.
        held: the share that is not as it should be.
    """
    newest = max(origins, key=lambda origin: origin.image_frame)
    return Origin(newest.captured_ns, newest.image_frame, held)


def is_of_this_clock(captured_ns: int, arrived_ns: int, grid: FrameGrid) -> bool:
    """May a capture stamp be of the clock by which frames are counted?

    Not if it lies more than a period after the arrival, or more than 10 s before it: recordings
    that are played without their clock, cameras that stamp with a clock of their own.
    """
    return -grid.period_ns <= arrived_ns - captured_ns <= PLAUSIBLE_NS


def capture_time_ns(origin: Origin, grid: FrameGrid) -> int:
    """Realtime: since when the age of a state counts, in ROS time.

    The capture stamp, where it is of this clock; otherwise the beginning of the frame before the
    image's, in which it may have arrived already: an age is never taken for smaller than the time
    since the arrival.
    """
    arrived_before_ns = grid.stamp_ns(origin.image_frame + 1)
    if is_of_this_clock(origin.captured_ns, arrived_before_ns, grid):
        return origin.captured_ns
    return grid.stamp_ns(origin.image_frame - 1)
