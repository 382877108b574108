"""The rollout view as an SVG: groups downwards, frames to the right, a light cone lit.

Owns places, marks and colours of that picture; a pure function of a `RolloutView`, without
NiceGUI, numpy or a clock. Imported by the rollout panel.

Colours are the page's CSS variables with a default, so that one text serves a dark page, a light
page and a file of its own. Every cell says whose it is (``data-node``, ``data-frame``): that is
all that a page needs to make it an object to click on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from streaming_net_ros.theory import FrameNode
from streaming_net_ros.viewer.rollout_view import RolloutView

MAX_NAME = 22  # characters of a node's name that are shown; the tooltip has all of it

# In user units, which are pixels of a page that shows the picture at its own size.
CELL, HEIGHT = 46.0, 34.0
PITCH, ROW = 78.0, 48.0
TOP, FOOT = 40.0, 48.0
CHARACTER, SMALL = 7.6, 5.6  # widths, of a node's name and of its outputs

# Orange and blue are of Okabe and Ito's palette, as in the plan's picture: told apart by all kinds
# of colour vision.
STYLE = """
.sn-rollout { font: 12px system-ui, sans-serif; }
.sn-rollout text { fill: var(--ink, #222); }
.sn-rollout .frame { font: 11px var(--mono, ui-monospace, monospace); text-anchor: middle; }
.sn-rollout .name { text-anchor: end; font-weight: 600; }
.sn-rollout .output { text-anchor: end; font-size: 10px; fill: var(--accent, #00795a); }
.sn-rollout .now { fill: var(--accent, #0072b2); fill-opacity: .13; }
.sn-rollout .edge { fill: none; stroke: var(--thread); stroke-width: 1; }
.sn-rollout .edge.lit { stroke: var(--cone); stroke-width: 1.8; }
.sn-rollout .cell rect { fill: var(--well, #ececec); stroke: var(--pale, #8a8a8a);
  stroke-opacity: .6; }
.sn-rollout .cell.lit rect { fill: color-mix(in srgb, var(--cone) 32%, var(--card, #fff));
  stroke: var(--cone); stroke-opacity: 1; stroke-width: 2; }
.sn-rollout .cell.later rect { fill-opacity: .35; stroke-dasharray: 3 3; }
.sn-rollout .cell.none rect { fill: none; stroke-dasharray: 1 4; }
.sn-rollout .cell.repeated rect { stroke-dasharray: 7 3; }
.sn-rollout .cell.seen rect { fill: none; }
.sn-rollout .cell.tip rect { stroke: var(--mark); stroke-width: 3.4; }
.sn-rollout .cell.choice { cursor: pointer; }
.sn-rollout .cell.choice:hover rect { stroke: var(--mark); stroke-opacity: 1; stroke-width: 2.4; }
.sn-rollout .cell image { image-rendering: pixelated; }
.sn-rollout .cell.dim image { opacity: .5; }
.sn-rollout .first { fill: var(--dot); stroke: var(--card, #fff); }
"""

_ON_A_PAGE = """
.sn-rollout { --cone: #e69f00; --mark: #d55e00; --dot: #2f8fd8;
  --thread: color-mix(in srgb, var(--pale, #8a8a8a) 45%, transparent);
  width: 100%; min-width: 900px; max-width: 1700px; height: auto; }
"""
_PLAIN = {
    "color-mix(in srgb, var(--cone) 32%, #fff)": "#f7e0b0",
    "var(--thread)": "#cfcfcf", "var(--cone)": "#e69f00", "var(--mark)": "#d55e00",
    "var(--dot)": "#2f8fd8",
}  # fmt: skip


def draw_rollout(view: RolloutView, *, is_file: bool = False) -> str:
    """The picture as SVG text, safe to be put into a page: every name in it is escaped.

    Args:
        view: what is drawn.
        is_file: for a file of its own: plain colours, which every program knows.
    """
    style = _ON_A_PAGE + STYLE
    if is_file:
        style = re.sub(r"var\(--[\w-]+, ([^()]+)\)", r"\1", STYLE)
        for name, colour in _PLAIN.items():
            style = style.replace(name, colour)
    return _Drawing(view).svg(style)


class _Drawing:
    """A picture in the making: the places of a view's cells, and its parts from back to front."""

    def __init__(self, view: RolloutView) -> None:
        self.view = view
        self.row = {name: number for number, name in enumerate(view.nodes)}
        told = [self._outputs(name) for name in view.nodes]
        wide = CHARACTER * min(MAX_NAME, max(map(len, view.nodes)))
        self.left = 26 + max(wide, SMALL * max(map(len, told)))
        key = sum(_key_width(text) for _, _, text in view.key())
        self.width = self.left + max(key, PITCH * len(view.frames) + 6)
        self.height = TOP + ROW * len(view.nodes) + FOOT

    def svg(self, style: str) -> str:
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="sn-rollout" role="img" '
            f'width="{self.width:g}" height="{self.height:g}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}">',
            f"<style>{style}</style>",
            *self._columns(),
            *self._names(),
            *self._edges(),
            *self._cells(),
            *self._key(),
            "</svg>",
        ]
        return "\n".join(parts)

    def _x(self, frame: int) -> float:
        """The middle of a column."""
        return self.left + PITCH * (frame - self.view.first_frame + 0.5)

    def _y(self, node: str) -> float:
        """The middle of a row."""
        return TOP + ROW * (self.row[node] + 0.5)

    def _columns(self) -> Iterator[str]:
        now = self.view.now
        if now is not None and now in self.view.frames:
            x = self._x(now) - PITCH / 2
            height = ROW * len(self.view.nodes) + 26
            yield (
                f'<rect class="now" x="{x:g}" y="{TOP - 26:g}" width="{PITCH:g}" '
                f'height="{height:g}" rx="6"/>'
            )
        for frame in self.view.frames:
            text = str(frame) if now is None else "now" if frame == now else f"{frame - now:+d}"
            yield f'<text class="frame" x="{self._x(frame):g}" y="{TOP - 9:g}">{text}</text>'

    def _names(self) -> Iterator[str]:
        for node in self.view.nodes:
            told = self._outputs(node)
            x, y = self.left - 12, self._y(node) + (-1 if told else 4)
            shown = node if len(node) <= MAX_NAME else node[: MAX_NAME - 1] + "\u2026"
            title = f"<title>{escape(node)}</title>"
            yield f'<text class="name" x="{x:g}" y="{y:g}">{escape(shown)}{title}</text>'
            if told:
                yield f'<text class="output" x="{x:g}" y="{y + 13:g}">{escape(told)}</text>'

    def _outputs(self, node: str) -> str:
        names = [name for name, group in self.view.outputs.items() if group == node]
        told = "output " + ", ".join(names) if names else ""
        return told if len(told) <= 2 * MAX_NAME else told[: 2 * MAX_NAME - 1] + "\u2026"

    def _edges(self) -> Iterator[str]:
        """All lines, those of the cone last: they lie above the others."""
        lit = []
        for edge in self.view.rollout.graph.edges:
            (source, target), delay = edge.key, self.view.rollout.delays[edge.key]
            for frame in range(self.view.first_frame - delay, self.view.last_frame + 1):
                then = frame + delay
                heard = self.view.exists(frame, source) and self.view.computes(target, then)
                if not heard or then not in self.view.frames:
                    continue
                path = self._path((frame, source), (then, target))
                # Whoever hears a state of the cone need not be in it; who is, is so by this edge.
                if not edge.teaches and {(frame, source), (then, target)} <= self.view.lit:
                    lit.append(f'<path class="edge lit" d="{path}"/>')
                elif frame in self.view.frames:
                    yield f'<path class="edge" d="{path}"/>'
        yield from lit

    def _path(self, start: FrameNode, end: FrameNode) -> str:
        """From the right side of a cell to the left side of another; downwards within a frame."""
        x, y, end_x, end_y = (*self._middle(start), *self._middle(end))
        if start[0] == end[0]:
            down = 1 if end_y > y else -1
            if abs(self.row[end[1]] - self.row[start[1]]) == 1:
                return f"M{x:g} {y + down * HEIGHT / 2:g}V{end_y - down * HEIGHT / 2:g}"
            # Around the cells between, on the right.
            side, far = x + CELL / 2, x + CELL / 2 + 18
            return f"M{side:g} {y:g}C{far:g} {y:g} {far:g} {end_y:g} {side:g} {end_y:g}"
        x, end_x = x + CELL / 2, end_x - CELL / 2
        bend = PITCH - CELL  # only in the gaps: a line through a cell would look like its own
        mid, mid_end = x + bend, end_x - bend
        if end[0] - start[0] == 1:
            mid = mid_end = (x + end_x) / 2
        elif y == end_y:  # past the cells of its own row, below them
            low = y + ROW / 2
            return f"M{x:g} {y:g}C{mid:g} {y:g} {x:g} {low:g} {mid:g} {low:g}H{mid_end:g}" \
                   f"C{end_x:g} {low:g} {mid_end:g} {end_y:g} {end_x:g} {end_y:g}"  # fmt: skip
        return f"M{x:g} {y:g}C{mid:g} {y:g} {mid_end:g} {end_y:g} {end_x:g} {end_y:g}"

    def _middle(self, node: FrameNode) -> tuple[float, float]:
        return self._x(node[0]), self._y(node[1])

    def _cells(self) -> Iterator[str]:
        for node in self.view.nodes:
            for frame in self.view.frames:
                yield self._cell(frame, node)

    def _cell(self, frame: int, node: str) -> str:
        x, y = self._x(frame) - CELL / 2, self._y(node) - HEIGHT / 2
        box = f'x="{x:g}" y="{y:g}" width="{CELL:g}" height="{HEIGHT:g}"'
        picture = self.view.thumbnails.get((frame, node))
        classes = " ".join(["cell", *self.view.marks(frame, node)])
        image = ""
        if picture is not None:
            image = f'<image {box} href="{escape(picture)}" preserveAspectRatio="none"/>'
        first = ""
        if (frame, node) in self.view.arrivals:
            first = f'<circle class="first" cx="{x + CELL - 2:g}" cy="{y + 2:g}" r="5"/>'
        title = f"<title>{escape(self.view.told(frame, node))}</title>"
        return (
            f'<g class="{classes}" data-node="{escape(node)}" data-frame="{frame}">'
            f'{image}<rect {box} rx="5"/>{first}{title}</g>'
        )

    def _key(self) -> Iterator[str]:
        x, y = self.left, TOP + ROW * len(self.view.nodes) + 26
        for marks, is_first, text in self.view.key():
            dot = ""
            if is_first:
                dot = f'<circle class="first" cx="{x + 19:g}" cy="{y - 6:g}" r="4"/>'
            yield (
                f'<g class="cell {marks}"><rect x="{x:g}" y="{y - 7:g}" width="20" height="14" '
                f'rx="3"/>{dot}</g><text x="{x + 28:g}" y="{y + 4:g}">{escape(text)}</text>'
            )
            x += _key_width(text)


def _key_width(text: str) -> float:
    return 50 + 6.4 * len(text)
