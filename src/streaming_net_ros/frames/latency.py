"""How long an answer takes: from the capture of an image to its early and its full response."""

from __future__ import annotations

from dataclasses import dataclass

from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.frames.origin import Origin, capture_time_ns
from streaming_net_ros.frames.spread import Spread


@dataclass(frozen=True)
class Latency:
    """Of one response, in ms; None where it is about no new image.

    Attributes:
        early_ms: since the capture of the newest image that can have influenced it.
        full_ms: since the capture of the newest image that all paths have brought.
    """

    early_ms: float | None
    full_ms: float | None


class ResponseClock:
    """Measures the responses of one output. Not thread-safe.

    Args:
        grid: the frame grid.
        first_frames: frames from an image to its first response.
        full_frames: frames from an image to its full response.

    Attributes:
        early, full: the latencies so far.
    """

    def __init__(self, grid: FrameGrid, first_frames: int, full_frames: int) -> None:
        self._grid = grid
        self._first_frames = first_frames
        self._full_frames = full_frames
        self._captured_ns: dict[int, int] = {}  # by frame of the image, until its full response
        self.early = Spread()
        self.full = Spread()

    def published(self, frame: int, origin: Origin, now_ns: int) -> Latency:
        """The response of a frame has left."""
        early_ms = full_ms = None
        if origin.image_frame == frame - self._first_frames:  # not a held one
            captured_ns = capture_time_ns(origin, self._grid)
            self._captured_ns[origin.image_frame] = captured_ns
            early_ms = self.early.add(now_ns - captured_ns)
        image = frame - self._full_frames
        captured_ns_of_full = self._captured_ns.get(image)
        if captured_ns_of_full is not None and origin.held == 0:
            full_ms = self.full.add(now_ns - captured_ns_of_full)
        for old in [at for at in self._captured_ns if at <= image]:
            del self._captured_ns[old]
        return Latency(early_ms, full_ms)
