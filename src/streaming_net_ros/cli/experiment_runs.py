"""The runs of an experiment: done side by side or one by one, each kept as soon as it is done.

What a run is stands in ``training.experiment_run``. A run's result is a file, and what is there is
not run again. Results of another protocol are refused.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import yaml

from streaming_net_ros.cli.experiment_outcome import in_words
from streaming_net_ros.cli.machine import machine
from streaming_net_ros.cli.progress import bars, stop_on_interrupt
from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.training.experiment import ExperimentSpec, Protocol
    from streaming_net_ros.training.experiment_run import RunResult
    from streaming_net_ros.training.history import Step

EVERY = 10  # steps from one word about a run to the next


@dataclass(frozen=True)
class Run:
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
        """The run in words."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        return Path(self.folder) / "runs" / f"{self.variant.replace(' ', '_')}-{self.seed}.json"


def all_runs(runs: Sequence[Run], jobs: int) -> list[RunResult]:
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
    waiting: Sequence[Run], results: dict[Run, RunResult], progress: Any, overall: Any
) -> None:
    for run in waiting:
        task = progress.add_task(run.title, total=None, note="")

        def advance(done: int, total: int, note: str, task: Any = task) -> None:
            progress.update(task, completed=done, total=total, note=note)

        results[run] = _do(run, advance)
        progress.remove_task(task)
        progress.advance(overall)


def _side_by_side(
    waiting: Sequence[Run], results: dict[Run, RunResult], progress: Any, overall: Any, jobs: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        told, end = manager.Queue(), manager.Event()
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = {pool.submit(_do_and_tell, run, told, end): run for run in waiting}
            tasks: dict[str, Any] = {}
            try:
                for future in _as_told(futures, told, progress, tasks):
                    run = futures[future]
                    results[run] = future.result()
                    if run.title in tasks:
                        progress.remove_task(tasks.pop(run.title))
                    progress.advance(overall)
            except BrokenProcessPool:
                raise RunError(
                    "the process of a run has died",
                    where=run.title,
                    remedy="is there memory enough? --jobs 1 takes less; what was done is kept",
                ) from None
            finally:
                # Runs under way end after their step and leave checkpoints: nobody waits long.
                end.set()
                pool.shutdown(cancel_futures=True)


def _as_told(
    futures: Mapping[Future[RunResult], Run], told: Any, progress: Any, tasks: dict[str, Any]
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


def _do_and_tell(run: Run, told: Any, end: Any) -> RunResult:
    """In a process of its own: a run that tells how far it is, and ends when it is told to."""
    if end.is_set():  # it was waiting in line when another run failed
        raise KeyboardInterrupt

    def advance(done: int, total: int, note: str) -> None:
        told.put((run.title, done, total, note))

    return _do(run, advance, end.is_set)


def _do(
    run: Run,
    advance: Callable[[int, int, str], None],
    is_over: Callable[[], bool] = lambda: False,
) -> RunResult:
    """One run, from its file's words to its result on disk."""
    import torch

    from streaming_net_ros.training import Watching
    from streaming_net_ros.training.experiment import protocol_of, read_experiment
    from streaming_net_ros.training.experiment_run import checkpoint_of, run_variant

    if run.device.startswith("cpu"):
        # The same seed gives the same bits on one thread only; runs side by side fill the cores.
        torch.set_num_threads(1)
    spec = read_experiment(Path(run.experiment))
    protocol = protocol_of(spec, reduced=run.is_reduced, seeds=run.seeds)
    variant = spec.variants[run.variant]
    steps = protocol.plan_of(variant, run.seed).steps
    network_file = _network_file(run, variant.network, protocol)
    with stop_on_interrupt() as was_interrupted:
        stops = [False]

        def on_step(step: Step) -> None:
            if step.number % EVERY == 0 or step.number == steps:
                advance(step.number, steps, f"loss {step.loss:.3f}")
                stops[0] = is_over()  # asks another process: not at every step

        watching = Watching(on_step, should_stop=lambda: stops[0] or was_interrupted())
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
    checkpoint_of(run.file.parent, run.variant, run.seed).unlink(missing_ok=True)
    if was_interrupted():  # while it was judged
        raise KeyboardInterrupt
    return result


def _network_file(run: Run, network: str, protocol: Protocol) -> Path:
    """The variant's network file, left beside the weights, with the protocol's constants."""
    path = find_network(network).resolve()
    file = run.file.parent / f"{path.stem}.yaml"
    content: dict[str, Any] = {"base": str(path)}
    if protocol.constants:
        content["constants"] = dict(protocol.constants)
    # Runs side by side write the same file: none may read it half written.
    half_written = file.with_name(f"{file.name}.{os.getpid()}.part")
    half_written.write_text(yaml.safe_dump(content, sort_keys=False))
    half_written.replace(file)
    return file


def _found(run: Run) -> RunResult | None:
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
        made = {**words.pop("protocol"), "seeds": protocol.seeds}  # more seeds go on
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
        **in_words(protocol),
        "variant": spec.variants[variant].model_dump(mode="json", exclude={"published"}),
        "horizon_steps": spec.horizon_steps,
        "switch_step": spec.switch_step,
    }
