"""Frames per second in lockstep against the bound min(1/slowest group, cores/sum of groups).

    python benchmarks/throughput.py [--frames 300] [--work-ms 12 25] [--groups 2 4]

Everything is measured in one run: the groups' compute times alone, one node that runs the whole
network per frame, the groups composed in one process, and one process per group (the frame source
rides with the first group). The feeding process takes part of the same cores in every case.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from chain import chain, feed, group_seconds, layers_for, machine, one_node_seconds, write
from rich.console import Console
from rich.table import Table

from streaming_net_ros.launching import process_list
from streaming_net_ros.network import read_network_file
from streaming_net_ros.nodes.run import run_network
from streaming_net_ros.nodes.settings import Settings


def frames_per_second(path: Path, frames: int, processes: bool) -> float:
    """Rate of the last output, from the fifth part of the run on (the pipeline is full)."""
    spec = read_network_file(path)
    groups = [group.name for group in spec.groups]
    shares = None
    if processes:
        source, first, *others = process_list(str(path), groups, namespace="bench")
        shares = [replace(first, members=source.members + first.members), *others]
    arrived: list[float] = []

    def write_response(topic: str, kind: str, stamp_ns: int, cdr: bytes) -> None:
        if topic.endswith("response/last"):
            arrived.append(time.perf_counter())

    run_network(
        spec, Settings(path), feed(frames), write_response, processes=shares, namespace="bench"
    )
    assert len(arrived) == frames
    steady = arrived[frames // 5 :]
    return (len(steady) - 1) / (steady[-1] - steady[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--work-ms", type=float, nargs="+", default=[12.0, 25.0])
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    table = Table(title=machine())
    for column in (
        "groups",
        "work each",
        "bound",
        "one node",
        "composed",
        "processes",
        "of bound",
    ):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for work_ms, groups in itertools.product(given.work_ms, given.groups):
            content = chain(groups, layers_for(work_ms / 1e3))
            path = write(content, Path(folder))
            rows = []
            for _ in range(given.repeats):  # interleaved, so that a noisy neighbour hits all alike
                seconds = group_seconds(content)
                bound = min(1 / max(seconds), cores / sum(seconds))
                one = 1 / one_node_seconds(content, 100)
                composed = frames_per_second(path, given.frames, processes=False)
                alone = frames_per_second(path, given.frames, processes=True)
                rows.append((max(seconds), bound, one, composed, alone, alone / bound))
            work, bound, one, composed, alone, ratio = map(
                statistics.median, zip(*rows, strict=True)
            )
            table.add_row(
                str(groups), f"{work * 1e3:.1f} ms", f"{bound:.1f}/s", f"{one:.1f}/s",
                f"{composed:.1f}/s", f"{alone:.1f}/s", f"{ratio:.2f}",
            )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
