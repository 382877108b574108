"""How long an answer takes: from the capture of an image to its early and its full response."""

from __future__ import annotations

from dataclasses import dataclass

from streaming_net_ros.frames.origin import Origin
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
        first_frames: frames from an image to its first response.
        full_frames: frames from an image to its full response; None: not known (where groups
            repeat their states, the image of a path is not told by the frame).

    Attributes:
        early, full: the latencies so far.
    """

    def __init__(self, first_frames: int, full_frames: int | None) -> None:
        self._first_frames = first_frames
        self._full_frames = full_frames
        self._captured_ns: dict[int, int] = {}  # by frame of the image, until its full response
        self.early = Spread()
        self.full = Spread()

    def published(self, frame: int, origin: Origin, now_ns: int) -> Latency:
        """The response of a frame has left."""
        early_ms = full_ms = None
        if origin.image_frame == frame - self._first_frames:  # not a held one
            self._captured_ns[origin.image_frame] = origin.since_ns
            early_ms = self.early.add(now_ns - origin.since_ns)
        image = frame - (self._full_frames or 0)
        captured_ns = self._captured_ns.get(image)
        if self._full_frames is not None and captured_ns is not None and origin.held == 0:
            full_ms = self.full.add(now_ns - captured_ns)
        for old in [at for at in self._captured_ns if at <= image]:
            del self._captured_ns[old]
        return Latency(early_ms, full_ms)
