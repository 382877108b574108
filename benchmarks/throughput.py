"""Frames per second in lockstep against the bound min(1/slowest group, cores/sum of groups).

    python benchmarks/throughput.py [--work-ms 2 10 25] [--groups 2 4] [--repeats 3]

Everything is measured in one run, in turns: the groups' compute times alone, one node that runs
the whole network per frame, the groups composed in one process, and one process per group (the
frame source rides with the first group), where the system puts them and on cores of their own
(``streaming-net tune --cores all``). The feeding process takes part of the same cores in every
case.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

from chain import chain, work_for, write
from rates import bound_of, cores_there, frames_per_second, one_node_seconds, write_cores
from report import Report, arguments, finish, median_row, told

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.network import read_network_file


def measure(path: Path, frames: int) -> dict[str, Any]:
    """One repeat of one chain."""
    spec = read_network_file(path)
    # Before, between and after the runs: a machine has fast and slow phases.
    bounds = [bound_of(spec)]
    composed = frames_per_second(path, frames, processes=False)
    bounds.append(bound_of(spec))
    apart = frames_per_second(path, frames, processes=True)
    bounds.append(bound_of(spec))
    cores = write_cores(spec, bounds[0], path.with_suffix(".tuning"))
    pinned = frames_per_second(path, frames, processes=True, tuning=cores)
    bounds.append(bound_of(spec))
    bound_per_s = statistics.fmean(bound.frames_per_s for bound in bounds)
    return {
        "groups": len(spec.groups),
        "work_ms": statistics.fmean(max(bound.seconds) for bound in bounds) * 1e3,
        "bound_per_s": bound_per_s,
        "one_node_per_s": 1 / one_node_seconds(spec),
        "composed_per_s": composed,
        "composed_of_bound": composed / bound_per_s,
        "processes_per_s": apart,
        "processes_of_bound": apart / bound_per_s,
        "on_cores_per_s": pinned,
        "on_cores_of_bound": pinned / bound_per_s,
    }


def draw(report: Report) -> Any:
    """Shares of the bound."""
    from picture import (
        COMPOSED,
        INK,
        ON_CORES,
        ONE_NODE,
        PROCESSES,
        grouped_bars,
        legend_above,
        new_figure,
    )

    rows = report.rows
    figure = new_figure("Throughput in lockstep, as a share of the bound", told(report.machine),
                        max(8.0, 1.5 * len(rows) + 2))  # fmt: skip
    axes = figure.subplots()
    shares = [row["one_node_per_s"] / row["bound_per_s"] for row in rows]
    grouped_bars(
        axes,
        [f"{row['groups']} groups of\n{row['work_ms']:.1f} ms" for row in rows],
        [
            ("one node", ONE_NODE, shares),
            ("composed", COMPOSED, [row["composed_of_bound"] for row in rows]),
            ("one process per group", PROCESSES, [row["processes_of_bound"] for row in rows]),
            (
                "the same, on cores of their own",
                ON_CORES,
                [row["on_cores_of_bound"] for row in rows],
            ),
        ],
    )
    axes.axhline(1, color=INK, linewidth=1.2)
    axes.set(ylabel="of the bound")
    legend_above(figure, axes)
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--work-ms", type=float, nargs="+", default=[2.0, 10.0, 25.0])
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    asked = list(itertools.product(given.work_ms, given.groups))
    taken: list[list[dict[str, Any]]] = [[] for _ in asked]
    speed_up = []
    with tempfile.TemporaryDirectory() as folder, progress_bar("measuring", "runs") as advance:
        works = {work_ms: work_for(work_ms / 1e3) for work_ms in given.work_ms}
        paths = [write(chain(groups, works[work_ms]), Path(folder)) for work_ms, groups in asked]
        for repeat in range(given.repeats):  # in turns: a noisy neighbour hits all alike
            speed_up.append(cores_there())
            for number, path in enumerate(paths):
                advance(repeat * len(paths) + number, given.repeats * len(paths), "")
                taken[number].append(measure(path, given.frames))
    rows = [median_row(repeats) for repeats in taken]
    notes = (
        f"medians of {given.repeats} repeats in turns, {given.frames} frames each",
        f"cores that convolutions really had at once: {min(speed_up):.2f} to {max(speed_up):.2f}",
    )
    question = "How much of the bound min(1/slowest, cores/sum) does a network reach in lockstep?"
    finish(Report("throughput", question, rows, notes, {"repeats": taken}), given, draw)


if __name__ == "__main__":
    main()
