"""How the page of a plan's picture is divided: the network above, windows of frames below.

Owns places only, all in inches, so that a figure grows with its network and nothing is squeezed.
Where the network's nodes lie is known to ``theory.layout``. Imported by ``plan_picture``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming_net_ros.theory.layout import CHARACTER, Layout, Point

ABOVE, BELOW = 0.6, 0.4  # the network: a loop and its delay, the name of an output
HEAD, KEY, FOOT = 0.75, 0.35, 0.45  # the page: title, key of the network, key of the windows
TITLE, MARKS = 0.45, 1.15  # a window: its heading, its axis and the marked frames
ROW, LEAST_FRAME, MOST_FRAME = 0.36, 0.46, 0.72
NARROWEST, WIDEST = 4.6, 15.0  # a window; all windows that stand side by side


@dataclass(frozen=True)
class Area:
    """A part of the page, from the page's upper left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Page:
    """How the page is divided: head, network, its key, windows row by row, their key.

    Args:
        width: of the page.
        height: of the page.
        network: where the network is drawn.
        origin: the layout's point at the lower left corner of that area.
        windows: where the frames of each rollout are drawn, without heading and names.
    """

    width: float
    height: float
    network: Area
    origin: Point
    windows: list[Area]


def lay_out_page(layout: Layout, windows: int, frames: int) -> Page:
    """Divide the page between a network and the windows of so many rollouts and frames."""
    xs, ys = zip(*layout.place.values(), strict=True)
    net_width = max(xs) - min(xs) + layout.box + 1.0  # lines that lead back go around the ends
    net_height = max(ys) - min(ys) + ABOVE + BELOW
    nodes = layout.layer
    names = max(map(len, nodes)) * CHARACTER + 0.45
    least = max(NARROWEST, names + frames * LEAST_FRAME)
    beside = max(1, min(windows, int(max(WIDEST, net_width) / least)))
    width = max(beside * least, net_width, 8.5)
    panel_width = min(width / beside, max(least, names + frames * MOST_FRAME))
    panel_height = TITLE + len(nodes) * ROW + MARKS
    width += 0.4
    left, top = (width - beside * panel_width) / 2, HEAD + net_height + KEY
    areas = [
        Area(
            left + number % beside * panel_width + names,
            top + number // beside * panel_height + TITLE,
            panel_width - names - 0.2,
            len(nodes) * ROW,
        )
        for number in range(windows)
    ]
    network = Area((width - net_width) / 2, HEAD, net_width, net_height)
    origin = ((min(xs) + max(xs) - net_width) / 2, min(ys) - BELOW)
    height = top + math.ceil(windows / beside) * panel_height + FOOT
    return Page(width, height, network, origin, areas)
