"""The peers of ``peers.py`` as processes: how each is started, and what its processes cost.

Every contender is a context manager that gives the ids of its processes. All are fed by the same
camera and heard by the same subscriber, except torch's pipelining, which knows no ROS.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from report import Timeline

from streaming_net_ros.launching import Children, process_list
from streaming_net_ros.network import NetworkSpec
from streaming_net_ros.nodes.host import use_large_segments

HERE = Path(__file__).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
Start = Callable[[NetworkSpec, str, float | None], AbstractContextManager[list[int]]]


@dataclass(frozen=True)
class Contender:
    """One way to run the chain.

    Attributes:
        title: in the table.
        start: of a network, in a namespace, at a rate in Hz (None: at full speed).
    """

    title: str
    start: Start


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes so far; those that have ended count nothing."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


@contextmanager
def streaming(
    spec: NetworkSpec, namespace: str, rate_hz: float | None, *, composed: bool
) -> Iterator[list[int]]:
    """Our own nodes: realtime at a rate, lockstep at full speed."""
    parameters = {"mode": "lockstep"} if rate_hz is None else {
        "mode": "realtime", "rate_hz": rate_hz,
    }  # fmt: skip
    groups = [group.name for group in spec.groups]
    shares = process_list(str(spec.path), groups, composed=composed, namespace=namespace,
                          parameters=parameters)  # fmt: skip
    if not composed:  # the frame source rides with the first group: as many processes as groups
        source, first, *others = shares
        shares = [replace(first, members=source.members + first.members), *others]
    with Children(shares) as children:
        yield list(children.pids.values())


@contextmanager
def plain(
    spec: NetworkSpec, namespace: str, rate_hz: float | None, *, whole: bool, large_segments: bool
) -> Iterator[list[int]]:
    """``naive.py``: the whole network in one node, or a node and a process for every group."""
    environment = {k: v for k, v in os.environ.items() if k not in _PROFILES}
    if large_segments:
        use_large_segments()
        environment |= {k: os.environ[k] for k in _PROFILES if k in os.environ}
    command = [sys.executable, str(HERE / "naive.py"), str(spec.path), namespace]
    names = [[]] if whole else [[group.name] for group in spec.groups]
    children = [subprocess.Popen([*command, *name], env=environment) for name in names]
    try:
        yield [child.pid for child in children]
    finally:
        for child in children:
            child.send_signal(signal.SIGINT)
        for child in children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


CONTENDERS = {
    "one_node": Contender(
        "one plain node",
        lambda spec, name, rate: plain(spec, name, rate, whole=True, large_segments=False),
    ),
    "naive": Contender(
        "naive pipeline",
        lambda spec, name, rate: plain(spec, name, rate, whole=False, large_segments=False),
    ),
    "naive_large": Contender(
        "naive, large segments",
        lambda spec, name, rate: plain(spec, name, rate, whole=False, large_segments=True),
    ),
    "processes": Contender(
        "ours, one process per group",
        lambda spec, name, rate: streaming(spec, name, rate, composed=False),
    ),
    "composed": Contender(
        "ours, composed", lambda spec, name, rate: streaming(spec, name, rate, composed=True)
    ),
}


def pipelining(
    path: Path, ranks: int, frames: int, rate_hz: float | None
) -> tuple[Timeline, float]:
    """Torch's pipelining over so many processes: when frames went in and came out, and CPU time.

    Raises:
        RuntimeError: a stage failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        command = [sys.executable, str(HERE / "pipelining.py"), str(path), store]
        numbers = [str(ranks), str(frames), str(rate_hz or 0)]
        stages = [
            subprocess.Popen([*command, str(rank), *numbers], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for rank in range(ranks)
        ]  # fmt: skip
        try:
            said = [stage.communicate(timeout=120 + frames / (rate_hz or 5)) for stage in stages]
        finally:
            for stage in stages:
                stage.kill()
                stage.wait()
    failed = [error for stage, (_, error) in zip(stages, said, strict=True) if stage.returncode]
    if failed:
        raise RuntimeError(f"torch.distributed.pipelining failed:\n{failed[0][-2000:]}")
    told = [json.loads(lines.splitlines()[-1]) for lines, _ in said]
    first, *_, last = told
    begun_s = first["at_s"][0]
    timeline = Timeline(
        tuple(at - begun_s for at in first["at_s"]), tuple(at - begun_s for at in last["at_s"])
    )
    return timeline, sum(one["cpu_s"] for one in told)
