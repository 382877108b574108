"""What a state is made of, as a few decimal numbers in ``header.frame_id``.

Capture time of the newest image inside in ns, that image's frame, the share of held paths, and in
realtime since when its age counts and when it was sent, in ns. Age and holds so need no second
topic to be joined.
"""

from __future__ import annotations

import re

from streaming_net_ros.frames import Origin

EXPECTED = (
    "capture time (ns), image's frame, held share (0 to 1), and in realtime since when its age "
    "counts (ns) and when it was sent (ns)"
)
_SHARE = r"[01]|0\.\d{1,20}|[1-9]\.?\d{0,20}e-(?:0[1-9]|[1-9]\d{1,2})"
_LABEL = re.compile(
    rf"(-?\d{{1,19}}) (-?\d{{1,19}}) ({_SHARE})(?: (-?\d{{1,19}}) (\d{{1,19}}))?", re.ASCII
)


def write_label(origin: Origin, sent_ns: int | None) -> str:
    """The label of a state.

    Args:
        origin: what it is made of.
        sent_ns: the system clock's time; None in lockstep, where results do not depend on time.
    """
    sent = "" if sent_ns is None else f" {origin.since_ns} {sent_ns}"
    held = origin.held if 0 < origin.held < 1 else int(origin.held)
    return f"{origin.captured_ns} {origin.image_frame} {held}{sent}"


def read_label(text: str) -> tuple[Origin, int | None] | None:
    """Origin and time of sending; None if the text is no label."""
    label = _LABEL.fullmatch(text)
    if label is None:
        return None
    captured, image_frame, held, clocked, sent = label.groups()
    clocked_ns = None if clocked is None else int(clocked)
    origin = Origin(int(captured), int(image_frame), float(held), clocked_ns)
    return origin, None if sent is None else int(sent)
