"""Memory over a long lockstep run: it must stay flat.

    python benchmarks/long_run.py [--frames 20000] [--processes]

Prints the resident memory of this process (composed) or of each group's process at every tenth
part of the run, and the growth from the second part to the last.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from chain import chain, feed, machine, write

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--processes", action="store_true")
    given = parser.parse_args()
    print(machine())
    marks: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = write(chain(4, 1), Path(folder))
        spec = read_network_file(path)
        groups = [group.name for group in spec.groups]
        shares = process_list(str(path), groups, namespace="bench") if given.processes else None

        def on_progress(frames: int) -> None:
            if frames >= (len(marks) + 1) * given.frames // 10:
                pids = [os.getpid(), *(children(os.getpid()) if given.processes else [])]
                marks.append([resident_mib(pid) for pid in pids])
                print(frames, "frames:", " ".join(f"{mib:.1f}" for mib in marks[-1]), "MiB")

        result = run_network(
            spec, Settings(path), feed(given.frames), lambda *_: None, processes=shares,
            namespace="bench", on_progress=on_progress,
        )  # fmt: skip
    growth = [last - early for early, last in zip(marks[1], marks[-1], strict=True)]
    print(
        f"{result.frames} frames in {result.seconds:.0f} s; growth from 20 % on:",
        " ".join(f"{mib:+.2f}" for mib in growth), "MiB",
    )  # fmt: skip


if __name__ == "__main__":
    main()
