"""The rollout view as an SVG: groups downwards, frames to the right, a light cone lit.

Owns places, marks and texts of that picture; a pure function of values, without NiceGUI, numpy or
a clock. Does not know where states come from (``rollout_live``) nor what is true of a rollout
(``theory``). Imported by the rollout panel.

Colours are CSS variables with a default, so that one text serves a dark page, a light page and a
file of its own. Every cell says whose it is (``data-node``, ``data-frame``): that is all that a
page needs to make it an object to click on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

import networkx as nx

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import (
    Computes,
    Direction,
    FrameNode,
    LightCone,
    NetworkGraph,
    Rollout,
    always,
    first_frames,
)

MAX_COLUMNS = 60
MAX_NAME = 22  # characters of a node's name that are shown; the tooltip has all of it

# In user units, which are pixels of a page that shows the picture at its own size.
CELL, HEIGHT = 46.0, 34.0
PITCH, ROW = 78.0, 48.0
TOP, FOOT = 40.0, 48.0
CHARACTER, SMALL = 7.6, 5.6  # widths, of a node's name and of its outputs

# Okabe and Ito's palette, as the plan's picture has it: told apart by all kinds of colour vision.
STYLE = """
.sn-rollout { font: 12px system-ui, sans-serif; --ink: var(--sn-ink, #222); }
.sn-rollout text { fill: var(--sn-ink, #222); }
.sn-rollout .pale { fill: var(--sn-pale, #6b6b6b); }
.sn-rollout .frame { font: 11px ui-monospace, monospace; text-anchor: middle; }
.sn-rollout .name { text-anchor: end; font-weight: 600; }
.sn-rollout .output { text-anchor: end; font-size: 10px; fill: var(--sn-output, #00795a); }
.sn-rollout .now { fill: var(--sn-now, #0072b2); fill-opacity: .1; }
.sn-rollout .edge { fill: none; stroke: var(--sn-line, #d4d4d4); stroke-width: 1; }
.sn-rollout .edge.lit { stroke: var(--sn-cone, #e69f00); stroke-width: 1.8; }
.sn-rollout .cell rect { fill: var(--sn-cell, #ececec); stroke: var(--sn-edge, #b5b5b5); }
.sn-rollout .cell.lit rect { fill: var(--sn-lit, #fbe3b0); stroke: var(--sn-cone, #e69f00);
  stroke-width: 2; }
.sn-rollout .cell.later rect { fill-opacity: .35; stroke-dasharray: 3 3; }
.sn-rollout .cell.none rect { fill: none; stroke-dasharray: 1 4; }
.sn-rollout .cell.repeated rect { stroke-dasharray: 7 3; }
.sn-rollout .cell.seen rect { fill: none; }
.sn-rollout .cell.tip rect { stroke: var(--sn-mark, #d55e00); stroke-width: 3.4; }
.sn-rollout .cell.chosen { cursor: pointer; }
.sn-rollout .cell image { image-rendering: pixelated; }
.sn-rollout .cell.dim image { opacity: .45; }
.sn-rollout .first { fill: var(--sn-now, #0072b2); stroke: var(--sn-paper, #fff); }
"""


@dataclass(frozen=True)
class RolloutView:
    """What one picture shows.

    Args:
        rollout: whose edges are drawn.
        first_frame: of the leftmost column.
        last_frame: of the rightmost one.
        now: the newest frame; later columns have not happened. None: a plan, without a now.
        begun: the frame of the first image; a state exists from its first response after it on.
        cone: what is lit.
        outputs: group by the name of the output.
        thumbnails: small pictures of states that are known, as ``data:`` addresses.
        computes: in which frames a group computes; in others it repeats its state.

    Raises:
        ParameterError: no column, or too many.
    """

    rollout: Rollout
    first_frame: int
    last_frame: int
    now: int | None = None
    begun: int = 0
    cone: LightCone | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    thumbnails: Mapping[FrameNode, str] = field(default_factory=dict)
    computes: Computes = always

    def __post_init__(self) -> None:
        columns = self.last_frame - self.first_frame + 1
        if not 1 <= columns <= MAX_COLUMNS:
            raise ParameterError(
                "bad number of frames", where="rollout view", expected=f"1 to {MAX_COLUMNS}",
                got=columns,
            )  # fmt: skip

    @property
    def frames(self) -> range:
        """The frames of the columns."""
        return range(self.first_frame, self.last_frame + 1)


def draw_rollout(view: RolloutView) -> str:
    """The picture as SVG text, safe to be put into a page: every name in it is escaped."""
    return _Drawing(view).svg()


def row_order(graph: NetworkGraph) -> list[str]:
    """Nodes from inputs to outputs: after all that they hear, feedback left out."""
    away = dict.fromkeys(graph.inputs, 0)
    for source, target in nx.edge_bfs(graph.digraph, graph.inputs):
        away.setdefault(target, away[source] + 1)
    order = {node: (away[node], number) for number, node in enumerate(graph.nodes)}
    ahead = nx.DiGraph()
    ahead.add_nodes_from(graph.nodes)
    recurrent = {edge.key for edge in graph.recurrent_edges}
    ahead.add_edges_from(
        edge.key
        for edge in graph.edges
        if edge.key not in recurrent or order[edge.source] < order[edge.target]
    )
    return list(nx.lexicographical_topological_sort(ahead, key=order.__getitem__))


class _Drawing:
    """A picture in the making: the places of a view's cells, and its parts from back to front."""

    def __init__(self, view: RolloutView) -> None:
        self.view = view
        self.names = row_order(view.rollout.graph)
        self.row = {name: number for number, name in enumerate(self.names)}
        exists = first_frames(view.rollout)
        self.exists = {name: view.begun + frames for name, frames in exists.items()}
        # A cone counts delays only: what does not exist yet cannot influence anything.
        lit = view.cone.members if view.cone is not None else frozenset[FrameNode]()
        arrivals = view.cone.arrivals if view.cone is not None else frozenset[FrameNode]()
        self.cone = {(frame, node) for frame, node in lit if self._is_there(frame, node)}
        self.arrivals = arrivals & self.cone
        told = [self._outputs(name) for name in self.names]
        wide = CHARACTER * min(MAX_NAME, max(map(len, self.names)))
        self.left = 26 + max(wide, SMALL * max(map(len, told)))
        key = sum(_key_width(text) for _, _, text in self._entries())
        self.width = self.left + max(key, PITCH * len(view.frames) + 6)
        self.height = TOP + ROW * len(self.names) + FOOT

    def svg(self) -> str:
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="sn-rollout" role="img" '
            f'width="{self.width:g}" height="{self.height:g}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}">',
            f"<style>{STYLE}</style>",
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

    def _is_there(self, frame: int, node: str) -> bool:
        return frame >= self.exists[node]

    def _columns(self) -> Iterator[str]:
        now = self.view.now
        if now is not None and now in self.view.frames:
            x = self._x(now) - PITCH / 2
            height = ROW * len(self.names) + 26
            yield (
                f'<rect class="now" x="{x:g}" y="{TOP - 26:g}" width="{PITCH:g}" '
                f'height="{height:g}" rx="6"/>'
            )
        for frame in self.view.frames:
            text = str(frame) if now is None else "now" if frame == now else f"{frame - now:+d}"
            yield f'<text class="frame" x="{self._x(frame):g}" y="{TOP - 9:g}">{text}</text>'

    def _names(self) -> Iterator[str]:
        for node in self.names:
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
        for (source, target), delay in self.view.rollout.delays.items():
            for frame in range(self.view.first_frame - delay, self.view.last_frame + 1):
                then = frame + delay
                heard = self._is_there(frame, source) and self.view.computes(target, then)
                if not heard or then not in self.view.frames:
                    continue
                path = self._path((frame, source), (then, target))
                # Whoever hears a state of the cone need not be in it; who is, is so by this edge.
                if {(frame, source), (then, target)} <= self.cone:
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
        for node in self.names:
            for frame in self.view.frames:
                yield self._cell(frame, node)

    def _cell(self, frame: int, node: str) -> str:
        x, y = self._x(frame) - CELL / 2, self._y(node) - HEIGHT / 2
        box = f'x="{x:g}" y="{y:g}" width="{CELL:g}" height="{HEIGHT:g}"'
        picture = self.view.thumbnails.get((frame, node))
        classes = self._classes(frame, node, is_seen=picture is not None)
        image = ""
        if picture is not None:
            image = f'<image {box} href="{escape(picture)}" preserveAspectRatio="none"/>'
        first = ""
        if (frame, node) in self.arrivals:
            first = f'<circle class="first" cx="{x + CELL - 2:g}" cy="{y + 2:g}" r="5"/>'
        title = f"{node}, frame {frame}: {self._told(frame, node)}"
        return (
            f'<g class="{classes}" data-node="{escape(node)}" data-frame="{frame}">'
            f'{image}<rect {box} rx="5"/>{first}<title>{escape(title)}</title></g>'
        )

    def _classes(self, frame: int, node: str, *, is_seen: bool) -> str:
        view, lit = self.view, (frame, node) in self.cone
        marks = {
            "lit": lit,
            "tip": view.cone is not None and view.cone.tip == (frame, node),
            "seen": is_seen,
            "dim": is_seen and view.cone is not None and not lit,
            "none": not self._is_there(frame, node),
            "later": view.now is not None and frame > view.now,
            "repeated": self._is_repeated(frame, node),
            "chosen": self.is_choice(node),
        }
        return " ".join(["cell", *(mark for mark, holds in marks.items() if holds)])

    def is_choice(self, node: str) -> bool:
        """Whether a click on the node's cells chooses a cone: inputs and groups that answer."""
        graph = self.view.rollout.graph
        return node in graph.inputs or node in (*graph.outputs, *self.view.outputs.values())

    def _is_repeated(self, frame: int, node: str) -> bool:
        return node not in self.view.rollout.graph.inputs and not self.view.computes(node, frame)

    def _told(self, frame: int, node: str) -> str:
        view = self.view
        told = "does not exist yet" if not self._is_there(frame, node) else "a state"
        if self._is_repeated(frame, node):
            told = "repeats the state before"
        if view.now is not None and frame > view.now:
            told = "has not happened yet"
        if view.cone is None or (frame, node) not in self.cone:
            return told
        at, name = view.cone.tip
        if (frame, node) == view.cone.tip:
            return f"{told}; its cone is shown"
        if view.cone.direction is Direction.PAST:
            return f"{told}; can influence {name} of frame {at}, {at - frame} frames later"
        return f"{told}; {name} of frame {at} can influence it, {frame - at} frames earlier"

    def _entries(self) -> list[tuple[str, bool, str]]:
        """What the marks of this picture mean, as (classes, with a dot, text)."""
        view = self.view
        entries = [("cell", False, "state")]
        if view.cone is not None:
            at, name = view.cone.tip
            when = f"frame {at}" if view.now is None else _relative(at - view.now)
            past = view.cone.direction is Direction.PAST
            entries = [
                ("cell tip lit", False, f"{name}, {when}"),
                ("cell lit", False, "can influence it" if past else "can be influenced by it"),
                ("cell lit", True, "newest that can" if past else "first arrival"),
                ("cell", False, "any other state"),
            ]
        if view.now is not None:
            entries.append(("cell later", False, "not yet"))
        return entries

    def _key(self) -> Iterator[str]:
        x, y = self.left, TOP + ROW * len(self.names) + 26
        for classes, is_first, text in self._entries():
            dot = ""
            if is_first:
                dot = f'<circle class="first" cx="{x + 19:g}" cy="{y - 6:g}" r="4"/>'
            yield (
                f'<g class="{classes}"><rect x="{x:g}" y="{y - 7:g}" width="20" height="14" '
                f'rx="3"/>{dot}</g><text x="{x + 28:g}" y="{y + 4:g}">{escape(text)}</text>'
            )
            x += _key_width(text)


def _key_width(text: str) -> float:
    return 50 + 6.4 * len(text)


def _relative(frames: int) -> str:
    if frames == 0:
        return "now"
    return (
        f"{abs(frames)} frame{'s' if abs(frames) > 1 else ''} {'ago' if frames < 0 else 'ahead'}"
    )
