"""``streaming-net tune``: which backend, how many threads, which cores; measured, then written.

Owns the verb's options and its print. Knows no arithmetic: ``network.measuring`` measures and
chooses, ``network.tuning`` writes.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec, StreamingNetwork
    from streaming_net_ros.network.backends import Backend
    from streaming_net_ros.network.measuring import GroupFigures, Way

_BACKENDS = ("eager", "compile", "onnxruntime", "openvino")  # as network.backends has them


def tune(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="The tuning file; default NETWORK.tuning.yaml, here.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights, instead of the file's.")] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=1e-12, max=1, help="Largest deviation from eager, of the state's largest value."
        ),
    ] = 1e-4,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=1024, help="Threads of one operation; can be repeated. Without it: 1."
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help=", ".join(_BACKENDS) + "; can be repeated. Without it: all there are."),
    ] = None,
    cores: Annotated[
        str, typer.Option(help="Give each group cores of its own among these: 0,2-3, or all.")
    ] = "",
    seconds_per: Annotated[
        float, typer.Option(min=0.01, max=600, help="Of measuring, for each way to compute.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how each group is computed fastest on this machine, and write that down.

    Run it on an idle machine, the one that the network shall run on. Compiling takes some ten
    seconds for each group, once.

    Example: streaming-net tune pilot --cores all
    """
    from streaming_net_ros.network import StreamingNetwork, load_weights, read_network_file
    from streaming_net_ros.network.tuning import write_tuning

    spec = read_network_file(find_network(network).resolve())
    path = out or Path(f"{spec.path.stem}.tuning.yaml")
    _check_replaceable(path, spec)
    among, missing = _ways(backend or [], threads or [1])
    chosen_cores = parse_cores(cores)
    built = StreamingNetwork(spec).eval()
    weights_path = weights or spec.weights_path
    if weights_path is not None:
        load_weights(built, weights_path)
    measured = _measure(built, among, seconds_per)
    outcome = Outcome.of(measured, tolerance, chosen_cores)
    write_tuning(outcome.tuning(spec, tolerance), path, _command())
    if as_json:
        print(json.dumps(outcome.to_json(missing), indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(outcome.table(_machine_line()))
    for line in (*missing, *outcome.failures()):
        console.print(f"left out: {line}", markup=False)
    for line in outcome.load_lines(spec.rate_hz):
        console.print(line)
    before, after = outcome.bounds_hz()
    console.print(
        f"bound min(1 / slowest group, cores / sum): {before:.0f} frames/s eagerly, "
        f"{after:.0f} as chosen"
    )
    console.print(f"written: {path}")


@dataclass(frozen=True)
class Outcome:
    """What was measured, and what follows from it.

    Attributes:
        measured: a group each.
        chosen: the way of each group.
        cores: of each group; empty if none are given.
        loads_ms: of each core, per frame.
    """

    measured: Sequence[GroupFigures]
    chosen: Mapping[str, Way]
    cores: Mapping[str, tuple[int, ...]]
    loads_ms: Mapping[int, float]

    @classmethod
    def of(
        cls, measured: Sequence[GroupFigures], tolerance: float, cores: Sequence[int]
    ) -> Outcome:
        """Choose, and give out cores."""
        from streaming_net_ros.network.measuring import assign_cores

        chosen = {group.name: group.chosen(tolerance) for group in measured}
        if not cores:
            return cls(measured, chosen, {}, {})
        costs = {g.name: _cost(g, chosen[g.name]) for g in measured}
        return cls(measured, chosen, *assign_cores(costs, cores))

    def tuning(self, spec: NetworkSpec, tolerance: float) -> Any:
        """The tuning file's content."""
        from streaming_net_ros.network.measuring import PLAIN
        from streaming_net_ros.network.tuning import GroupTuning, Tuning, this_machine

        groups = {}
        for group in self.measured:
            way = self.chosen[group.name]
            groups[group.name] = GroupTuning(
                backend=way.backend,
                torch_threads=way.torch_threads,
                cores=self.cores.get(group.name),
                eager_ms=round(group.by_way[PLAIN].median_ms, 4),
                chosen_ms=round(group.by_way[way].median_ms, 4),
                deviation=float(f"{group.by_way[way].deviation:.3g}"),
            )
        return Tuning(
            network=spec.name, machine=this_machine(), tolerance=tolerance, groups=groups
        )

    def bounds_hz(self) -> tuple[float, float]:
        """Frames per second that no run can exceed: eagerly, and as chosen."""
        from streaming_net_ros.network.measuring import PLAIN, bound_hz

        available = len(self.loads_ms) or len(available_cores())
        before = {group.name: _cost(group, PLAIN) for group in self.measured}
        after = {group.name: _cost(group, self.chosen[group.name]) for group in self.measured}
        return bound_hz(before, available), bound_hz(after, available)

    def table(self, title: str) -> Table:
        """A row for each group, a column for each way."""
        from streaming_net_ros.network.measuring import PLAIN

        columns = list(dict.fromkeys(way for group in self.measured for way in group.by_way))
        table = Table(title=title, caption="median ms per frame; * chosen", box=SIMPLE_HEAD)
        table.add_column("group")
        for name in (*map(str, columns), "gain", "off by", *(["cores"] if self.cores else [])):
            table.add_column(name, justify="right")
        for group in self.measured:
            chosen = self.chosen[group.name]
            figures = [(way, group.by_way.get(way)) for way in columns]
            cells = [
                "-" if f is None else f"{f.median_ms:.3f}" + ("*" if way == chosen else " ")
                for way, f in figures
            ]
            gain = group.by_way[PLAIN].median_ms / group.by_way[chosen].median_ms
            told = [f"{gain:.2f}", f"{group.by_way[chosen].deviation:.1e}"]
            if self.cores:
                told.append(",".join(map(str, self.cores[group.name])))
            table.add_row(group.name, *cells, *told)
        return table

    def failures(self) -> list[str]:
        """Ways that a group cannot be computed in, and why."""
        return [f"{g.name}: {w}: {why}" for g in self.measured for w, why in g.failures.items()]

    def load_lines(self, rate_hz: float) -> list[str]:
        """What each core will have to do."""
        return [
            f"core {core}: {load_ms:.2f} ms per frame, {load_ms * rate_hz / 10:.1f} % at "
            f"{rate_hz:g} Hz: "
            + (", ".join(name for name, own in self.cores.items() if core in own) or "nothing")
            for core, load_ms in self.loads_ms.items()
        ]

    def to_json(self, missing: Sequence[str]) -> dict[str, Any]:
        """All figures, as plain mappings."""
        before, after = self.bounds_hz()
        groups = {
            group.name: {
                "ways": {
                    str(way): {"median_ms": f.median_ms, "deviation": f.deviation}
                    for way, f in group.by_way.items()
                },
                "chosen": str(self.chosen[group.name]),
                "cores": list(self.cores.get(group.name, ())),
            }
            for group in self.measured
        }
        return {
            "machine": _machine_line(), "groups": groups, "loads_ms": dict(self.loads_ms),
            "bound_hz": {"eager": before, "chosen": after},
            "left_out": [*missing, *self.failures()],
        }  # fmt: skip


def parse_cores(text: str) -> list[int]:
    """``0,2-3`` or ``all`` as CPU numbers; empty: none.

    Raises:
        ParameterError: not of this form, or a core that this process may not run on.
    """
    available = available_cores()
    if text in ("", "all"):
        return available if text else []
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not first.isdecimal() or not last.isdecimal() or int(last) < int(first):
            raise ParameterError(
                "no CPU numbers", where="--cores", expected="such as 0,2-3, or all", got=text
            )
        for core in range(int(first), min(int(last), 65535) + 1):
            if core not in available:
                raise ParameterError(
                    "no such core", where="--cores", expected=f"some of {available}", got=core
                )
            found.append(core)
    return list(dict.fromkeys(found))


def available_cores() -> list[int]:
    """CPU numbers that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def _ways(backends: Sequence[str], threads: Sequence[int]) -> tuple[list[Way], list[str]]:
    """What is measured, and why some of what could be is not.

    Raises:
        ParameterError: no such backend.
        RunError: one that is asked for by name is not installed.
    """
    from streaming_net_ros.network.backends import BACKENDS, what_lacks
    from streaming_net_ros.network.measuring import ways

    for given in backends:
        if given not in BACKENDS:
            raise ParameterError(
                "no such backend", where="--backend", expected=", ".join(BACKENDS), got=given
            )
    found: list[Backend] = []
    missing = []
    for name in BACKENDS:
        if backends and name not in backends:
            continue
        lacking = what_lacks(name)
        if lacking is None:
            found.append(name)
        elif backends:
            raise lacking
        else:
            missing.append(str(lacking))
    return ways(found, threads), missing


def _measure(
    network: StreamingNetwork, among: Sequence[Way], seconds_per: float
) -> list[GroupFigures]:
    from streaming_net_ros.network.measuring import measure_group, rollout_inputs

    inputs = rollout_inputs(network)
    steps = (len(among) + 1) * len(inputs)
    measured = []
    with progress_bar("tuning", "steps") as advance:
        done = -1

        def step(doing: str) -> None:
            nonlocal done
            done += 1
            advance(done, steps, doing)

        for name, states in inputs.items():
            group = measure_group(
                network, name, states, among, seconds_per=seconds_per, on_step=step
            )
            measured.append(group)
    return measured


def _check_replaceable(path: Path, spec: NetworkSpec) -> None:
    """A tuning file of this network may be written anew; anything else is left alone.

    Raises:
        ParameterError: there is something else, or there is no such folder.
    """
    from streaming_net_ros.network.tuning import read_tuning

    if not path.parent.is_dir():
        raise ParameterError("no such folder", where="--out", got=str(path.parent))
    if not path.exists():
        return
    try:
        read_tuning(path, spec)
    except StreamingNetError:
        raise ParameterError(
            "will not write over what is no tuning file of this network",
            where=f"--out {path}",
            remedy="remove it or choose another path",
        ) from None


def _cost(group: GroupFigures, way: Way) -> tuple[float, int]:
    return group.by_way[way].median_ms, way.torch_threads


def _machine_line() -> str:
    from streaming_net_ros.network.tuning import this_machine

    here = this_machine()
    return f"{here.cores} cores of {here.processor}, torch {here.torch}"


def _command() -> str:
    """The command line, for the file that it made."""
    return shlex.join(["streaming-net", *sys.argv[1:]]).replace("\n", " ")
