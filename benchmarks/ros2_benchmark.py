"""Saved results in the layout of NVIDIA's ros2_benchmark reports, one file per timeline.

    python benchmarks/ros2_benchmark.py benchmarks/results/peers.json [--out FOLDER]

Names and meanings are those of its ``BasicPerformanceMetrics`` (durations and latencies in ms,
rates in frames per second): jitter is the change of the distance from one answer to the next.
What it has and we do not measure is left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any


def metrics(sent_s: Sequence[float], received_s: Sequence[float | None]) -> dict[str, float]:
    """The metrics of a timeline; those that it is too short for are missing.

    Args:
        sent_s: when each image left.
        received_s: when each was answered; None: never.
    """
    pairs = [(left, came) for left, came in zip(sent_s, received_s, strict=True)
             if came is not None]  # fmt: skip
    came_s = sorted(came for _, came in pairs)
    found: dict[str, float] = {
        "NUM_FRAMES_SENT": len(sent_s),
        "NUM_MISSED_FRAMES": len(sent_s) - len(pairs),
    }
    if len(sent_s) > 1:
        found["MEAN_PLAYBACK_FRAME_RATE"] = len(sent_s) / (sent_s[-1] - sent_s[0])
    if len(came_s) > 1:
        found["RECEIVED_DURATION"] = (came_s[-1] - came_s[0]) * 1e3
        found["MEAN_FRAME_RATE"] = len(came_s) / (came_s[-1] - came_s[0])
    if pairs:
        latencies = [(came - left) * 1e3 for left, came in pairs]
        found |= {
            "FIRST_SENT_RECEIVED_LATENCY": (came_s[0] - sent_s[0]) * 1e3,
            "LAST_SENT_RECEIVED_LATENCY": (came_s[-1] - sent_s[-1]) * 1e3,
            "FIRST_INPUT_LATENCY": latencies[0],
            "LAST_INPUT_LATENCY": latencies[-1],
            "MAX_LATENCY": max(latencies),
            "MIN_LATENCY": min(latencies),
            "MEAN_LATENCY": statistics.fmean(latencies),
        }
    if len(came_s) > 2:
        distances = [after - before for before, after in pairwise(came_s)]
        jitters = [abs(after - before) * 1e3 for before, after in pairwise(distances)]
        found |= {
            "MAX_JITTER": max(jitters),
            "MIN_JITTER": min(jitters),
            "MEAN_JITTER": statistics.fmean(jitters),
            "STD_DEV_JITTER": statistics.pstdev(jitters),
        }
    return found


def layout(report: Mapping[str, Any], title: str) -> dict[str, Any]:
    """One timeline of a saved report as a report of ros2_benchmark."""
    timeline = report["timelines"][title]
    found = metrics(timeline["sent_s"], timeline["received_s"])
    told: dict[str, Any] = {f"BasicPerformanceMetrics.{name}": v for name, v in found.items()}
    told["custom"] = {"command": report["command"], **report["machine"]}
    told["metadata"] = {
        "BenchmarkMetadata.NAME": f"streaming_net_ros {report['name']}: {title}",
        "BenchmarkMetadata.DEVICE_ARCH": platform.machine(),
        "BenchmarkMetadata.DEVICE_OS": f"{platform.system()} {platform.release()}",
    }
    return told


def write_reports(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every timeline of a saved report; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title in report["timelines"]:
        plain = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
        written.append(folder / f"{report['name']}-{plain}.json")
        written[-1].write_text(json.dumps(layout(report, title), indent=4) + "\n")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, nargs="+", help="saved results, NAME.json")
    parser.add_argument("--out", type=Path, help="folder; default: beside each report")
    given = parser.parse_args()
    for path in given.report:
        report = json.loads(path.read_text())
        written = write_reports(report, given.out or path.parent / "ros2_benchmark")
        print("\n".join(map(str, written)) or f"{path}: no timelines in it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
