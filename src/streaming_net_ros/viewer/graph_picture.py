"""The network's graph as SVG, coloured by what its diagnostics say.

Pure: from a layout and numbers to text. Places come from ``theory.layout``; colours that mean
something from here, all others from the page's style. Knows neither ROS nor NiceGUI.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

import matplotlib

from streaming_net_ros.theory import EdgeKey, NetworkGraph, Rollout
from streaming_net_ros.theory.layout import BOX_HEIGHT, Layout, Line, route

_SCALE = 104.0  # pixels to the inch
_ROOM = 0.2  # around all: loops and values
_RAMP = matplotlib.colormaps["viridis"]


@dataclass(frozen=True)
class Tint:
    """What a node or an edge is coloured by.

    Attributes:
        share: 0 to 1, of the colours; None: no colour.
        text: the number, told at a node.
        is_lesioned: held or silenced: drawn broken.
    """

    share: float | None = None
    text: str = ""
    is_lesioned: bool = False


NOTHING = Tint()


@dataclass(frozen=True)
class Look:
    """How the graph looks now.

    Attributes:
        nodes, edges: the colours; who is not in them has none.
        looked_at: nodes that are framed.
        troubled: nodes with an error, told by a red frame.
    """

    nodes: Mapping[str, Tint] = field(default_factory=dict)
    edges: Mapping[EdgeKey, Tint] = field(default_factory=dict)
    looked_at: Collection[str] = ()
    troubled: Collection[str] = ()


def graph_svg(graph: NetworkGraph, rollout: Rollout, layout: Layout, look: Look) -> str:
    """The graph as an SVG element; every node carries ``data-node`` with its name."""
    xs, ys = zip(*layout.place.values(), strict=True)
    left, right = min(xs) - layout.box / 2 - _ROOM, max(xs) + layout.box / 2 + _ROOM
    loops = 0.2 if any(edge.is_self_edge for edge in graph.edges) else 0.0
    top, bottom = max(ys) + BOX_HEIGHT / 2 + _ROOM + loops, min(ys) - BOX_HEIGHT / 2 - _ROOM

    def at(point: tuple[float, float]) -> str:
        return f"{(point[0] - left) * _SCALE:.1f} {(top - point[1]) * _SCALE:.1f}"

    size = f"0 0 {(right - left) * _SCALE:.0f} {(top - bottom) * _SCALE:.0f}"
    parts = [f'<svg class="graph" viewBox="{size}" height="{size.rsplit(maxsplit=1)[-1]}">']
    for edge in graph.edges:
        line, spots = route(layout, edge.key)
        tint = look.edges.get(edge.key, NOTHING)
        told = f"{edge}: delay {rollout.delays[edge.key]}"
        told += f", {tint.text}" if tint.text else ""
        colour = "var(--pale)" if tint.share is None else ramp(tint.share)
        colour = "var(--bad)" if tint.is_lesioned else colour
        kind = "edge lesioned" if tint.is_lesioned else "edge"
        parts.append(
            f'<path class="{kind}" d="{_path(line, at)}" stroke="{colour}">'
            f"<title>{escape(told)}</title></path>{_head(line, at, colour)}"
        )
        x, y = at(spots[0]).split()
        parts.append(
            f'<circle class="chip" cx="{x}" cy="{y}" r="8"/>'
            f'<text class="delay" x="{x}" y="{y}">{rollout.delays[edge.key]}</text>'
        )
    parts += [_node(graph, layout, look, node, at) for node in graph.nodes]
    return "".join([*parts, "</svg>"])


def ramp(share: float) -> str:
    """The colour of a share of 0 to 1."""
    red, green, blue, _ = _RAMP(min(1.0, max(0.0, share)), bytes=True)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _node(graph: NetworkGraph, layout: Layout, look: Look, node: str, at: object) -> str:
    assert callable(at)
    x, y = map(float, at(layout.place[node]).split())
    width, height = (layout.box - 0.02) * _SCALE, (BOX_HEIGHT + 0.04) * _SCALE
    tint = look.nodes.get(node, NOTHING)
    style, ink = "", ""
    if tint.share is not None:
        style = f"fill:{ramp(tint.share)};"
        ink = f' style="fill:{"#14202a" if tint.share > 0.55 else "#ffffff"}"'
    elif node in graph.inputs:
        style = "fill:var(--well);stroke-dasharray:3 2;"
    else:
        style = "fill:var(--well);"
    if tint.is_lesioned:
        style += "stroke:var(--bad);stroke-dasharray:4 3;stroke-width:2;"
    elif node in look.troubled:
        style += "stroke:var(--bad);stroke-width:2;"
    weight = ' font-weight="600"' if node in graph.outputs else ""
    names = "node looked" if node in look.looked_at else "node"
    value = (
        f'<text class="value" x="{x:.1f}" y="{y + height / 2 + 9:.1f}">{escape(tint.text)}</text>'
    )
    return (
        f'<g class="{names}" data-node={quoteattr(node)}>'
        f'<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="5" style="{style}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="14"{weight}{ink}>{escape(node)}</text>'
        f"{value}</g>"
    )


def _path(line: Line, at: object) -> str:
    assert callable(at)
    letters = {1: "M", 2: "L", 4: "C"}
    said: list[str] = []
    number = 0
    while number < len(line.points):
        count = 3 if line.codes[number] == 4 else 1
        points = " ".join(at(point) for point in line.points[number : number + count])
        said.append(f"{letters[line.codes[number]]}{points}")
        number += count
    return " ".join(said)


def _head(line: Line, at: object, colour: str) -> str:
    """The arrow's head, along the line's last piece."""
    assert callable(at)
    x, y = map(float, at(line.points[-1]).split())
    before = next(p for p in reversed(line.points[:-1]) if p != line.points[-1])
    back_x, back_y = map(float, at(before).split())
    length = max(1e-6, ((x - back_x) ** 2 + (y - back_y) ** 2) ** 0.5)
    along, across = ((x - back_x) / length, (y - back_y) / length), 3.2
    foot = (x - 7 * along[0], y - 7 * along[1])
    one = (foot[0] - across * along[1], foot[1] + across * along[0])
    other = (foot[0] + across * along[1], foot[1] - across * along[0])
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in ((x, y), one, other))
    return f'<polygon points="{points}" fill="{colour}"/>'
