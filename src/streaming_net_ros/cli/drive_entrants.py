"""Who takes part in ``streaming-net drive``: one network, run in several ways at equal compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.driving.speeds import Entrant
    from streaming_net_ros.network import NetworkSpec

STREAMING, HYBRID, PIPELINED, SEQUENTIAL = "streaming", "hybrid", "pipelined", "sequential"
INSTANT = "no compute time"
NAMES = (STREAMING, HYBRID, PIPELINED, SEQUENTIAL, INSTANT)
_MEANINGS = {
    STREAMING: "every group at once, each on the previous frame's states",
    HYBRID: "the rollout of the hybrid network file, groups at once where it allows",
    PIPELINED: "each image through the whole network, the next one starts before it is done",
    SEQUENTIAL: "each image through the whole network, one pass after the other",
    INSTANT: "sequential on a computer that takes no time: the limit of its eyes and of the car",
}


def parse_work(spec: NetworkSpec, work_ms: float, texts: Sequence[str]) -> dict[str, int]:
    """Compute time of every group, in ns.

    Args:
        spec: whose groups.
        work_ms: of each group that is not named.
        texts: ``GROUP=MS`` each.

    Raises:
        ParameterError: not of this form, or no such group.
    """
    groups = [group.name for group in spec.groups]
    work = dict.fromkeys(groups, work_ms)
    for text in texts:
        name, _, value = text.partition("=")
        try:
            work[name] = float(value) if name in groups else float("nan")
        except ValueError:
            work[name] = float("nan")
        if not 0 <= work[name] <= 1e6:
            raise ParameterError(
                "not a compute time",
                where="--work",
                expected=f"GROUP=MS, of the groups {', '.join(groups)}",
                got=text,
            )
    return {name: round(1e6 * value) for name, value in work.items()}


def parse_speeds(text: str) -> tuple[float, ...]:
    """Speeds ``FIRST:LAST:STEP``, or ``A,B,C``, in m/s.

    Raises:
        ParameterError: neither, or more than 1000 speeds.
    """
    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        first, last, step = (float(part) for part in text.split(":"))
        count = round((last - first) / step) + 1
        if not 0 < count <= 1000:
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ParameterError(
            "not speeds",
            where="--speeds",
            expected="FIRST:LAST:STEP or A,B,C in m/s, for example 0.8:6:0.1",
            got=text,
        ) from None
    return tuple(round(first + k * step, 6) for k in range(count))


@dataclass(frozen=True)
class Conditions:
    """The computer and the camera, alike for all.

    Attributes:
        work_ns: compute time of each group.
        workers: groups that compute at once.
        rate_hz: of the camera and of the frame grid.
        pass_ns: how long one pass of the whole network takes.
    """

    work_ns: Mapping[str, int]
    workers: int
    rate_hz: float
    pass_ns: int

    def __str__(self) -> str:
        """In words, for tables and pictures."""
        times = sorted({round(value / 1e6, 3) for value in self.work_ns.values()})
        spread = f"{times[0]:g}" if len(times) == 1 else f"{times[0]:g} to {times[-1]:g}"
        return (
            f"{len(self.work_ns)} groups of {spread} ms, {self.workers} at once: one pass takes "
            f"{self.pass_ns / 1e6:g} ms, {self.pass_ns * self.rate_hz / 1e9:.3g} frames of a "
            f"{self.rate_hz:g} Hz camera"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "work_ms": {name: value / 1e6 for name, value in self.work_ns.items()},
            "workers": self.workers,
            "camera_hz": self.rate_hz,
            "pass_ms": self.pass_ns / 1e6,
        }


def find_conditions(
    network: str, work_ms: float, work: Sequence[str], workers: int, rate_hz: float
) -> Conditions:
    """What is stated about computer and camera.

    Args:
        network: file, or name of a shipped one.
        work_ms: compute time of a group.
        work: ``GROUP=MS`` for those that take another.
        workers: groups that compute at once; 0: all.
        rate_hz: of the camera and of the frame grid.

    Raises:
        StreamingNetError: the file cannot be used, or a compute time is not one.
    """
    from streaming_net_ros.network import (
        StreamingNetwork,
        pass_schedule,
        read_network_file,
        rollout_of,
    )

    spec = read_network_file(find_network(network))
    work_ns = parse_work(spec, work_ms, work)
    built = StreamingNetwork(spec, rollout_of(spec, "sequential"))
    count = workers or len(work_ns)
    pass_ns = max(pass_schedule(built, work_ns, count).values())
    return Conditions(work_ns, count, rate_hz, pass_ns)


def find_entrants(network: str, only: Sequence[str], conditions: Conditions) -> list[Entrant]:
    """One network in all ways, or in those asked for.

    A file NAME_sequential.yaml or NAME_hybrid.yaml beside NAME.yaml brings the weights that were
    trained for that rollout; a hybrid takes part only if there is one.

    Args:
        network: file, or name of a shipped one.
        only: names of entrants; empty: all.
        conditions: alike for all.

    Raises:
        StreamingNetError: a file or its weights cannot be used, or an unknown name.
    """
    for name in only:
        if name not in NAMES:
            raise ParameterError(
                "no such way to run it",
                where="--only",
                expected=f"one of {', '.join(NAMES)}",
                got=name,
            )
    path = find_network(network)
    files = {name: _file_for(path, name) for name in NAMES if name in (only or NAMES)}
    entrants = [_entrant(name, file, conditions) for name, file in files.items() if file]
    if not entrants:
        raise ParameterError(
            "nothing to drive",
            where="--only",
            got=", ".join(only),
            remedy=f"a hybrid needs the file {path.stem}_{HYBRID}.yaml beside {path.name}",
        )
    return entrants


def _file_for(path: Path, name: str) -> Path | None:
    """The network file with the weights for a way of running; None if it cannot take part."""
    kind = {STREAMING: "", HYBRID: HYBRID}.get(name, SEQUENTIAL)
    twin = path.with_name(f"{path.stem}_{kind}{path.suffix}")
    if kind and twin.is_file():
        return twin
    return None if name == HYBRID else path


def _entrant(name: str, path: Path, conditions: Conditions) -> Entrant:
    from streaming_net_ros.evaluation.driving.closed_loop import driving_output
    from streaming_net_ros.evaluation.driving.speeds import Entrant
    from streaming_net_ros.network import (
        StreamingNetwork,
        Timed,
        TimedPasses,
        TimedRollout,
        load_weights,
        read_network_file,
        rollout_of,
    )

    spec = read_network_file(path)
    driving_output(spec)
    if spec.weights_path is None:
        raise ParameterError(
            "a network without weights cannot drive",
            where=str(path),
            remedy="train it, and name its weights in the file: docs/training.md",
        )
    choice = {STREAMING: "streaming", HYBRID: None}.get(name, "sequential")
    built = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    load_weights(built, spec.weights_path)
    work_ns = conditions.work_ns
    if name == INSTANT:
        work_ns = dict.fromkeys(work_ns, 0)

    def timed() -> Timed:
        if name in (SEQUENTIAL, INSTANT):
            return TimedPasses(built, work_ns, workers=conditions.workers)
        return TimedRollout(built, work_ns, rate_hz=conditions.rate_hz, workers=conditions.workers)

    return Entrant(name, _MEANINGS[name], spec, timed, is_reference=name == INSTANT)
