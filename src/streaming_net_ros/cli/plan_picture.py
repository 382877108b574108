"""The picture of a plan: the network above, the window of each rollout with a light cone below.

Owns lines, colours and places; what is true comes from ``theory``. Everything is measured in
inches, so that a figure grows with its network and nothing is squeezed. Imported by ``plan`` when
a picture is asked for, which loads matplotlib (Agg and SVG only, never a window).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import networkx as nx
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from streaming_net_ros.cli.plan import Plan, number_told
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import EdgeKey, NetworkGraph, Rollout, first_frames, light_cone

# Okabe and Ito's palette: told apart by all common kinds of colour vision.
INPUT, GROUP, OUTPUT, CYCLE = "#56B4E9", "#F2F2F2", "#009E73", "#CC79A7"
CONE, MARK, INK, FAINT = "#E69F00", "#0072B2", "#222222", "#B5B5B5"

CHARACTER = 0.088  # inches, of the node names' font
BOX_HEIGHT = 0.32
HEAD = 0.75  # above the network
LANE = 0.3  # between the lines of two long edges
ROW, LEAST_FRAME, MOST_FRAME = 0.36, 0.46, 0.72
NARROWEST, WIDEST = 4.9, 15.0  # a window; all windows that stand side by side

Slot = str | tuple[EdgeKey, int]
"""What has a place in a layer: a node, or the lane of an edge that passes the layer."""


@dataclass(frozen=True)
class Layout:
    """Where the network is drawn, in inches, y upwards.

    Args:
        layer: column of each node: the longest way from an input, feedback left out.
        place: centre of each node and lane.
        lanes: what each edge passes on its way, left to right.
        feedback: the edges that lead back.
        box: width of a node.
    """

    layer: Mapping[str, int]
    place: Mapping[Slot, tuple[float, float]]
    lanes: Mapping[EdgeKey, list[Slot]]
    feedback: frozenset[EdgeKey]
    box: float


def lay_out(graph: NetworkGraph) -> Layout:
    """Layers from left to right, each ordered so that few edges cross."""
    layer, feedback = _layers(graph)
    lanes: dict[EdgeKey, list[Slot]] = {}
    for edge in graph.edges:
        if not edge.is_self_edge:
            low, high = sorted((layer[edge.source], layer[edge.target]))
            # An edge that leads back also needs a lane beside its own two ends.
            passed = range(low, high + 1) if edge.key in feedback else range(low + 1, high)
            lanes[edge.key] = [(edge.key, number) for number in passed]
    columns: list[list[Slot]] = [[] for _ in range(max(layer.values()) + 1)]
    for node in graph.nodes:
        columns[layer[node]].append(node)
    for passed_lanes in lanes.values():
        for slot in passed_lanes:
            columns[int(slot[1])].append(slot)
    near = _neighbours(lanes, feedback)
    _order(columns, near, feedback)
    loops = {edge.source for edge in graph.edges if edge.is_self_edge}
    height = _heights(columns, near, loops)
    box = max(0.6, max(map(len, graph.nodes)) * CHARACTER + 0.2)
    pitch = box + (0.9 if len(columns) <= 14 else 0.55)
    place = {
        slot: (number * pitch, height[slot])
        for number, column in enumerate(columns)
        for slot in column
    }
    return Layout(layer, place, lanes, feedback, box)


def _layers(graph: NetworkGraph) -> tuple[dict[str, int], frozenset[EdgeKey]]:
    """The column of each node, and the edges that lead back: against the shortest way in."""
    away = dict.fromkeys(graph.inputs, 0)
    for source, target in nx.edge_bfs(graph.digraph, graph.inputs):
        away.setdefault(target, away[source] + 1)
    order = {node: (away[node], number) for number, node in enumerate(graph.nodes)}
    back = frozenset(e.key for e in graph.recurrent_edges if order[e.source] >= order[e.target])
    forward = nx.DiGraph()
    forward.add_nodes_from(graph.nodes)
    forward.add_edges_from(edge.key for edge in graph.edges if edge.key not in back)
    layer: dict[str, int] = {}
    for node in nx.lexicographical_topological_sort(forward, key=order.__getitem__):
        layer[node] = 1 + max((layer[before] for before in forward.predecessors(node)), default=-1)
    return layer, back


def _neighbours(
    lanes: Mapping[EdgeKey, list[Slot]], feedback: Iterable[EdgeKey]
) -> dict[Slot, list[Slot]]:
    near: dict[Slot, list[Slot]] = {}
    for key, passed in lanes.items():
        ends = key[::-1] if key in feedback else key
        way: list[Slot] = [ends[0], *passed, ends[1]]
        for one, other in pairwise(way):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    return near


def _order(
    columns: list[list[Slot]], near: Mapping[Slot, list[Slot]], feedback: frozenset[EdgeKey]
) -> None:
    """Sort every column by the middle of its neighbours, to and fro; what leads back is lowest."""
    for sweep in range(8):
        numbers = range(len(columns))
        for number in numbers if sweep % 2 == 0 else reversed(numbers):
            beside = [n for n in (number - 1, number + 1) if n in numbers]
            rank = {
                slot: (index + 0.5) / len(columns[n])
                for n in beside
                for index, slot in enumerate(columns[n])
            }

            def middle(slot: Slot, rank: dict[Slot, float] = rank) -> tuple[bool, float]:
                known = [rank[other] for other in near.get(slot, ()) if other in rank]
                is_back = not isinstance(slot, str) and slot[0] in feedback
                return is_back, sum(known) / len(known) if known else 0.5

            columns[number].sort(key=middle)


def _heights(
    columns: list[list[Slot]], near: Mapping[Slot, list[Slot]], loops: set[str]
) -> dict[Slot, float]:
    """The y of every slot: near its neighbours, in its column's order, never too close."""
    room = {
        slot: LANE / 2 if not isinstance(slot, str) else 0.52 if slot in loops else 0.38
        for column in columns
        for slot in column
    }
    column_of = {slot: number for number, column in enumerate(columns) for slot in column}
    height = dict.fromkeys(room, 0.0)
    for _ in range(40):
        for column in columns:
            wanted = []
            for slot in column:
                others = near.get(slot, [slot])
                wanted.append(sum(height[other] for other in others) / len(others))
            _set_apart(column, wanted, room, height)
    for column in columns:  # at last straighten what is nearly level
        wanted = []
        for slot in column:
            levels = [
                height[other] for other in near.get(slot, ()) if column_of[other] < column_of[slot]
            ]
            level = min(levels, key=lambda y: abs(y - height[slot]), default=height[slot])
            wanted.append(level if abs(level - height[slot]) < LANE / 2 else height[slot])
        _set_apart(column, wanted, room, height)
    return height


def _set_apart(
    column: list[Slot],
    wanted: list[float],
    room: Mapping[Slot, float],
    height: dict[Slot, float],
) -> None:
    """Set the heights of a column as near to the wanted ones as its order and room allow."""
    offsets = [0.0]
    for above, below in pairwise(column):
        offsets.append(offsets[-1] + room[above] + room[below])
    free = [y + offset for y, offset in zip(wanted, offsets, strict=True)]
    for slot, y, offset in zip(column, _falling(free), offsets, strict=True):
        height[slot] = y - offset


def _falling(values: list[float]) -> list[float]:
    """The nearest values (least squares) that never rise: pool adjacent violators."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and _mean(pools[-2]) < _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return [_mean(pool) for pool in pools for _ in pool]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def _own_style() -> Iterator[None]:
    """Matplotlib as delivered, whatever the user's settings, and SVG without chance or date."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "streaming-net plan", "font.size": 9})
        yield


def draw_plan(planned: Plan, output: str) -> Figure:
    """The figure: network above, one window per rollout below, the legend at the foot.

    Args:
        planned: what is drawn.
        output: name of the output whose light cone and responses are shown.
    """
    graph = planned.spec.graph
    layout = lay_out(graph)
    xs, ys = zip(*layout.place.values(), strict=True)
    net_width = max(xs) - min(xs) + layout.box + 1.0
    net_height = max(ys) - min(ys) + 1.3
    margin = max(map(len, graph.nodes)) * CHARACTER + 0.45
    count = len(planned.rollouts)
    least = max(NARROWEST, margin + planned.frames * LEAST_FRAME)
    beside = max(1, min(count, int(max(WIDEST, net_width) / least)))
    most = beside * max(least, margin + planned.frames * MOST_FRAME)
    width = max(beside * least, min(max(net_width, 8.5), most), net_width, 8.5)
    panel_width = min(width, most) / beside
    panel_height = len(graph.nodes) * ROW + 1.65
    rows = math.ceil(count / beside)
    size = (width + 0.4, HEAD + net_height + rows * panel_height + 0.5)
    with _own_style():
        figure = Figure(figsize=size, facecolor="white")
        _head(figure, planned)
        axes = _add_axes(figure, ((size[0] - net_width) / 2, HEAD), (net_width, net_height))
        axes.set_xlim((max(xs) - net_width) / 2, (max(xs) + net_width) / 2)
        axes.set_ylim(min(ys) - 0.6, max(ys) + 0.7)
        axes.axis("off")
        _draw_network(axes, planned, layout)
        left = (size[0] - beside * panel_width) / 2 + margin
        for number, label in enumerate(planned.rollouts):
            row, column = divmod(number, beside)
            top = HEAD + net_height + row * panel_height + 0.45
            area = (panel_width - margin - 0.2, len(graph.nodes) * ROW)
            axes = _add_axes(figure, (left + column * panel_width, top), area)
            _draw_window(axes, planned, label, output, layout)
        _legend(figure, planned, output)
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write the figure; the same plan gives the same bytes.

    Raises:
        ParameterError: the file cannot be written.
    """
    is_svg = path.suffix.lower() == ".svg"
    try:
        with _own_style():
            figure.savefig(path, dpi=150, metadata={"Date": None} if is_svg else None)
    except OSError as error:
        raise ParameterError(
            "cannot write the picture", where=str(path), got=error.strerror or str(error)
        ) from None


def _add_axes(figure: Figure, corner: tuple[float, float], area: tuple[float, float]) -> Any:
    """Axes of a width and height in inches, so far right and down from the upper left corner."""
    width, height = figure.get_size_inches()
    bottom = height - corner[1] - area[1]
    return figure.add_axes((corner[0] / width, bottom / height, area[0] / width, area[1] / height))


def _head(figure: Figure, planned: Plan) -> None:
    width, height = figure.get_size_inches()
    meaning = "delay of each edge in frames"
    if len(planned.rollouts) > 1:
        meaning += ", where they differ: " + " | ".join(planned.rollouts)
    figure.text(0.25 / width, 1 - 0.3 / height, planned.spec.name, size=15, weight="bold")
    figure.text(0.25 / width, 1 - 0.55 / height, meaning, color="#555555")


def _draw_network(axes: Any, planned: Plan, layout: Layout) -> None:
    graph, half = planned.spec.graph, layout.box / 2
    taken: list[tuple[float, float]] = []
    for edge in graph.edges:
        curve, spots = _route(layout, edge.key)
        colour = CYCLE if edge in graph.recurrent_edges else "#666666"
        axes.add_patch(
            FancyArrowPatch(
                path=curve, arrowstyle="-|>,head_length=5,head_width=2.5", color=colour,
                linewidth=1.2, shrinkA=0, shrinkB=0, zorder=1,
            )
        )  # fmt: skip
        delays = [str(rollout.delays[edge.key]) for rollout in planned.rollouts.values()]
        text = delays[0] if len(set(delays)) == 1 else "|".join(delays)
        spot = max(spots, key=lambda spot: min([0.3, *(math.dist(spot, t) for t in taken)]))
        taken.append(spot)
        axes.text(
            *spot, text, size=7.5, color=INK, ha="center", va="center", zorder=2,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    for node in graph.nodes:
        x, y = layout.place[node]
        colour = _colour(graph, node)
        axes.add_patch(
            FancyBboxPatch(
                (x - half + 0.05, y - BOX_HEIGHT / 2 + 0.05), 2 * half - 0.1, BOX_HEIGHT - 0.1,
                boxstyle="round,pad=0.05", facecolor=colour, edgecolor=INK, linewidth=0.9,
                zorder=3,
            )
        )  # fmt: skip
        ink = "white" if colour == OUTPUT else INK
        axes.text(x, y - 0.01, node, ha="center", va="center", color=ink, zorder=4)
        names = [name for name, out in planned.spec.outputs.items() if out.group == node]
        if names:
            told = "output " + ", ".join(names)
            axes.text(x, y - 0.26, told, size=7, ha="center", va="center", color="#00684B",
                      zorder=4)  # fmt: skip


def _route(layout: Layout, key: EdgeKey) -> tuple[Curve, list[tuple[float, float]]]:
    """The line of an edge, and places where its delay may stand, the best one first."""
    half = layout.box / 2
    (x, y), (end_x, end_y) = layout.place[key[0]], layout.place[key[1]]
    if key[0] == key[1]:
        top = y + BOX_HEIGHT / 2
        points = [(x + 0.13, top), (x + 0.3, top + 0.36), (x - 0.3, top + 0.36), (x - 0.13, top)]
        return Curve(points, [1, 4, 4, 4]), [(x, top + 0.27)]
    back = key in layout.feedback
    lanes = [layout.place[slot] for slot in layout.lanes[key]]
    step = -half if back else half
    start, end = (x + half, y), (end_x - half, end_y)
    points, codes = [start], [1]
    for lane_x, lane_y in lanes[::-1] if back else lanes:
        _bend(points, codes, (lane_x - step, lane_y))
        points.append((lane_x + step, lane_y))
        codes.append(2)
    _bend(points, codes, end)
    if lanes:
        middle = lanes[len(lanes) // 2]
        return Curve(points, codes), [middle]
    spots = [
        (
            x + half + (end[0] - start[0]) * (1.5 * t * (1 - t) + t**3),
            y + (end_y - y) * (3 * t**2 - 2 * t**3),
        )
        for t in (0.5, 0.4, 0.6, 0.3, 0.7)
    ]
    return Curve(points, codes), spots


def _bend(points: list[tuple[float, float]], codes: list[int], end: tuple[float, float]) -> None:
    """Lead the line on to a point in the next layer; or around the end of a node to its lane."""
    (x, y), (end_x, end_y) = points[-1], end
    if abs(end_x - x) < 1e-6:
        bulge = min(0.4, 0.12 + 0.2 * abs(end_y - y)) * (1 if len(points) == 1 else -1)
        points += [(x + bulge, y), (x + bulge, end_y), end]
    else:
        points += [((x + end_x) / 2, y), ((x + end_x) / 2, end_y), end]
    codes += [4, 4, 4]


def _draw_window(axes: Any, planned: Plan, label: str, output: str, layout: Layout) -> None:
    """Frames to the right, nodes downwards; what the last frame's output is made of in orange."""
    rollout, graph = planned.rollouts[label], planned.spec.graph
    nodes = sorted(graph.nodes, key=lambda node: layout.layer[node])
    row = {node: number for number, node in enumerate(nodes)}
    exists, last = first_frames(rollout), planned.frames - 1
    group = planned.spec.outputs[output].group
    cone = {
        (frame, node)
        for frame, node in light_cone(rollout, group, last, last)
        if frame >= exists[node]
    }
    _draw_window_edges(axes, rollout, row, cone, last)
    for frame in range(last + 1):
        for node in nodes:
            there, lit = frame >= exists[node], (frame, node) in cone
            fill = "white" if not there else CONE if lit else FAINT
            axes.plot(
                frame, row[node], "s" if node in graph.inputs else "o", markersize=8.5,
                color=fill, markeredgecolor=INK if lit else "#8A8A8A",
                markeredgewidth=0.9, linestyle="none", zorder=4,
            )  # fmt: skip
    _mark_responses(axes, planned, label, output, row)
    axes.set(xlim=(-0.5, last + 0.5), ylim=(len(nodes) - 0.45, -0.55), xticks=range(last + 1))
    axes.set_yticks(range(len(nodes)), nodes)
    if last > 30:
        axes.set_xticks(range(0, last + 1, 5))
    axes.tick_params(length=0, pad=5)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(f"frame ({number_told(planned.milliseconds(1))} ms each)", labelpad=3)
    factor = planned.responses(label)[output].period_steps
    axes.set_title(label, loc="left", weight="bold", size=11, pad=8)
    axes.set_title(f"inference factor {factor}", loc="right", size=9, color="#555555", pad=8)


def _draw_window_edges(
    axes: Any, rollout: Rollout, row: Mapping[str, int], cone: set[tuple[int, str]], last: int
) -> None:
    exists = first_frames(rollout)
    lit: list[Curve] = []
    others: list[Curve] = []
    for (source, target), delay in rollout.delays.items():
        for frame in range(exists[source], last + 1 - delay):
            curve = _window_edge((frame, row[source]), (frame + delay, row[target]))
            # Whoever hears a state of the cone need not be in it; who is, is so through this edge.
            (lit if {(frame, source), (frame + delay, target)} <= cone else others).append(curve)
    for curves, colour, width, layer in ((others, "#D0D0D0", 0.8, 2), (lit, CONE, 1.3, 3)):
        axes.add_collection(
            PathCollection(
                curves, facecolors="none", edgecolors=colour, linewidths=width, zorder=layer
            ),
            autolim=False,
        )


def _window_edge(start: tuple[int, int], end: tuple[int, int]) -> Curve:
    """A straight line; bent to the side where it would run through other cells."""
    (x, y), (end_x, end_y) = start, end
    between = math.gcd(end_x - x, end_y - y) - 1
    if between < 1:
        return Curve([start, end])
    bend = min(0.16 + 0.05 * between, 0.42)
    aside = (bend, 0.0) if end_x == x else (0.0, -bend)
    control = ((x + end_x) / 2 + 2 * aside[0], (y + end_y) / 2 + 2 * aside[1])
    return Curve([start, control, end], [1, 3, 3])


def _mark_responses(
    axes: Any, planned: Plan, label: str, output: str, row: Mapping[str, int]
) -> None:
    """Mark the first image and the answers to it, and tell them below the axis."""
    times = planned.responses(label)[output]
    first, full = times.first_frames, times.full_frames
    marks = [("s", 13.0, "first image", 0, list(times.ages))]
    if first == full:
        marks.append(("o", 14.0, f"first and full response of {output}", full, [times.output]))
    else:
        marks.append(("D", 11.5, f"first response of {output}", first, [times.output]))
        marks.append(("o", 14.0, f"full response of {output}", full, [times.output]))
    handles = []
    for marker, size, text, frame, nodes in marks:
        style: dict[str, Any] = {"marker": marker, "color": MARK, "fillstyle": "none"}
        style |= {"linestyle": "none", "markeredgewidth": 1.8}
        for node in nodes if frame < planned.frames else ():
            axes.plot(frame, row[node], **style, markersize=size, zorder=5)
        span = f"{number_told(planned.milliseconds(frame))} ms"
        when = f"frame {frame}, {span}" + (" (not drawn)" if frame >= planned.frames else "")
        handles.append(Line2D([], [], **style, markersize=size * 0.65, label=f"{text}: {when}"))
    below = -0.42 / (len(row) * ROW)
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.02, below), frameon=False,
        fontsize=8.5, borderpad=0, borderaxespad=0, handletextpad=0.5, labelspacing=0.45,
    )  # fmt: skip


def _colour(graph: NetworkGraph, node: str) -> str:
    return INPUT if node in graph.inputs else OUTPUT if node in graph.outputs else GROUP


def _legend(figure: Figure, planned: Plan, output: str) -> None:
    """What the colours mean, at the foot."""

    def dot(colour: str, text: str, marker: str = "o", edge: str = INK) -> Line2D:
        return Line2D([], [], marker=marker, color=colour, markeredgecolor=edge, markersize=8.5,
                      linestyle="none", label=text)  # fmt: skip

    handles = [
        dot(INPUT, "input", "s"),
        dot(GROUP, "layer group", "s"),
        dot(OUTPUT, "group with an output", "s"),
    ]
    if planned.spec.graph.recurrent_edges:
        handles.append(Line2D([], [], color=CYCLE, linewidth=1.6, label="edge on a cycle"))
    last = planned.frames - 1
    handles += [  # the colours of the windows
        dot(CONE, f"light cone: all that can have influenced {output} at frame {last}"),
        dot(FAINT, "any other state", edge="#8A8A8A"),
        dot("white", "does not exist yet", edge="#8A8A8A"),
    ]
    width = figure.get_size_inches()[0]
    figure.legend(
        handles=handles, loc="lower center", ncols=len(handles) if width > 12.5 else 4,
        frameon=False, fontsize=8.5, handletextpad=0.3, columnspacing=1.4,
    )  # fmt: skip
