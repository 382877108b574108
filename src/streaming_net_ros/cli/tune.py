"""``streaming-net tune``: which backend, how many threads, which cores; measured, then written.

Owns the verb's options and its run. Knows no arithmetic: ``network.measuring`` measures and
chooses, ``tune_outcome`` tells, ``network.tuning`` writes.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streaming_net_ros.cli.machine import check_device
from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.cli.tune_outcome import Outcome, available_cores
from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    import torch

    from streaming_net_ros.network import NetworkSpec, StreamingNetwork
    from streaming_net_ros.network.backends import Backend
    from streaming_net_ros.network.measuring import GroupFigures, Way

# As network.backends has them.
_BACKENDS = ("eager", "cuda_graph", "compile", "onnxruntime", "openvino", "half")


def tune(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The tuning file; default NETWORK.tuning.yaml, here, or NETWORK.cuda.tuning.yaml."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:N: what it is measured on.")
    ] = "cpu",
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
        typer.Option(
            help=", ".join(_BACKENDS)
            + "; can be repeated. Without it: all that there are for the device."
        ),
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
    target = _device(device, cores)
    path = out or Path(f"{spec.path.stem}{'.cuda' * (target.type == 'cuda')}.tuning.yaml")
    _check_replaceable(path, spec)
    among, missing = _ways(backend or [], threads or [1], target.type)
    chosen_cores = parse_cores(cores)
    built = StreamingNetwork(spec).eval()
    weights_path = weights or spec.weights_path
    if weights_path is not None:
        load_weights(built, weights_path)
    measured = _measure(built.to(target), among, seconds_per, target)
    outcome = Outcome.of(measured, tolerance, chosen_cores, target)
    write_tuning(outcome.tuning(spec, tolerance), path, _command())
    if as_json:
        print(json.dumps(outcome.to_json(missing), indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(outcome.table(outcome.machine_line()))
    for line in (*missing, *outcome.failures()):
        console.print(f"left out: {line}", markup=False)
    for line in outcome.load_lines(spec.rate_hz):
        console.print(line)
    before, after = outcome.bounds_hz()
    console.print(
        f"bound {outcome.bound_formula}: {before:.0f} frames/s eagerly, {after:.0f} as chosen"
    )
    console.print(f"written: {path}")


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


def _device(name: str, cores: str) -> torch.device:
    """What is measured on.

    Raises:
        ParameterError: there is no such device here, or it has no cores to give out.
    """
    import torch

    check_device(name)
    device = torch.device(name)
    if device.type not in ("cpu", "cuda"):
        raise ParameterError(
            "no device of groups", where="--device", expected="cpu or cuda", got=name
        )
    if cores and device.type == "cuda":
        raise ParameterError(
            "a group on a GPU takes no core for itself",
            where="--cores",
            got=cores,
            remedy="leave it out, or tune for the CPU",
        )
    return device


def _ways(
    backends: Sequence[str], threads: Sequence[int], device: str
) -> tuple[list[Way], list[str]]:
    """What is measured, and why some of what could be is not.

    Raises:
        ParameterError: no such backend.
        RunError: one that is asked for by name is not installed.
    """
    from streaming_net_ros.network.backends import BACKENDS, backends_for, what_lacks
    from streaming_net_ros.network.measuring import ways

    for given in backends:
        if given not in BACKENDS:
            raise ParameterError(
                "no such backend", where="--backend", expected=", ".join(BACKENDS), got=given
            )
        if given not in backends_for(device):
            raise ParameterError(
                f"a backend that is not for {device}",
                where="--backend",
                expected=", ".join(backends_for(device)),
                got=given,
            )
    found: list[Backend] = []
    missing = []
    for name in backends_for(device):
        if backends and name not in backends:
            continue
        lacking = what_lacks(name, device)
        if lacking is None:
            found.append(name)
        elif backends:
            raise lacking
        else:
            missing.append(str(lacking))
    return ways(found, threads), missing


def _measure(
    network: StreamingNetwork, among: Sequence[Way], seconds_per: float, device: torch.device
) -> list[GroupFigures]:
    from streaming_net_ros.network.measuring import measure_group, rollout_inputs

    inputs = rollout_inputs(network, device=device)
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
                network, name, states, among, seconds_per=seconds_per, device=device, on_step=step
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


def _command() -> str:
    """The command line, for the file that it made."""
    return shlex.join(["streaming-net", *sys.argv[1:]]).replace("\n", " ")
