"""Early and full answers to each image, side by side: which answer belongs to which image when.

Pure. An image's early answer is the first one that it can have influenced; its full answer leaves
when every path has brought it to the output, some frames later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streaming_net_ros.theory import ResponseTimes

if TYPE_CHECKING:
    from streaming_net_ros.viewer.watch import Response


@dataclass(frozen=True)
class Pair:
    """The answers to one image.

    Attributes:
        frame: of the image.
        early: what the early answer said.
        full: what the full answer said; None as long as it has not come.
        early_ms, full_ms: from the capture to each; None where the clocks do not agree.
    """

    frame: int
    early: tuple[float, ...]
    full: tuple[float, ...] | None
    early_ms: float | None
    full_ms: float | None


_LONGEST_MS = 60_000.0


def pairs(responses: Sequence[Response], times: ResponseTimes) -> list[Pair]:
    """The answers to each image, in the order of frames.

    Args:
        responses: of one output, as they came.
        times: of the output's group: its early answer leaves ``first_frames`` after the image,
            its full one ``full_frames``.
    """
    by_frame = {one.image_frame: one for one in responses if one.image_frame is not None}
    lag = times.full_frames - times.first_frames
    found = []
    for frame, early in sorted((f, one) for f, one in by_frame.items() if f is not None):
        # The answer that left `lag` frames later is the full one: its own newest image is newer.
        full = by_frame.get(frame + lag)
        early_ms = early.age_ms
        full_ms = None
        if full is not None:
            full_ms = early.age_ms + (full.received_s - early.received_s) * 1e3
        found.append(
            Pair(
                frame,
                early.values,
                None if full is None else full.values,
                _believed(early_ms),
                None if full_ms is None else _believed(full_ms),
            )
        )
    return found


def _believed(age_ms: float) -> float | None:
    """None where captures are stamped by another clock: a recording's, for one."""
    return age_ms if 0 <= age_ms < _LONGEST_MS else None
