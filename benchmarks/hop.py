"""What a hop costs: from the end of one group's layers to the beginning of the next one's.

    python benchmarks/hop.py [--kib 4 64 1024 4096 16384] [--rate-hz 30] [--seconds 8]

A live network of two groups (``hop_groups``): the first writes into its state when that is ready,
the second reads it when its layers begin. *Reference*: both in one process; *shared_memory* and
*message*: a process each. Beside them the floor of the machine, at the same rate: one copy of the
state, the waking of a process (an eventfd), and a small message of plain rclpy.
"""

from __future__ import annotations

import os
import statistics
import struct
import tempfile
from pathlib import Path
from typing import Any

import yaml
from floor import copy_seconds, small_message_seconds, wake_seconds
from rates import feed
from report import Report, arguments, finish, told

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.frames import quantile
from streaming_net_ros.launching import process_list
from streaming_net_ros.network import read_network_file
from streaming_net_ros.nodes.run import run_network
from streaming_net_ros.nodes.settings import Settings

CHANNELS = 16
WAYS = ("reference", "shared_memory", "message")


def network(kib: int, rate_hz: float) -> dict[str, Any]:
    """A network file's content: a state of about so many KiB goes from one group to another."""
    side = round((kib * 1024 / 4 / CHANNELS) ** 0.5)
    return {
        "name": "hop",
        "rate_hz": rate_hz,
        "inputs": {"image": {"type": "image", "height": 8, "width": 8, "colour": "mono"}},
        "groups": [
            {"name": "make", "edges": [{"source": "image"}], "factory": "hop_groups:make",
             "args": {"channels": CHANNELS, "side": side}, "shape": [CHANNELS, side, side]},
            {"name": "take", "edges": [{"source": "make"}], "factory": "hop_groups:take",
             "shape": [1]},
        ],
        "outputs": {"hop": {"group": "take", "publish": "tensor"}},
    }  # fmt: skip


def hops_us(path: Path, way: str, frames: int) -> list[float]:
    """Every hop of a run, as the second group measured it; the first fifth is left out."""
    spec = read_network_file(path)
    transport = "message" if way == "message" else "auto"
    settings = Settings(path, mode="realtime", transport=transport)
    shares = process_list(
        str(path), ["make", "take"], composed=way == "reference", namespace="hop",
        parameters=settings.parameters(),
    )  # fmt: skip
    got: list[float] = []

    def hear(topic: str, kind: str, stamp_ns: int, cdr: bytes) -> None:
        if topic.endswith("response/hop"):
            got.append(struct.unpack("<f", cdr[-4:])[0])

    run_network(spec, settings, feed(spec, frames), hear, processes=shares, namespace="hop")
    return got[len(got) // 5 :]


def floor_of(kib: int, rate_hz: float, times: int, wake_us: float, message_us: float) -> Any:
    """What the machine itself takes."""
    copy_us = statistics.median(copy_seconds(kib * 1024, rate_hz, times)) * 1e6
    return {"copy_us": copy_us, "floor_us": copy_us + wake_us, "small_message_us": message_us}


def row_of(kib: int, hops: dict[str, list[float]], floor: dict[str, float]) -> dict[str, Any]:
    """One size."""
    row: dict[str, Any] = {"state_kib": kib}
    for way in WAYS:
        row[f"{way}_p50_us"] = quantile(hops[way], 0.5)
        row[f"{way}_p99_us"] = quantile(hops[way], 0.99)
        row[f"{way}_max_us"] = max(hops[way])
    row.update(floor)
    row["of_message"] = row["shared_memory_p50_us"] / row["message_p50_us"]
    allowed = 3 * floor["floor_us"] + floor["small_message_us"]
    row["of_3_floors_and_message"] = row["shared_memory_p50_us"] / allowed
    return row


def draw(report: Report) -> Any:
    """Medians over size, with the way to the 99th percentile."""
    from picture import COMPOSED, INK, NAIVE, PALE, PROCESSES, decades, legend_above, new_figure

    figure = new_figure(
        "A hop, from state ready to compute begins", told(report.machine), 10.5, 4.6
    )
    axes = figure.subplots()
    sizes = [row["state_kib"] for row in report.rows]
    kinds = (("message", NAIVE, "as a message"), ("shared_memory", PROCESSES, "in shared memory"),
             ("reference", COMPOSED, "by reference (one process)"))  # fmt: skip
    for way, colour, label in kinds:
        medians = [row[f"{way}_p50_us"] / 1e3 for row in report.rows]
        worst = [row[f"{way}_p99_us"] / 1e3 for row in report.rows]
        axes.plot(sizes, medians, "o-", color=colour, label=label, linewidth=1.8)
        axes.fill_between(sizes, medians, worst, color=colour, alpha=0.12, linewidth=0)
    floors = [row["floor_us"] / 1e3 for row in report.rows]
    axes.plot(sizes, floors, "--", color=INK, linewidth=1.2, label="floor: one copy and a wake-up")
    axes.axhline(report.rows[0]["small_message_us"] / 1e3, color=PALE, linewidth=1.0,
                 linestyle=":", label="a small message of plain rclpy")  # fmt: skip
    decades(axes)
    axes.set_xticks(sizes, [f"{s} KiB" if s < 1024 else f"{s // 1024} MiB" for s in sizes])
    axes.set(xlabel="size of the state", ylabel="ms (median; shade: to the 99th percentile)")
    legend_above(figure, axes)
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kib", type=int, nargs="+", default=[4, 64, 1024, 4096, 16384])
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    given = parser.parse_args()
    here = str(Path(__file__).parent)  # the processes import hop_groups
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    frames = round(given.rate_hz * given.seconds)
    wake_us = statistics.median(wake_seconds(given.rate_hz, frames)) * 1e6
    message_us = statistics.median(small_message_seconds(given.rate_hz, frames)) * 1e6
    rows = []
    with tempfile.TemporaryDirectory() as folder, progress_bar("measuring", "runs") as advance:
        path = Path(folder) / "hop.yaml"
        for done, kib in enumerate(given.kib):
            path.write_text(yaml.safe_dump(network(kib, given.rate_hz)))
            hops = {}
            for at, way in enumerate(WAYS):
                advance(len(WAYS) * done + at, len(WAYS) * len(given.kib), f"{kib} KiB {way}")
                hops[way] = hops_us(path, way, frames)
            floor = floor_of(kib, given.rate_hz, frames // 4, wake_us, message_us)
            rows.append(row_of(kib, hops, floor))
    notes = (f"at {given.rate_hz:g} Hz; an eventfd wakes another process in {wake_us:.0f} µs",)
    question = "What does a hop cost, from a state that is ready to the compute that uses it?"
    finish(Report("hop", question, rows, notes), given, draw)


if __name__ == "__main__":
    main()
