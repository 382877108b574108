"""The intake: which image is which frame.

Lockstep: the first image's capture time, rounded to the grid, is the first frame; every further
image is the next frame, none is lost. Realtime: an image belongs to the frame that is under way
when it arrives; a second one within a frame is the next frame, at once; a third one waits for its
time, and is displaced by a fourth (the newest wins). An image that is stamped like its predecessor, or
a little older, is not used; stamps that fall far back are a camera that has started anew. Missing
images are not the intake's business: the mailboxes hold. Pure, with the clock handed in; owned by
the frame source.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.grid import NS_PER_S, FrameGrid
from streaming_net_ros.frames.mailbox import Mode
from streaming_net_ros.frames.origin import is_of_this_clock

Image = TypeVar("Image")
_OVERTAKEN_NS = NS_PER_S  # an image older than that, against its predecessor, begins a new time


class Offer(Enum):
    """What became of an image. Values say it in words for logs and diagnostics."""

    TAKEN = "taken"
    DISPLACED = "displaced by a newer one before it could be fed"
    FULL = "found the queue full"
    DUPLICATE = "stamped like the one before it"
    DISORDERED = "older than the one before it"


@dataclass(frozen=True)
class Fed(Generic[Image]):
    """An image with its frame and its capture time."""

    frame: int
    captured_ns: int
    image: Image


class Intake(Generic[Image]):
    """Images in, numbered frames out. Not thread-safe: its owner holds a lock.

    Args:
        grid: the frame grid.
        mode: lockstep or realtime.
        queue_frames: lockstep: how many images may wait.

    Attributes:
        counts: images by what became of them; a displaced one was taken first.
        foreign_stamps: realtime: images whose stamp cannot be of this clock (the future, long
            ago): their age counts from their arrival.
        jumps: realtime: how often stamps or ROS time fell back.
    """

    def __init__(self, grid: FrameGrid, mode: Mode, queue_frames: int = 1000) -> None:
        if queue_frames < 1:
            raise ParameterError(
                "queue too small", where="queue_frames", expected=">= 1", got=queue_frames
            )
        self.grid = grid
        self.mode = mode
        self.counts = dict.fromkeys(Offer, 0)
        self.foreign_stamps = 0
        self.jumps = 0
        self._queue_frames = queue_frames
        self._waiting: deque[tuple[int, int, Image]] = deque()  # (arrival, capture, image)
        self._last: int | None = None
        self._now_ns = 0
        self._newest_ns: int | None = None  # capture

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Images that will be no frame."""
        return sum(count for offer, count in self.counts.items() if offer is not Offer.TAKEN)

    def offer(self, captured_ns: int, image: Image, now_ns: int = 0) -> Offer:
        """An image is here. Realtime: one without a stamp (0) counts as captured now."""
        if self.mode == "lockstep":
            is_full = len(self._waiting) >= self._queue_frames
            offer = Offer.FULL if is_full else Offer.TAKEN
        else:
            self._notice(now_ns)
            captured_ns = captured_ns or now_ns
            offer = self._judge(captured_ns)
        self.counts[offer] += 1
        if offer is Offer.TAKEN:
            if self.mode == "realtime" and self._waiting:
                self._waiting.popleft()
                self.counts[Offer.DISPLACED] += 1
            if self.mode == "realtime":
                self.foreign_stamps += not is_of_this_clock(captured_ns, now_ns, self.grid)
            self._newest_ns = captured_ns
            self._waiting.append((now_ns, captured_ns, image))
        return offer

    def _judge(self, captured_ns: int) -> Offer:
        """Realtime: may an image of that capture be used after the newest one?"""
        if self._newest_ns is None or captured_ns > self._newest_ns:
            return Offer.TAKEN
        if captured_ns == self._newest_ns:
            return Offer.DUPLICATE
        if self._newest_ns - captured_ns <= _OVERTAKEN_NS:
            return Offer.DISORDERED
        self.jumps += 1
        return Offer.TAKEN

    def _notice(self, now_ns: int) -> None:
        """Realtime: when time jumps back, frames are counted from the new time on."""
        if now_ns < self._now_ns - self.grid.period_ns:
            self._last, self._newest_ns, self._now_ns = None, None, now_ns
            self._waiting.clear()
            self.jumps += 1
        self._now_ns = max(now_ns, self._now_ns)

    def next_frame(self, now_ns: int = 0) -> int | None:
        """The frame that the oldest waiting image will be, or None if none waits or it is early.

        Realtime: an image whose frame is taken is the next frame; it waits if that is taken too.
        """
        if self.mode == "realtime":
            self._notice(now_ns)
        if not self._waiting:
            return None
        arrived_ns, captured_ns, _ = self._waiting[0]
        if self.mode == "lockstep":
            return self.grid.nearest_frame(captured_ns) if self._last is None else self._last + 1
        frame = self.grid.frame_at(arrived_ns)
        if self._last is not None and frame <= self._last:
            frame = self._last + 1
        return frame if now_ns >= self._earliest_ns(frame) else None

    def _earliest_ns(self, frame: int) -> int:
        """When an image may become a frame: not more than one frame before its time.

        Waiting for the tick would never end: a camera at the grid's own rate, once a frame ahead,
        would be held up by most of a period for good.
        """
        return self.grid.stamp_ns(frame - 1)

    def wake_at_ns(self) -> int | None:
        """Realtime: when an image that waits for its frame's tick may be taken."""
        if self.mode == "lockstep" or not self._waiting or self._last is None:
            return None
        frame = max(self.grid.frame_at(self._waiting[0][0]), self._last + 1)
        return self._earliest_ns(frame)

    def next_capture_ns(self) -> int:
        """Capture time of the oldest waiting image.

        Raises:
            IndexError: none waits.
        """
        return self._waiting[0][1]

    def take(self, now_ns: int = 0) -> Fed[Image] | None:
        """The next image to feed, numbered, or None."""
        frame = self.next_frame(now_ns)
        if frame is None:
            return None
        _, captured_ns, image = self._waiting.popleft()
        self._last = frame
        return Fed(frame, captured_ns, image)


class Companion(Generic[Image]):
    """A further input beside the one that sets the frames: which of its messages is whose.

    Each frame gets the newest message that was stamped no later than the frame's capture time. In
    lockstep it waits until a message stamped at or after that time is here, so that the choice
    does not depend on which topic was faster. Realtime takes what is there, up to an age.

    Args:
        mode: lockstep or realtime.
        queue: how many messages may wait.
        limit_ns: realtime: a message older than this, against the frame's capture, is not used.
    """

    def __init__(self, mode: Mode, queue: int = 1000, limit_ns: int = 10**10) -> None:
        self._mode = mode
        self._queue = queue
        self._limit_ns = limit_ns
        self._messages: deque[tuple[int, Image]] = deque()

    def offer(self, stamp_ns: int, message: Image) -> bool:
        """A message is here; one older than its predecessor is ignored. False if one was lost.

        Realtime: stamps that fall far back begin anew.
        """
        if self._messages and stamp_ns < self._messages[-1][0]:
            is_jump = self._messages[-1][0] - stamp_ns > _OVERTAKEN_NS
            if self._mode == "lockstep" or not is_jump:
                return True
            self._messages.clear()
        self._messages.append((stamp_ns, message))
        if len(self._messages) <= self._queue:
            return True
        self._messages.popleft()
        return self._mode == "realtime"  # there the newest is all that counts

    def choose(self, captured_ns: int) -> Image | None:
        """The message for a frame captured then; None if there is none, none yet, or a stale one.

        Before the first message was stamped, frames get that first one.
        """
        if not self._messages:
            return None
        if self._mode == "lockstep" and self._messages[-1][0] < captured_ns:
            return None
        while len(self._messages) > 1 and self._messages[1][0] <= captured_ns:
            self._messages.popleft()
        stamp_ns, message = self._messages[0]
        is_stale = self._mode == "realtime" and captured_ns - stamp_ns > self._limit_ns
        return None if is_stale else message
