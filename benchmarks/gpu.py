"""A network on one GPU: the streaming frame as one CUDA graph, beside what else one could do.

    python benchmarks/gpu.py [--network NETWORK.yaml] [--repeats 3] [--seconds 1]

Frames per second, each frame with its image from pinned memory and its answer back into it:

    frame graph      the streaming frame as one CUDA graph, a branch for each group
    group streams    the same without a graph: each group eagerly, on a stream of its own
    eager            the sequential network, layer by layer, as torch runs it
    compiled         the sequential network by torch.compile
    one CUDA graph   the sequential network as one CUDA graph

The bound is 1 / slowest group, each group alone as a CUDA graph. All of it is measured in turns,
and medians are told. What goes between host and GPU in a frame is counted by torch's profiler:
the image up, the answer down, and nothing of the states between. The exit code is 0 if the frame
graph takes at most 1.15 times the slowest group or beats the one CUDA graph, and copies no state.
Without a GPU there is nothing to measure: one line says so, and the exit code is 0.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_ways import SEQUENTIAL, STREAMING, Feed, Frame, contenders, groups_alone
from report import Report, arguments, finish, median_row, told

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.network import NetworkSpec, read_network_file

NETWORK = Path(__file__).parent / "networks" / "resnet_8.yaml"
NEAR_BOUND = 1.15
_BURST = 20  # frames between two looks at the clock
_PROFILED = 10


def frames_per_second(frame: Frame, device: torch.device, seconds: float) -> float:
    """Frames that are queued one after the other, until the last one is computed."""
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    count = 0
    with torch.inference_mode():
        frame()
        wait()
        begun_s = time.perf_counter()
        while time.perf_counter() - begun_s < seconds:
            for _ in range(_BURST):
                frame()
            wait()
            count += _BURST
        return count / (time.perf_counter() - begun_s)


def host_copies(frame: Frame) -> tuple[float, float]:
    """Bytes per frame from host to GPU and back, counted by torch's profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.inference_mode(), torch.profiler.profile(activities=activities) as profile:
        for _ in range(_PROFILED):
            frame()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        trace = json.loads(path.read_text())
    up, down = copied_bytes(trace)
    return up / _PROFILED, down / _PROFILED


def copied_bytes(trace: dict[str, Any]) -> tuple[int, int]:
    """Bytes of all copies to a GPU and from it in a trace of torch's profiler."""
    copies = [event for event in trace["traceEvents"] if event.get("cat") == "gpu_memcpy"]
    up, down = (
        sum(int(event["args"]["bytes"]) for event in copies if way in event["name"])
        for way in ("HtoD", "DtoH")
    )
    return up, down


def measure(
    made: Mapping[str, Frame], bound_per_s: float, device: torch.device, seconds: float
) -> list[dict[str, Any]]:
    """One repeat: every contender in turn."""
    rows = []
    for name, frame in made.items():
        rate = frames_per_second(frame, device, seconds)
        rows.append(
            {
                "way": name,
                "frames_per_s": rate,
                "of_bound": rate / bound_per_s,
                "frame_us": 1e6 / rate,
            }
        )
    return rows


def draw(report: Report) -> Any:
    """A bar for each way, and the bound."""
    from picture import COMPOSED, INK, ONE_NODE, new_figure, number_told

    rows = list(report.rows)[::-1]
    bound = report.details["bound_per_s"]
    title = f"Frames per second on one GPU: {report.details['network']}"
    figure = new_figure(title, f"{report.details['gpu']}; {told(report.machine)}", 8.0, 3.4)
    axes = figure.subplots()
    is_streaming = {STREAMING, "group streams"}
    bars = axes.barh(
        [row["way"] for row in rows],
        [row["frames_per_s"] for row in rows],
        color=[COMPOSED if row["way"] in is_streaming else ONE_NODE for row in rows],
        height=0.62,
    )
    axes.bar_label(bars, [number_told(row["frames_per_s"]) for row in rows], padding=3, fontsize=8)
    axes.axvline(bound, color=INK, linewidth=1.2)
    axes.annotate(
        f"1 / slowest group: {number_told(bound)}", (bound, 1), xycoords=("data", "axes fraction"),
        xytext=(-4, 4), textcoords="offset points", ha="right", fontsize=8.5,
    )  # fmt: skip
    axes.set(xlabel="frames/s; streaming in blue, sequential in grey", xlim=(0, None))
    axes.tick_params(axis="y", length=0)
    return figure


def verdicts(rows: Sequence[dict[str, Any]], feed: Feed) -> dict[str, bool]:
    """What is asked of the frame graph, and whether it holds."""
    by_way = {row["way"]: row for row in rows}
    graph, one = by_way[STREAMING], by_way[SEQUENTIAL]
    copies = graph["to_gpu_kib"], graph["to_host_kib"]
    return {
        "at most 1.15x the slowest group, or faster than one sequential CUDA graph":
            graph["of_bound"] >= 1 / NEAR_BOUND or graph["frames_per_s"] > one["frames_per_s"],
        "no state goes through the host":
            copies == (feed.bytes_up / 1024, feed.bytes_down / 1024),
    }  # fmt: skip


def measured(
    given: Namespace, spec: NetworkSpec, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, float], Feed]:
    """Everything: a row for each way, seconds per frame of each group alone, and what was fed."""
    with progress_bar("measuring", "steps") as advance:
        steps = given.repeats + 2
        advance(0, steps, "recording and compiling")
        made, feed = contenders(spec, device)
        alone = groups_alone(spec, device)
        groups_s, taken = [], []
        for number in range(given.repeats):  # in turns: whatever disturbs hits all alike
            advance(1 + number, steps, f"repeat {number + 1}")
            groups_s.append(
                {
                    name: 1 / frames_per_second(frame, device, given.seconds / 10)
                    for name, frame in alone.items()
                }
            )
            bound_per_s = 1 / max(groups_s[-1].values())
            taken.append(measure(made, bound_per_s, device, given.seconds))
        advance(1 + given.repeats, steps, "counting copies")
        rows = [median_row(list(repeats)) for repeats in zip(*taken, strict=True)]
        for row in rows:
            up, down = host_copies(made[row["way"]])
            row.update(to_gpu_kib=up / 1024, to_host_kib=down / 1024)
    return rows, {n: statistics.median(one[n] for one in groups_s) for n in alone}, feed


def run(given: Namespace, device: torch.device) -> int:
    """Measure, tell and judge."""
    spec = read_network_file(given.network)
    rows, groups_s, feed = measured(given, spec, device)
    slowest = max(groups_s, key=groups_s.__getitem__)
    gpu = torch.cuda.get_device_name(device)
    details = {
        "network": spec.name,
        "gpu": gpu,
        "bound_per_s": 1 / groups_s[slowest],
        "group_us": {name: 1e6 * seconds for name, seconds in groups_s.items()},
    }
    notes = (
        f"{gpu}; medians of {given.repeats} repeats in turns",
        f"bound: {1 / groups_s[slowest]:.0f} frames/s, by group {slowest} alone",
        f"a frame's image has {feed.bytes_up / 1024:.1f} KiB, its answer {feed.bytes_down} bytes",
    )
    question = "How many frames per second does one GPU compute, and what does it copy?"
    finish(Report("gpu", question, rows, notes, details), given, draw)
    holds = verdicts(rows, feed)
    for what, does in holds.items():
        print("PASS" if does else "FAIL", what)
    return 0 if all(holds.values()) else 1


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--network", type=Path, default=NETWORK, help="one image in, one output")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in a repeat")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU here: nothing was measured")
        return 0
    return run(given, torch.device("cuda", torch.cuda.current_device()))


if __name__ == "__main__":
    sys.exit(main())
