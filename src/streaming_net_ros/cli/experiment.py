"""``streaming-net experiment``: rollouts and ways to train compared, with seeds, on real data.

Starts the runs of an experiment file side by side, keeps what each has found, and tells the
outcome as JSON, table and pictures. What a run is stands in ``training.experiment``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from streaming_net_ros.cli.progress import bars, stop_on_interrupt
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_experiment, find_network

if TYPE_CHECKING:
    from streaming_net_ros.training.experiment import ExperimentSpec, Protocol
    from streaming_net_ros.training.experiment_run import RunResult


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
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        what = f"cannot use this device ({str(error).splitlines()[0][:100]})"
        raise ParameterError(what, where="--device", got=device, remedy="use cpu") from None
    on_cpu = device == "cpu"
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
        _Run(str(find_experiment(name)), protocol.is_reduced, protocol.seeds, variant, seed,
             str(data) if data else None, device, str(folder))
        for seed in range(protocol.seeds)
        for variant in dict.fromkeys(variants or spec.variants)
    ]  # fmt: skip
    results = _all_runs(plan, jobs or ((os.cpu_count() or 1) if on_cpu else 1))
    outcome = Outcome(spec, protocol, device, results)
    outcome.write(folder)
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    else:
        console.print(outcome.table(), markup=False)
        pictures = "accuracy.png, confusion.png" + ", switch.png" * (spec.switch_step is not None)
        console.print(f"written to {folder}: experiment.json, table.md, {pictures}")


@dataclass(frozen=True)
class _Run:
    """One run, in words that can go to another process."""

    experiment: str
    is_reduced: bool
    seeds: int
    variant: str
    seed: int
    data: str | None
    device: str
    folder: str

    @property
    def title(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    @property
    def file(self) -> Path:
        return Path(self.folder) / "runs" / f"{self.variant.replace(' ', '_')}-{self.seed}.json"


@dataclass(frozen=True)
class Outcome:
    """What the runs of an experiment have found together."""

    spec: ExperimentSpec
    protocol: Protocol
    device: str
    runs: Sequence[RunResult]

    @property
    def by_variant(self) -> dict[str, list[RunResult]]:
        """The runs of each variant, in the file's order."""
        return {
            name: [run for run in self.runs if run.variant == name]
            for name in self.spec.variants
            if any(run.variant == name for run in self.runs)
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Per variant the numbers of the table: means over seeds, and standard deviations."""
        import numpy as np

        for name, runs in self.by_variant.items():
            accuracy = np.array([run.accuracy for run in runs])
            hold = np.array([run.hold_mean for run in runs])
            spare = min(1, len(runs) - 1)  # of one seed there is no deviation
            at = [run.step_at(self.spec.target_accuracy) for run in runs]
            yield {
                "variant": name,
                "seeds": len(runs),
                "steps": runs[0].steps,
                "accuracy": accuracy.mean(0).round(4).tolist(),
                "accuracy_deviation": accuracy.std(0, ddof=min(1, len(runs) - 1))
                .round(4)
                .tolist(),
                "hold_mean": round(float(hold.mean()), 4),
                "hold_mean_deviation": round(float(hold.std(ddof=spare)), 4),
                "switched": np.array([run.switched for run in runs]).mean(0).round(4).tolist(),
                "steps_to_target": None if None in at else float(np.mean([a for a in at if a])),
                "training_s": round(float(np.mean([run.seconds for run in runs])), 1),
                "published": dict(self.spec.variants[name].published),
            }

    def table(self) -> str:
        """The outcome as a Markdown table."""
        target = f"steps to {self.spec.target_accuracy:.0%}"
        head = ["variant", "first response", "last response",
                f"hold mean (U 1-{self.spec.horizon_steps})", target, "published"]  # fmt: skip
        lines = [head, ["---"] * len(head)]
        for row in self.rows():
            published = [f"U{step} {value:.3f}" for step, value in row["published"].items()]
            lines.append(
                [
                    f"{row['variant']} ({row['seeds']} seeds)",
                    *(
                        f"{row['accuracy'][k]:.3f} ± {row['accuracy_deviation'][k]:.3f} "
                        f"(U{row['steps'][k]})"
                        for k in (0, -1)
                    ),
                    f"{row['hold_mean']:.3f} ± {row['hold_mean_deviation']:.3f}",
                    "never" if row["steps_to_target"] is None else f"{row['steps_to_target']:.1f}",
                    ", ".join(published[:4]) or "-",
                ]
            )
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        return {
            "experiment": self.spec.name,
            "protocol": _in_words(self.protocol),
            "machine": machine(self.device),
            "horizon_steps": self.spec.horizon_steps,
            "target_accuracy": self.spec.target_accuracy,
            "variants": list(self.rows()),
        }

    def write(self, folder: Path) -> None:
        """JSON, table and pictures."""
        from streaming_net_ros.cli.experiment_picture import (
            draw_accuracy,
            draw_confusion,
            draw_switch,
        )

        (folder / "experiment.json").write_text(json.dumps(self.to_json(), indent=2) + "\n")
        (folder / "table.md").write_text(self.table() + "\n")
        draw_accuracy(self, folder / "accuracy.png")
        draw_confusion(self, folder / "confusion.png")
        if self.spec.switch_step is not None:
            draw_switch(self, folder / "switch.png")


def machine(device: str) -> str:
    """The machine that figures were made on, in words."""
    import torch

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{os.cpu_count()} cores of {model[0] if model else platform.processor()}"
    return f"{name}, torch {torch.__version__}"


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


def _in_words(protocol: Protocol) -> dict[str, Any]:
    words = asdict(protocol) | {"data": protocol.data.model_dump()}
    return {key: json.loads(json.dumps(value, default=str)) for key, value in words.items()}


def _all_runs(runs: Sequence[_Run], jobs: int) -> list[RunResult]:
    """Every run's result; those that are already there are not run again."""
    results = {run: found for run in runs if (found := _found(run)) is not None}
    waiting = [run for run in runs if run not in results]
    if waiting:
        with bars("steps") as progress:
            overall = progress.add_task("runs", total=len(runs), note="")
            progress.update(overall, completed=len(results))
            if jobs == 1 or len(waiting) == 1:
                _one_by_one(waiting, results, progress, overall)
            else:
                _side_by_side(waiting, results, progress, overall, min(jobs, len(waiting)))
    return [results[run] for run in runs]


def _one_by_one(
    waiting: Sequence[_Run], results: dict[_Run, RunResult], progress: Any, overall: Any
) -> None:
    for run in waiting:
        task = progress.add_task(run.title, total=None, note="")

        def advance(done: int, total: int, note: str, task: Any = task) -> None:
            progress.update(task, completed=done, total=total, note=note)

        results[run] = _do(run, advance)
        progress.remove_task(task)
        progress.advance(overall)


def _side_by_side(
    waiting: Sequence[_Run], results: dict[_Run, RunResult], progress: Any, overall: Any, jobs: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        told = manager.Queue()
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures: dict[Future[RunResult], _Run] = {
                pool.submit(_do_and_tell, run, told): run for run in waiting
            }
            tasks: dict[str, Any] = {}
            try:
                for future in _as_told(futures, told, progress, tasks):
                    run = futures[future]
                    results[run] = future.result()
                    if run.title in tasks:
                        progress.remove_task(tasks.pop(run.title))
                    progress.advance(overall)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _as_told(
    futures: Sequence[Future[RunResult]] | dict[Future[RunResult], _Run],
    told: Any,
    progress: Any,
    tasks: dict[str, Any],
) -> Iterator[Future[RunResult]]:
    """Futures as they are done; in between, bars follow what the runs tell."""
    waiting = set(futures)
    while waiting:
        try:
            title, done, total, note = told.get(timeout=0.5)
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=total, note=note)
            progress.update(tasks[title], completed=done, total=total, note=note)
        except Empty:
            pass
        for future in [f for f in waiting if f.done()]:
            waiting.remove(future)
            yield future


def _do_and_tell(run: _Run, told: Any) -> RunResult:
    """In a process of its own: a run that tells how far it is."""
    return _do(run, lambda done, total, note: told.put((run.title, done, total, note)))


def _do(run: _Run, advance: Callable[[int, int, str], None]) -> RunResult:
    """One run, from its file's words to its result on disk."""
    import torch

    from streaming_net_ros.training import Watching
    from streaming_net_ros.training.experiment import protocol_of, read_experiment
    from streaming_net_ros.training.experiment_run import run_variant

    if run.device == "cpu":
        # The same seed gives the same bits on one thread only; runs side by side fill the cores.
        torch.set_num_threads(1)
    spec = read_experiment(Path(run.experiment))
    protocol = protocol_of(spec, reduced=run.is_reduced, seeds=run.seeds)
    variant = spec.variants[run.variant]
    steps = protocol.plan_of(variant, run.seed).steps
    network_file = _network_file(run, variant.network, protocol)
    with stop_on_interrupt() as should_stop:
        watching = Watching(
            on_step=lambda step: (
                advance(step.number, steps, f"loss {step.loss:.3f}")
                if step.number % 10 == 0 or step.number == steps
                else None
            ),
            should_stop=should_stop,
        )
        result = run_variant(
            spec,
            protocol,
            run.variant,
            run.seed,
            network_file=network_file,
            data=Path(run.data) if run.data else None,
            device=run.device,
            folder=run.file.parent,
            watching=watching,
        )
    words = {
        "protocol": _asked(spec, protocol, run.variant),
        "machine": machine(run.device),
        **result.to_json(),
    }
    half_written = run.file.with_suffix(".part")
    half_written.write_text(json.dumps(words))
    half_written.replace(run.file)
    return result


def _network_file(run: _Run, network: str, protocol: Protocol) -> Path:
    """The variant's network file; one beside the weights if the protocol changes constants."""
    path = find_network(network).resolve()
    if not protocol.constants:
        return path
    small = run.file.parent / f"{path.stem}.reduced.yaml"
    content = {"base": str(path), "constants": dict(protocol.constants)}
    # Runs side by side write the same file: none may read it half written.
    half_written = small.with_name(f"{small.name}.{os.getpid()}.part")
    half_written.write_text(yaml.safe_dump(content, sort_keys=False))
    half_written.replace(small)
    return small


def _found(run: _Run) -> RunResult | None:
    """What an earlier call has found.

    Raises:
        ParameterError: it was found under another protocol.
    """
    from streaming_net_ros.training.experiment import protocol_of, read_experiment
    from streaming_net_ros.training.experiment_run import RunResult

    if not run.file.is_file():
        return None
    spec = read_experiment(Path(run.experiment))
    protocol = protocol_of(spec, reduced=run.is_reduced, seeds=run.seeds)
    asked = _asked(spec, protocol, run.variant)
    try:
        words = json.loads(run.file.read_text())
        made = {**asked, **words.pop("protocol"), "seeds": protocol.seeds}
        words.pop("machine")
        result = RunResult(**words)
    except (ValueError, KeyError, TypeError):
        made = None  # damaged, or of another version
    if made != asked:
        raise ParameterError(
            "there are results of another protocol",
            where=str(run.file),
            remedy="choose another --out, or remove them",
        )
    return result


def _asked(spec: ExperimentSpec, protocol: Protocol, variant: str) -> dict[str, Any]:
    """All that a variant's results depend on, but for the seed."""
    return {
        **_in_words(protocol),
        "variant": spec.variants[variant].model_dump(mode="json", exclude={"published"}),
        "horizon_steps": spec.horizon_steps,
        "switch_step": spec.switch_step,
    }
