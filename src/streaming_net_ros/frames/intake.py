"""The intake: which image is which frame, and since when its age counts.

Lockstep: the first image's capture time, rounded to the grid, is the first frame; every further
image is the next frame, none is lost. Realtime: an image belongs to the frame that is under way
when it arrives; a second one within a frame is the next frame, at once; a third one waits for its
time, and is displaced by a fourth (the newest wins). An image that is stamped like its
predecessor, or a little older, is not used; stamps that fall far back are a camera that has
started anew. A camera none of whose stamps can be of our clock is taken to have another one: the
age of its images counts from their arrival. Missing images are not the intake's business: the
mailboxes hold. Pure, with the clock handed in; owned by the frame source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.grid import NS_PER_S, FrameGrid
from streaming_net_ros.frames.rule import Mode

Image = TypeVar("Image")
_PLAUSIBLE_NS = 10 * NS_PER_S
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
    """An image with its frame, its capture stamp, and since when its age counts."""

    frame: int
    captured_ns: int
    image: Image
    clocked_ns: int


class Intake(Generic[Image]):
    """Images in, numbered frames out. Not thread-safe: its owner holds a lock.

    Args:
        grid: the frame grid.
        mode: lockstep or realtime.
        queue_frames: lockstep: how many images may wait.

    Attributes:
        counts: images by what became of them; a displaced one was taken first.
        foreign_stamps: realtime: images whose stamp cannot be of this clock (more than a period
            in the future, more than 10 s ago).
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
        self._waiting: deque[tuple[int, Fed[Image]]] = deque()  # (arrival, without its frame)
        self._last: int | None = None
        self._now_ns = 0
        self._newest_ns: int | None = None  # capture
        self._has_our_clock = False  # some stamp of this camera was of this clock

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
            clocked_ns = captured_ns
            if self.mode == "realtime":
                clocked_ns = self._clocked(captured_ns, now_ns)
                self._newest_ns = clocked_ns if self._has_our_clock else captured_ns
                if self._waiting:
                    self._waiting.popleft()
                    self.counts[Offer.DISPLACED] += 1
            self._waiting.append((now_ns, Fed(0, captured_ns, image, clocked_ns)))
        return offer

    def _clocked(self, captured_ns: int, now_ns: int) -> int:
        """Realtime: since when the age of an image counts.

        A camera that has our clock keeps it: an image that it delivers late is old, however late.
        """
        is_ours = -self.grid.period_ns <= now_ns - captured_ns <= _PLAUSIBLE_NS
        self.foreign_stamps += not is_ours
        self._has_our_clock = self._has_our_clock or is_ours
        return min(captured_ns, now_ns) if self._has_our_clock else now_ns

    def _judge(self, captured_ns: int) -> Offer:
        """Realtime: may an image of that capture be used after the newest one?"""
        if self._newest_ns is None or captured_ns > self._newest_ns:
            return Offer.TAKEN
        if captured_ns == self._newest_ns:
            return Offer.DUPLICATE
        if self._newest_ns - captured_ns <= _OVERTAKEN_NS:
            return Offer.DISORDERED
        self.jumps += 1
        self._has_our_clock = False
        return Offer.TAKEN

    def _notice(self, now_ns: int) -> None:
        """Realtime: when time jumps back, frames are counted from the new time on."""
        if now_ns < self._now_ns - self.grid.period_ns:
            self._last, self._newest_ns, self._now_ns = None, None, now_ns
            self._has_our_clock = False
            self._waiting.clear()
            self.jumps += 1
        self._now_ns = max(now_ns, self._now_ns)

    @property
    def last_frame(self) -> int | None:
        """The newest frame that was fed."""
        return self._last

    def go_on(self, frame: int | None) -> None:
        """Count on from a frame of another run: the next image is the one after it.

        Images that wait are of the run that was left; None: the next image is the first one.
        """
        self._last = frame
        self.counts[Offer.DISPLACED] += len(self._waiting)
        self._waiting.clear()

    def next_frame(self, now_ns: int = 0) -> int | None:
        """The frame that the oldest waiting image will be, or None if none waits or it is early.

        Realtime: an image whose frame is taken is the next frame; it waits if that is taken too.
        """
        if self.mode == "realtime":
            self._notice(now_ns)
        if not self._waiting:
            return None
        arrived_ns, waiting = self._waiting[0]
        if self.mode == "lockstep":
            first = self.grid.nearest_frame(waiting.captured_ns)
            return first if self._last is None else self._last + 1
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
        return self._waiting[0][1].captured_ns

    def take(self, now_ns: int = 0) -> Fed[Image] | None:
        """The next image to feed, numbered, or None."""
        frame = self.next_frame(now_ns)
        if frame is None:
            return None
        self._last = frame
        return replace(self._waiting.popleft()[1], frame=frame)


class Companion(Generic[Image]):
    """A further input beside the one that sets the frames: which of its messages is whose.

    Lockstep: each frame gets the newest message that was stamped no later than the frame's capture
    time, and waits until a message stamped at or after that time is here, so that the choice does
    not depend on which topic was faster. Realtime: a frame gets the newest one that is here, up to
    an age since its arrival.

    Args:
        mode: lockstep or realtime.
        queue: lockstep: how many messages may wait.
        limit_ns: realtime: a message that came longer ago is not used.
    """

    def __init__(self, mode: Mode, queue: int = 1000, limit_ns: int = 10**10) -> None:
        self._mode = mode
        self._queue = queue if mode == "lockstep" else 1
        self._limit_ns = limit_ns
        self._messages: deque[tuple[int, int, Image]] = deque()  # (stamp, arrival, message)

    def offer(self, stamp_ns: int, message: Image, now_ns: int = 0) -> bool:
        """A message is here; False if one was lost. Lockstep ignores one that was overtaken."""
        is_lockstep = self._mode == "lockstep"
        if is_lockstep and self._messages and stamp_ns < self._messages[-1][0]:
            return True
        self._messages.append((stamp_ns, now_ns, message))
        if len(self._messages) <= self._queue:
            return True
        self._messages.popleft()
        return not is_lockstep  # in realtime the newest is all that counts

    def memory(self) -> list[tuple[int, Image]]:
        """The messages that later frames may get, with their stamps."""
        return [(stamp_ns, message) for stamp_ns, _, message in self._messages]

    def recall(self, messages: Iterable[tuple[int, Image]]) -> None:
        """Go on with the messages of another run, and none of those that are here."""
        self._messages = deque((stamp_ns, stamp_ns, message) for stamp_ns, message in messages)

    def choose(self, captured_ns: int, now_ns: int = 0) -> Image | None:
        """The message for a frame captured then; None if there is none, none yet, or a stale one.

        Lockstep: before the first message was stamped, frames get that first one.
        """
        if not self._messages:
            return None
        if self._mode == "realtime":
            _, arrived_ns, message = self._messages[-1]
            return None if abs(now_ns - arrived_ns) > self._limit_ns else message
        if self._messages[-1][0] < captured_ns:
            return None
        while len(self._messages) > 1 and self._messages[1][0] <= captured_ns:
            self._messages.popleft()
        return self._messages[0][2]
