"""The table of figures in the README: runs what it needs and prints it, as Markdown.

    python benchmarks/summary.py [--repeats 3]

Everything is measured anew, one after the other, in about a quarter of an hour; each of the
benchmarks that it runs leaves its own table, JSON and picture as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from report import arguments, machine_facts, told

HERE = Path(__file__).parent


def measured(folder: Path, name: str, *options: str) -> dict[str, Any]:
    """What a benchmark wrote; its own output goes through."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(folder), *options]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return dict(json.loads((folder / f"{name}.json").read_text()))


def by(report: dict[str, Any], key: str) -> dict[Any, dict[str, Any]]:
    """Its rows by one of their columns."""
    return {row[key]: row for row in report["rows"]}


def hop_lines(folder: Path) -> list[tuple[str, str, str]]:
    """What a hop costs."""
    row = by(measured(folder, "hop", "--kib", "1024"), "state_kib")[1024]
    return [
        (
            "a hop of 1 MiB between processes at 30 Hz, median",
            f"{row['shared_memory_p50_us'] / 1e3:.2f} ms",
            f"as a message {row['message_p50_us'] / 1e3:.2f} ms; one copy and a wake-up "
            f"{row['floor_us'] / 1e3:.2f} ms; a small rclpy message "
            f"{row['small_message_us'] / 1e3:.2f} ms",
        ),
        ("the same within one process", f"{row['reference_p50_us'] / 1e3:.2f} ms", "no copy"),
    ]


def throughput_lines(folder: Path, repeats: str) -> list[tuple[str, str, str]]:
    """Two groups in two processes."""
    options = ("--groups", "2", "--work-ms", "2", "10", "--repeats", repeats)
    return [
        (
            f"two groups of {row['work_ms']:.1f} ms in two processes",
            f"{row['processes_per_s']:.0f} frames/s",
            f"{row['processes_of_bound']:.2f} of the bound; on cores of their own "
            f"{row['on_cores_per_s']:.0f} ({row['on_cores_of_bound']:.2f}); one node "
            f"{row['one_node_per_s']:.0f}",
        )
        for row in measured(folder, "throughput", *options)["rows"]
    ]


def statestream_lines(folder: Path, repeats: str) -> list[tuple[str, str, str]]:
    """Statestream's networks."""
    nets = {"b1": "network (b1)", "c": "network (c)", "16": "16 groups of one pixel"}
    report = measured(folder, "statestream", "--nets", *nets, "--repeats", repeats)
    lines = []
    for net, row in by(report, "net").items():
        apart = row["processes_per_s"]
        beside = "" if apart is None else f", a process each {apart:.0f}"
        lines.append(
            (
                f"{nets[net]} of Statestream, composed",
                f"{row['composed_per_s']:.0f} frames/s",
                f"{row['composed_of_bound']:.2f} of the bound{beside}; the toolbox "
                f"{row['toolbox_per_s']:g}",
            )
        )
    return lines


def peer_lines(folder: Path, repeats: str) -> list[tuple[str, str, str]]:
    """CPU time outside the layers."""
    rows = by(
        measured(folder, "peers", "--only", "naive", "processes", "--rounds", repeats), "peer"
    )
    ours = rows["ours, one process per group"]["outside_layers_ms"]
    naive = rows["naive pipeline"]["outside_layers_ms"]
    return [
        (
            "CPU outside the layers: six processes, 1 MiB states, 30 Hz",
            f"{ours:.1f} ms a frame",
            f"a naive pipeline of Image messages {naive:.1f} ms ({ours / naive:.2f})",
        )
    ]


def killed_lines(folder: Path) -> list[tuple[str, str, str]]:
    """Torn states."""
    (row,) = measured(folder, "writers_killed")["rows"]
    return [
        (
            f"{row['states']:,} states of 1 MiB, {row['writers_killed']} writers killed",
            f"{row['torn']} torn",
            f"memory left behind {max(0.0, row['shared_memory_left_mib']):.1f} MiB",
        )
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    folder, repeats = given.out, str(given.repeats)
    lines = [
        *hop_lines(folder),
        *throughput_lines(folder, repeats),
        *statestream_lines(folder, repeats),
        *peer_lines(folder, repeats),
        *killed_lines(folder),
    ]
    print("| | measured | beside it |\n|---|---|---|")
    for what, figure, beside in lines:
        print(f"| {what} | **{figure}** | {beside} |")
    print(f"\n{told(machine_facts())}")


if __name__ == "__main__":
    main()
