"""Throughput against the bound over work, groups, edges and state size; the break-even curve.

    python benchmarks/scaling.py [--quick] [--only work groups edges state] [--repeats 1]

In lockstep, the groups *composed* in one process and one *process* each, beside one node that runs
the whole network group after group (without any ROS: its upper limit). Each sweep changes one
thing:

    work    2 groups, 0.1 to 100 ms each: from where on streaming beats one node (break-even)
    groups  2 to 32 groups of 2 ms
    edges   8 groups of 2 ms, each hears 1 to 7 groups before it
    state   3 groups of 2 ms, states of 4 KiB to 4 MiB

The groups' compute times are measured right before and after every run: they make the bound
min(1 / slowest, cores / sum).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from chain import chain, work_for, write
from rates import bound_of, cores_there, frames_per_second, one_node_seconds
from report import Report, Row, arguments, finish, median_row, told

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.network import read_network_file

_FULL_MS, _SIDE = 2.0, 32


@dataclass(frozen=True)
class Point:
    """One network of a sweep."""

    sweep: str
    groups: int
    work_ms: float
    fan_in: int = 1
    side: int = _SIDE

    @property
    def state_kib(self) -> float:
        """Size of a state: 16 channels of float32."""
        return self.side**2 / 16

    @property
    def edges(self) -> int:
        """Edges between groups, and the one from the image."""
        return 1 + sum(min(self.fan_in, number) for number in range(1, self.groups))


SWEEPS = {
    "work": [Point("work", 2, ms) for ms in (0.1, 0.3, 1, 3, 10, 30, 100)],
    "groups": [Point("groups", groups, _FULL_MS) for groups in (2, 4, 8, 16, 32)],
    "edges": [Point("edges", 8, _FULL_MS, fan_in=fan_in) for fan_in in (1, 2, 4, 7)],
    "state": [Point("state", 3, _FULL_MS, side=side) for side in (8, 32, 128, 256)],
}
QUICK = {
    "work": SWEEPS["work"][1::2],
    "groups": SWEEPS["groups"][:3:2],
    "edges": SWEEPS["edges"][:3:2],
    "state": SWEEPS["state"][1:3],
}


def measure(point: Point, path: Path, seconds: float, processes_up_to: int) -> dict[str, Any]:
    """One repeat of one point."""
    spec = read_network_file(path)
    before = bound_of(spec, 0.6)
    frames = round(seconds * before.frames_per_s)
    frames = min(max(frames, 30), 400) + 5 * point.groups  # some of them fill the pipe
    composed = frames_per_second(path, frames, processes=False)
    apart = None
    if point.groups <= processes_up_to:
        apart = frames_per_second(path, frames, processes=True)
    one_node = 1 / one_node_seconds(spec, 0.6)
    bound = (before.frames_per_s + bound_of(spec, 0.6).frames_per_s) / 2
    return {
        "sweep": point.sweep,
        "groups": point.groups,
        "asked_ms": float(point.work_ms),
        "slowest_ms": max(before.seconds) * 1e3,
        "edges": point.edges,
        "state_kib": point.state_kib,
        "bound_per_s": bound,
        "one_node_per_s": one_node,
        "composed_per_s": composed,
        "processes_per_s": apart,
        "composed_of_bound": composed / bound,
        "processes_of_bound": None if apart is None else apart / bound,
        "composed_of_one_node": composed / one_node,
        "processes_of_one_node": None if apart is None else apart / one_node,
    }


def break_even_ms(rows: Sequence[Row], name: str) -> float | None:
    """From which work per group on a ratio stays above 1, between two points on a log scale.

    None: it does not at the last point.
    """
    points = sorted((row["slowest_ms"], row[name]) for row in rows if row[name] is not None)
    if not points or points[-1][1] < 1:
        return None
    found = points[0][0]
    for (left_ms, left), (right_ms, right) in pairwise(points):
        if left < 1 <= right:
            share = (1 - left) / (right - left)
            found = math.exp((1 - share) * math.log(left_ms) + share * math.log(right_ms))
    return found


def draw(report: Report) -> Any:
    """The break-even curve, and the share of the bound over everything else."""
    from picture import COMPOSED, INK, PALE, PROCESSES, decades, legend_above, new_figure

    kinds = (("composed", COMPOSED, "composed"), ("processes", PROCESSES, "one process per group"))
    along = {
        "work": ("slowest_ms", "work of each of 2 groups (ms)"),
        "groups": ("groups", "groups of 2 ms"),
        "edges": ("edges", "edges among 8 groups of 2 ms"),
        "state": ("state_kib", "state (KiB), 3 groups of 2 ms"),
    }
    there = [name for name in along if any(row["sweep"] == name for row in report.rows)]
    panels = [("of_one_node", "work")] * ("work" in there) + [("of_bound", n) for n in there]
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = new_figure("Throughput in lockstep", told(report.machine), 3.7 * columns + 0.5,
                        2.9 * lines + 0.9)  # fmt: skip
    grid = figure.subplots(lines, columns, squeeze=False).flat
    for (of, sweep), axes in zip(panels, grid, strict=False):
        rows = [row for row in report.rows if row["sweep"] == sweep]
        name, label = along[sweep]
        for kind, colour, title in kinds:
            curve = [(row[name], row[f"{kind}_{of}"]) for row in rows
                     if row[f"{kind}_{of}"] is not None]  # fmt: skip
            axes.plot(*zip(*curve, strict=True), "o-", color=colour, label=title, markersize=4)
        if of == "of_one_node":
            ideal = [row["bound_per_s"] / row["one_node_per_s"] for row in rows]
            axes.plot([row[name] for row in rows], ideal, ":", color=PALE, label="bound")
        axes.axhline(1, color=INK, linewidth=1)
        decades(axes, "xy" if of == "of_one_node" else "x")
        axes.set(xlabel=label)
        axes.set_title("times one node" if of == "of_one_node" else "share of the bound")
        if of == "of_bound":
            axes.set_ylim(0, max(1.1, axes.get_ylim()[1]))
        if sweep in ("groups", "edges", "state"):
            axes.set_xticks([row[name] for row in rows])
    for axes in grid:
        axes.set_visible(False)
    legend_above(figure, figure.axes[0])
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a run, about")
    parser.add_argument(
        "--processes-up-to", type=int, default=8, metavar="GROUPS",
        help="larger networks are not run in processes (0.3 GiB each)",
    )  # fmt: skip
    given = parser.parse_args()
    sweeps = QUICK if given.quick else SWEEPS
    points = [point for name in given.only for point in sweeps[name]]
    taken: dict[Point, list[dict[str, Any]]] = {point: [] for point in points}
    speed_up = []
    with tempfile.TemporaryDirectory() as folder, progress_bar("measuring", "runs") as advance:
        works = {ms: work_for(ms / 1e3) for ms in {point.work_ms for point in points}}
        paths = {
            point: write(chain(point.groups, works[point.work_ms], fan_in=point.fan_in,
                               side=point.side), Path(folder))
            for point in points
        }  # fmt: skip
        done, total = 0, given.repeats * len(points)
        for _ in range(given.repeats):  # in turns: a noisy neighbour hits all alike
            speed_up.append(cores_there())
            for point, path in paths.items():
                advance(done, total, point.sweep)
                taken[point].append(measure(point, path, given.seconds, given.processes_up_to))
                done += 1
    rows = [median_row(repeats) for repeats in taken.values()]
    of_work = [row for row in rows if row["sweep"] == "work"]
    even = {kind: break_even_ms(of_work, f"{kind}_of_one_node")
            for kind in ("composed", "processes")}  # fmt: skip
    notes = [f"medians of {given.repeats} repeats; one node: without ROS, its upper limit",
             f"cores that convolutions really had at once: {min(speed_up):.2f} to "
             f"{max(speed_up):.2f}"]  # fmt: skip
    notes += [f"{kind}: faster than one node from {ms:.2g} ms per group on"
              for kind, ms in even.items() if ms is not None]  # fmt: skip
    question = "From how much work per group on does streaming pay, and what does each edge cost?"
    details = {"break_even_ms": even, "repeats": [*taken.values()]}
    finish(Report("scaling", question, rows, notes, details), given, draw)


if __name__ == "__main__":
    main()
