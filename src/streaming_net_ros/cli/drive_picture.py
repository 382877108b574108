"""The picture of ``streaming-net drive``: lines on a track, largest speeds, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.driving.closed_loop import Drive
    from streaming_net_ros.evaluation.driving.speeds import Outcome
    from streaming_net_ros.simulation import World

# Okabe and Ito's palette: told apart by colour-blind eyes too.
COLOURS = {
    "streaming": "#0072B2",
    "hybrid": "#56B4E9",
    "pipelined": "#E69F00",
    "sequential": "#D55E00",
}
REFERENCE = "#777777"


def draw_drives(
    path: Path, world: World, outcomes: Sequence[Outcome], common_mps: float, conditions: str
) -> None:
    """Write the picture.

    Args:
        path: a PNG or SVG file.
        world: whose track is drawn: the first one of each outcome.
        outcomes: of all entrants; the first and the last that is no reference are drawn on it.
        common_mps: the speed of their lines.
        conditions: in words.
    """
    figure = Figure(figsize=(10.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.0, 1.12))
    shown = [outcome for outcome in outcomes if not outcome.entrant.is_reference]
    shown = shown or list(outcomes)
    _track(figure.add_subplot(grid[0]), world, shown[-1:] + shown[: len(shown) > 1], common_mps)
    panels = grid[1].subgridspec(2, 1, height_ratios=(1, 1.25))
    upper = figure.add_subplot(panels[0])
    _bars(upper, outcomes)
    _errors(figure.add_subplot(panels[1], sharex=upper), outcomes)
    figure.suptitle(_title(shown[0], shown[-1]), fontweight="bold", fontsize=13)
    figure.supxlabel(conditions, fontsize=9, color="0.35")
    figure.savefig(path, dpi=140)


def _title(first: Outcome, last: Outcome) -> str:
    """What was found, if both have a largest speed and it is not one and the same."""
    fast, slow = first.largest_mps, last.largest_mps
    if fast is None or slow is None or first is last:
        return "The same network, a faster and faster car"
    return (
        f"The same network at equal compute: {first.entrant.name} keeps the track at "
        f"{fast / slow:.1f} times the speed of {last.entrant.name}"
    )


def _colour(outcome: Outcome) -> str:
    return COLOURS.get(outcome.entrant.name, REFERENCE)


def _track(axes: Axes, world: World, shown: Sequence[Outcome], common_mps: float) -> None:
    """The lines that were driven, seen from above."""
    track = world.track
    half_m = track.lane_width_m / 2
    sides = [track.line_beside(side * half_m) for side in (-1, 1)]
    closed = [np.vstack([side, side[:1]]) for side in sides]
    ring = np.vstack([closed[0], closed[1][::-1]])
    axes.fill(*ring.T, color="0.93", lw=0)
    for side in closed:
        axes.plot(*side.T, color="0.6", lw=1)
    axes.plot(*np.vstack([track.points_m, track.points_m[:1]]).T, color="0.7", lw=0.9,
              dashes=(6, 5))  # fmt: skip
    for outcome in shown:
        _line(axes, outcome.common[0], outcome)
    axes.set_title(f"one lap at {common_mps:g} m/s, from above", fontsize=11)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.legend(loc="center", frameon=False, fontsize=10, reverse=True)


def _line(axes: Axes, drive: Drive, outcome: Outcome) -> None:
    """One drive, cut where the car was put back; a cross where it left the track."""
    trace, name, colour = drive.trace, outcome.entrant.name, _colour(outcome)
    count = drive.score.off_track_events
    label = f"{name}: " + (f"left the track {count} times" if count else "kept the track")
    ends = np.flatnonzero(trace.has_left) + 1
    points = np.stack([trace.x_m, trace.y_m], axis=1)
    for number, part in enumerate(np.split(points, ends)):
        axes.plot(*part.T, color=colour, lw=2.2, label=label if number == 0 else None,
                  solid_capstyle="round")  # fmt: skip
    axes.plot(*points[trace.has_left].T, "X", color=colour, ms=10, mec="white", mew=1.2, ls="")


def _bars(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """The largest speed of each: bar for the mean, dot for each track."""
    for row, outcome in enumerate(outcomes):
        colour, mean = _colour(outcome), outcome.largest_mps
        speeds = [search.largest_mps or 0.0 for search in outcome.searches]
        is_reference = outcome.entrant.is_reference
        axes.barh(row, mean or 0.0, height=0.62, color="none" if is_reference else colour,
                  edgecolor=colour, hatch="////" if is_reference else None, lw=1)  # fmt: skip
        # A little apart, so that equal speeds do not hide each other.
        heights = row + 0.36 * np.linspace(-0.5, 0.5, len(speeds) + 2)[1:-1]
        axes.plot(speeds, heights, "o", color="white", mec="black", ms=4.5, mew=0.8)
        text = "too fast at the slowest" if mean is None else f"{mean:.1f}"
        axes.annotate(text, (max([mean or 0.0, *speeds]), row), xytext=(8, 0),
                      textcoords="offset points", va="center", fontsize=10,
                      fontweight="normal" if is_reference else "bold")  # fmt: skip
    axes.set_yticks(range(len(outcomes)), [outcome.entrant.name for outcome in outcomes])
    axes.invert_yaxis()
    axes.tick_params(left=False, bottom=False, labelsize=10, labelbottom=False)
    axes.spines[:].set_visible(False)
    tracks = len(outcomes[0].searches)
    axes.set_title(f"largest speed that keeps the track (m/s; dots: {tracks} tracks)",
                   fontsize=11, loc="left")  # fmt: skip


def _errors(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Distance from the centre line against speed, up to where the track is left."""
    for outcome in outcomes:
        rows: dict[float, list[float]] = {}
        for search in outcome.searches:
            for score in search.scores:
                if score.is_kept and score.lateral_mean_m is not None:
                    rows.setdefault(score.asked_mps, []).append(100 * score.lateral_mean_m)
        # Beyond the speed that all tracks bear, the mean would be that of the easy ones.
        whole = {s: fmean(v) for s, v in rows.items() if len(v) == len(outcome.searches)}
        if not whole:
            continue
        style = "--" if outcome.entrant.is_reference else "-"
        colour = _colour(outcome)
        axes.plot(list(whole), list(whole.values()), style, color=colour, lw=2.2)
        axes.plot(*list(whole.items())[-1], "X", color=colour, ms=9, mec="white", mew=1)
    axes.set(xlabel="speed of the car (m/s)", ylim=(0, None))
    axes.set_xlim(0, 1.18 * axes.get_xlim()[1])  # room for the figures beside the bars
    axes.text(0.99, 0.04, "cross: any faster, and some track is left", fontsize=9,
              color="0.35", ha="right", transform=axes.transAxes)  # fmt: skip
    axes.set_title("mean distance from the centre line (cm)",
                   fontsize=11, loc="left")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", lw=0.7)
    axes.set_axisbelow(True)
