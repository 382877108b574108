"""Statestream's own networks: frames per second against the bound, beside the toolbox's.

    python benchmarks/statestream.py [--nets b b1 c 1 2 4 8 16 32] [--repeats 3] [--seconds 4]

Networks (b), (b1) and (c) are 3x3 convolutions with ReLU; the numbers are chains of so many groups
of one pixel, in which nothing is left but the hops (``networks/``). Every group is a node of its
own, all of them *composed* in one process or one *process* each, in lockstep. The bound is
min(1 / slowest group, cores / sum of groups) from the groups' compute times alone. All of it is
measured in turns, and medians are told. The toolbox's figures were measured on this kind of
machine (2 cores) with one process per layer; they do not come from this run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rates import Bound, bound_of, cores_there, frames_per_second
from report import Report, arguments, finish, median_row, told

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.network import read_network_file

NETWORKS = Path(__file__).parent / "networks"
TOOLBOX = {  # frames per second, one process per layer; (b), (b1), (c), then 1 to 32 groups
    "b": 116.0, "b1": 35.5, "c": 44.0,
    "1": 224.0, "2": 191.0, "4": 151.0, "8": 108.0, "16": 60.0, "32": 31.0,
}  # fmt: skip


def network_path(net: str) -> Path:
    """Its network file."""
    return NETWORKS / (f"trivial_{net}.yaml" if net.isdigit() else f"statestream_{net}.yaml")


def frames_for(bound: Bound, seconds: float) -> int:
    """Images that take about so long at the bound; enough to fill the pipe, and not too many."""
    fill = 5 * len(bound.seconds)
    return min(max(round(seconds * bound.frames_per_s), 40 + fill), 2000 + fill)


def measure(net: str, seconds: float, processes_up_to: int) -> dict[str, Any]:
    """One repeat of one network."""
    path = network_path(net)
    spec = read_network_file(path)
    before = bound_of(spec)
    frames = frames_for(before, seconds)
    composed = frames_per_second(path, frames, processes=False)
    apart = None
    if len(spec.groups) <= processes_up_to:
        apart = frames_per_second(path, frames, processes=True)
    after = bound_of(spec)
    bound = (before.frames_per_s + after.frames_per_s) / 2
    groups = len(spec.groups)
    return {
        "net": net,
        "groups": groups,
        "slowest_ms": max(before.seconds) * 1e3,
        "sum_ms": sum(before.seconds) * 1e3,
        "bound_per_s": bound,
        "composed_per_s": composed,
        "composed_of_bound": composed / bound,
        "processes_per_s": apart,
        "processes_of_bound": None if apart is None else apart / bound,
        "toolbox_per_s": TOOLBOX[net],
        "overhead_per_group_ms": (1 / composed - 1 / bound) / groups * 1e3,
    }


def draw(report: Report) -> Any:
    """Bars of the networks that compute, and curves of the chains that do not."""
    from picture import (
        COMPOSED,
        INK,
        PROCESSES,
        STATESTREAM,
        decades,
        grouped_bars,
        legend_above,
        new_figure,
        number_told,
    )

    rows = {row["net"]: row for row in report.rows}
    nets = [net for net in ("b", "b1", "c") if net in rows]
    chains = [row for net, row in rows.items() if net.isdigit()]
    figure = new_figure("Statestream's networks, every group a node of its own",
                        told(report.machine), 10.5, 4.2)  # fmt: skip
    panels = iter(figure.subplots(1, bool(nets) + bool(chains), squeeze=False)[0])
    kinds = (
        ("composed_per_s", COMPOSED, "composed"),
        ("processes_per_s", PROCESSES, "one process per group"),
        ("toolbox_per_s", STATESTREAM, "Statestream, one process per layer"),
    )
    if nets:
        axes = next(panels)
        rates = [[rows[net][name] for net in nets] for name, _, _ in kinds]
        bounds = [rows[net]["bound_per_s"] for net in nets]
        shares = [[rate and rate / bound for rate, bound in zip(of_kind, bounds, strict=True)]
                  for of_kind in rates]  # fmt: skip
        grouped_bars(
            axes,
            [f"({net})\nbound {number_told(bound)}/s"
             for net, bound in zip(nets, bounds, strict=True)],
            [(label, colour, heights)
             for (_, colour, label), heights in zip(kinds, shares, strict=True)],
            rates,
        )  # fmt: skip
        axes.axhline(1, color=INK, linewidth=1.2)
        axes.set(ylabel="of the bound", ylim=(0, 1.12))
        axes.set_title("convolutions: frames/s (on the bars) and share of the bound")
    if chains:
        axes = next(panels)
        for name, colour, label in kinds:
            there = [(row["groups"], row[name]) for row in chains if row[name] is not None]
            axes.plot(*zip(*there, strict=True), "o-", color=colour, label=label, linewidth=1.8)
        decades(axes)
        axes.set_xticks([row["groups"] for row in chains])
        axes.set(xlabel="groups in the chain", ylabel="frames/s")
        axes.set_title("one pixel: nothing left but the hops")
    legend_above(figure, axes)
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="+", choices=TOOLBOX, default=list(TOOLBOX))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a run, about")
    parser.add_argument("--processes-up-to", type=int, default=8, metavar="GROUPS",
                        help="longer chains are not run in processes (0.3 GiB each)")  # fmt: skip
    given = parser.parse_args()
    taken: dict[str, list[dict[str, Any]]] = {net: [] for net in given.nets}
    speed_up = []
    with progress_bar("measuring", "runs") as advance:
        done, total = 0, given.repeats * len(given.nets)
        for _ in range(given.repeats):  # in turns: a noisy neighbour hits all alike
            speed_up.append(cores_there())
            for net in given.nets:
                advance(done, total, network_path(net).stem)
                taken[net].append(measure(net, given.seconds, given.processes_up_to))
                done += 1
    rows = [median_row(repeats) for repeats in taken.values()]
    notes = (
        f"medians of {given.repeats} repeats in turns; compute of each group alone, one thread",
        f"cores that convolutions really had at once: {min(speed_up):.2f} to {max(speed_up):.2f}",
        "toolbox: figures of Statestream (Theano) on this kind of machine, not of this run",
    )
    question = "How near do Statestream's own networks come to the bound of their arithmetic?"
    finish(Report("statestream", question, rows, notes, {"repeats": taken}), given, draw)


if __name__ == "__main__":
    main()
