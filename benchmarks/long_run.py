"""Memory over a long lockstep run: it must stay flat.

    python benchmarks/long_run.py [--frames 20000] [--processes]

Prints the resident memory of this process (composed) or of each group's process at every tenth
part of the run, and the growth from the second part to the last.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from chain import Work, chain, write
from rates import feed
from report import Report, arguments, finish, told

from streaming_net_ros.launching import process_list
from streaming_net_ros.network import read_network_file
from streaming_net_ros.nodes.run import run_network
from streaming_net_ros.nodes.settings import Settings

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if int(parent) == pid:
                found.append(int(entry.name))
    return found


def draw(report: Report) -> Any:
    """Growth of every process over the frames."""
    from picture import COMPOSED, PROCESSES, new_figure

    figure = new_figure("Resident memory over a long lockstep run", told(report.machine), 7.5)
    axes = figure.subplots()
    frames = [row["frames"] for row in report.rows]
    for number, name in enumerate(name for name in report.rows[0] if name.endswith("_mib")):
        heights = [row[name] - report.rows[0][name] for row in report.rows]
        axes.plot(frames, heights, "o-", color=PROCESSES if number else COMPOSED, markersize=3,
                  label=name.removesuffix("_mib") if number < 2 else None)  # fmt: skip
    axes.set(xlabel="frames", ylabel="MiB more than at the first mark")
    axes.legend()
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--processes", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = write(chain(4, Work(96, 1)), Path(folder))
        spec = read_network_file(path)
        groups = [group.name for group in spec.groups]
        shares = process_list(str(path), groups, namespace="bench") if given.processes else None

        def on_progress(frames: int) -> None:
            if frames >= (len(rows) + 1) * given.frames // 10:
                row = {"frames": frames, "this_process_mib": resident_mib(os.getpid())}
                for number, pid in enumerate(children(os.getpid()) if given.processes else []):
                    row[f"process_{number + 1}_mib"] = resident_mib(pid)
                rows.append(row)
                print(frames, "frames", flush=True)

        result = run_network(
            spec, Settings(path), feed(spec, given.frames), lambda *_: None, processes=shares,
            namespace="bench", on_progress=on_progress,
        )  # fmt: skip
    growth = {name: rows[-1][name] - rows[1][name] for name in rows[1] if name != "frames"}
    notes = (
        f"{result.frames} frames in {result.seconds:.0f} s; growth from the second mark on: "
        + ", ".join(f"{mib:+.2f} MiB" for mib in growth.values()),
    )
    name = "long_run_processes" if given.processes else "long_run"
    question = "Does a long run stay within its memory?"
    finish(Report(name, question, rows, notes, {"growth": growth}), given, draw)


if __name__ == "__main__":
    main()
