"""The picture of a plan: the network above, the window of each rollout with a light cone below.

Owns colours, marks and keys. Does not know where nodes and frames lie (``theory.layout``,
``plan_layout``), nor what is true of a rollout (``theory``). Imported by ``plan`` when a picture
is asked for, which loads matplotlib (Agg and SVG only, never a window).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from streaming_net_ros.cli.plan_data import Plan
from streaming_net_ros.cli.plan_layout import KEY, ROW, Area, Page, lay_out_page
from streaming_net_ros.cli.plan_text import milliseconds_told
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import NetworkGraph, Rollout, first_frames, light_cone
from streaming_net_ros.theory.layout import BOX_HEIGHT, Layout, Point, lay_out, route

# Okabe and Ito's palette: told apart by all common kinds of colour vision.
INPUT, GROUP, OUTPUT, CYCLE = "#56B4E9", "#F2F2F2", "#009E73", "#CC79A7"
CONE, MARK, INK, FAINT = "#E69F00", "#0072B2", "#222222", "#B5B5B5"
PALE = "#555555"


@contextmanager
def _own_style() -> Iterator[None]:
    """Matplotlib as delivered, whatever the user's settings, and SVG without chance or date."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "streaming-net plan", "font.size": 9})
        yield


def draw_plan(planned: Plan, output: str) -> Figure:
    """The figure: network above, one window per rollout below, each with its key.

    Args:
        planned: what is drawn.
        output: name of the output whose light cone and responses are shown.
    """
    layout = lay_out(planned.spec.graph)
    page = lay_out_page(layout, len(planned.rollouts), planned.frames)
    with _own_style():
        figure = Figure(figsize=(page.width, page.height), facecolor="white")
        _head(figure, planned)
        axes = _add_axes(figure, page.network)
        axes.set_xlim(page.origin[0], page.origin[0] + page.network.width)
        axes.set_ylim(page.origin[1], page.origin[1] + page.network.height)
        axes.axis("off")
        _draw_edges(axes, planned, layout)
        _draw_nodes(axes, planned, layout)
        for label, area in zip(planned.rollouts, page.windows, strict=True):
            _draw_window(_add_axes(figure, area), planned, label, output, layout)
        _keys(figure, page, planned, output)
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write the figure; the same plan gives the same bytes.

    Raises:
        ParameterError: the file cannot be written.
    """
    is_svg = path.suffix.lower() == ".svg"
    try:
        with _own_style():
            figure.savefig(path, dpi=200, metadata={"Date": None} if is_svg else None)
    except OSError as error:
        raise ParameterError(
            "cannot write the picture", where=str(path), got=error.strerror or str(error)
        ) from None


def _add_axes(figure: Figure, area: Area) -> Axes:
    width, height = figure.get_size_inches()
    bottom = height - area.top - area.height
    return figure.add_axes(
        (area.left / width, bottom / height, area.width / width, area.height / height)
    )


def _head(figure: Figure, planned: Plan) -> None:
    width, height = figure.get_size_inches()
    meaning = "on each edge: its delay in frames"
    if len(planned.rollouts) > 1:
        meaning += ", where the rollouts differ: " + " | ".join(planned.rollouts)
    figure.text(0.25 / width, 1 - 0.3 / height, planned.spec.name, size=15, weight="bold")
    figure.text(0.25 / width, 1 - 0.55 / height, meaning, color=PALE)


def _draw_edges(axes: Axes, planned: Plan, layout: Layout) -> None:
    graph = planned.spec.graph
    taken: list[Point] = []
    for edge in graph.edges:
        line, spots = route(layout, edge.key)
        axes.add_patch(
            FancyArrowPatch(
                path=Curve(line.points, line.codes), linewidth=1.2,
                arrowstyle="-|>,head_length=5,head_width=2.5",
                color=CYCLE if edge in graph.recurrent_edges else "#666666",
                shrinkA=0, shrinkB=0, zorder=1,
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


def _draw_nodes(axes: Axes, planned: Plan, layout: Layout) -> None:
    for node in planned.spec.graph.nodes:
        x, y = layout.place[node]
        colour = _colour(planned.spec.graph, node)
        axes.add_patch(
            FancyBboxPatch(
                (x - layout.box / 2 + 0.05, y - BOX_HEIGHT / 2 + 0.05),
                layout.box - 0.1, BOX_HEIGHT - 0.1, boxstyle="round,pad=0.05",
                facecolor=colour, edgecolor=INK, linewidth=0.9, zorder=3,
            )
        )  # fmt: skip
        style: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
        axes.text(x, y - 0.01, node, color="white" if colour == OUTPUT else INK, **style)
        names = [name for name, out in planned.spec.outputs.items() if out.group == node]
        if names:
            axes.text(x, y - 0.26, "output " + ", ".join(names), size=7, color="#00684B", **style)


def _colour(graph: NetworkGraph, node: str) -> str:
    return INPUT if node in graph.inputs else OUTPUT if node in graph.outputs else GROUP


def _draw_window(axes: Axes, planned: Plan, label: str, output: str, layout: Layout) -> None:
    """Frames to the right, nodes downwards; what the last frame's output is made of in orange."""
    rollout, last = planned.rollouts[label], planned.frames - 1
    nodes = sorted(rollout.graph.nodes, key=layout.layer.__getitem__)
    row = {node: number for number, node in enumerate(nodes)}
    exists = first_frames(rollout)
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
            axes.plot(
                frame, row[node], "s" if node in rollout.graph.inputs else "o", markersize=8.5,
                color="white" if not there else CONE if lit else FAINT,
                markeredgecolor=INK if lit else "#8A8A8A", markeredgewidth=0.9, zorder=4,
            )  # fmt: skip
    _mark_responses(axes, planned, label, output, row)
    axes.set(xlim=(-0.5, last + 0.5), ylim=(len(nodes) - 0.45, -0.55))
    axes.set_xticks(range(0, last + 1, 5 if last > 30 else 1))
    axes.set_yticks(range(len(nodes)), nodes)
    axes.tick_params(length=0, pad=5)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"frame ({milliseconds_told(planned, 1)} each)", labelpad=3)
    factor = planned.responses(label)[output].period_steps
    axes.set_title(label, loc="left", weight="bold", size=11, pad=8)
    axes.set_title(f"inference factor {factor}", loc="right", size=9, color=PALE, pad=8)


def _draw_window_edges(
    axes: Axes, rollout: Rollout, row: Mapping[str, int], cone: set[tuple[int, str]], last: int
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
    axes: Axes, planned: Plan, label: str, output: str, row: Mapping[str, int]
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
        when = f"frame {frame}, {milliseconds_told(planned, frame)}" + (
            " (not drawn)" if frame >= planned.frames else ""
        )
        handles.append(Line2D([], [], **style, markersize=size * 0.65, label=f"{text}: {when}"))
    below = -0.48 / (len(row) * ROW)
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.02, below), frameon=False,
        fontsize=8.5, borderpad=0, borderaxespad=0, handletextpad=0.5, labelspacing=0.45,
    )  # fmt: skip


def _keys(figure: Figure, page: Page, planned: Plan, output: str) -> None:
    """What the colours mean: of the network below it, of the windows at the foot."""

    def dot(colour: str, text: str, marker: str = "o", edge: str = INK) -> Line2D:
        return Line2D([], [], marker=marker, color=colour, markeredgecolor=edge, markersize=8.5,
                      linestyle="none", label=text)  # fmt: skip

    def key(handles: list[Line2D], y: float) -> None:
        figure.legend(
            handles=handles, loc="center", bbox_to_anchor=(0.5, y / page.height), frameon=False,
            ncols=len(handles), fontsize=8.5, handletextpad=0.5, handlelength=1.4,
            columnspacing=1.8,
        )  # fmt: skip

    of_network = [
        dot(INPUT, "input", "s"),
        dot(GROUP, "layer group", "s"),
        dot(OUTPUT, "group with an output", "s"),
    ]
    if planned.spec.graph.recurrent_edges:
        of_network.append(Line2D([], [], color=CYCLE, linewidth=1.6, label="edge on a cycle"))
    of_windows = [
        dot(CONE, f"light cone: all that can have influenced {output} at frame "
            f"{planned.frames - 1}"),
        dot(FAINT, "any other state", edge="#8A8A8A"),
        dot("white", "does not exist yet", edge="#8A8A8A"),
    ]  # fmt: skip
    key(of_network, page.height - page.network.top - page.network.height - KEY / 2)
    key(of_windows, 0.25)
