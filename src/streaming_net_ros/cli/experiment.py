"""``streaming-net experiment``: rollouts and ways to train compared, with seeds, on real data.

Has the runs of an experiment file done, and tells the outcome as JSON, table and pictures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streaming_net_ros.cli.experiment_outcome import Outcome
from streaming_net_ros.cli.experiment_runs import Run, all_runs
from streaming_net_ros.cli.machine import check_device, machine
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_experiment

if TYPE_CHECKING:
    from streaming_net_ros.training.experiment import ExperimentSpec, Protocol


def experiment(
    name: Annotated[str, typer.Argument(help="Experiment file, or the name of a shipped one.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what is found; else experiments/NAME.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set; digits need none.")
    ] = None,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", help="Only this one. Can be repeated.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings per variant; else as the file says.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:N; else cuda if there is one.")
    ] = None,
    reduced: Annotated[
        bool | None,
        typer.Option(help="The reduced protocol; else on a CPU if the file has one."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; else one per core on a CPU.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train rollouts of networks from several seeds, and compare what they answer step by step.

    Ctrl-C ends it; the same command goes on where it was.

    Example: streaming-net experiment digits
    """
    import torch

    from streaming_net_ros.training.experiment import protocol_of, read_experiment

    spec = read_experiment(find_experiment(name))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    on_cpu = device.startswith("cpu")
    protocol = protocol_of(spec, reduced=on_cpu if reduced is None else reduced, seeds=seeds)
    strange = [v for v in variants or () if v not in spec.variants]
    if strange:
        raise ParameterError(
            "no such variant",
            where="--variant",
            expected=f"one of {', '.join(spec.variants)}",
            got=strange[0],
        )
    folder = out or Path("experiments") / spec.name
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot make the folder ({error.strerror})"
        raise ParameterError(what, where="--out", got=str(folder)) from None
    _describe(spec, protocol, device)
    plan = [
        Run(str(find_experiment(name)), protocol.is_reduced, protocol.seeds, variant, seed,
             str(data) if data else None, device, str(folder))
        for seed in range(protocol.seeds)
        for variant in dict.fromkeys(variants or spec.variants)
    ]  # fmt: skip
    results = all_runs(plan, jobs or (len(os.sched_getaffinity(0)) if on_cpu else 1))
    outcome = Outcome(spec, protocol, device, results)
    outcome.write(folder)
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    else:
        console.print(outcome.table(), markup=False)
        pictures = "accuracy.png, confusion.png" + ", switch.png" * (spec.switch_step is not None)
        console.print(f"written to {folder}: experiment.json, table.md, {pictures}")


def _describe(spec: ExperimentSpec, protocol: Protocol, device: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    which = "reduced" if protocol.is_reduced else "full"
    console.print(f"{spec.name}: {which} protocol on {machine(device)}", markup=False)
    if protocol.is_reduced and spec.reduced is not None:
        for part in ("constants", "data", "plan"):
            changes = getattr(spec.reduced, part)
            if changes:
                listed = ", ".join(f"{key} {value}" for key, value in changes.items())
                console.print(f"  reduced {part}: {listed}", markup=False)
