"""``streaming-net train``: fit a network's weights to recordings, without ROS.

Reads bags into windows, shows the training's progress on stderr, writes the weights, and says how
right early and full responses are on the part of the recordings that was set aside.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.metrics import ResponseErrors
    from streaming_net_ros.network import StreamingNetwork
    from streaming_net_ros.training import Segment, Target, TrainingHistory, TrainingPlan, Windows

EXTRA_FRAMES = 6  # of a window, beyond the full response: enough for states that remember
MS = 1_000_000


def train(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    *,
    bag: Annotated[
        list[Path], typer.Option(help="A recording, or a folder of several. Can be repeated.")
    ],
    target: Annotated[
        str, typer.Option(help="TOPIC:FIELD[,FIELD] in the bags: what was right at each image.")
    ],
    out: Annotated[Path, typer.Option(help="The weights file to write (.safetensors).")],
    image_topic: Annotated[
        str | None, typer.Option(help="The bags' image topic; not needed if they have only one.")
    ] = None,
    frames: Annotated[
        str, typer.Option(help="FIRST:LAST of each bag, to train on a part; LAST not included.")
    ] = ":",
    validate: Annotated[
        float, typer.Option(help="Share at the end of each bag to judge on, not to learn from.")
    ] = 0.1,
    steps: Annotated[int, typer.Option(min=1, help="Updates of the weights.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Windows per step.")] = 16,
    window: Annotated[
        int | None, typer.Option(min=1, help="Frames of a window; else full response + 6.")
    ] = None,
    rollout: Annotated[
        str | None,
        typer.Option(help="streaming, sequential, or the file of a rollout table (plan --table)."),
    ] = None,
    lag_ms: Annotated[
        float, typer.Option(help="How much later than an image its target is stamped.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the weights, the draw and its changes.")
    ] = 0,
    mirror: Annotated[
        bool, typer.Option(help="Also learn from mirrored images, sideways fields turned.")
    ] = True,
    learning_rate: Annotated[float, typer.Option(help="The highest one.")] = 2e-3,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N")] = "cpu",
    init: Annotated[
        Path | None, typer.Option(help="Weights to begin with, instead of random ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on recordings; early and full responses both learn to be right.

    Ctrl-C ends the training early and keeps the best weights so far.

    Example: streaming-net train pilot --bag my_drive --target /teleop/cmd_vel:twist.angular.z
    --out my_pilot.safetensors
    """
    from streaming_net_ros.evaluation.recorded import parse_part, parse_reference
    from streaming_net_ros.network import save_weights
    from streaming_net_ros.training import Augmentation, TrainingPlan, Windows, find_target, judged

    if not out.parent.is_dir() or out.suffix != ".safetensors":
        expected = "a file NAME.safetensors in a folder that exists"
        raise ParameterError("cannot write there", where="--out", expected=expected, got=str(out))
    if not math.isfinite(lag_ms):
        raise ParameterError("not a time", where="--lag-ms", expected="milliseconds", got=lag_ms)
    plan = TrainingPlan(steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    topic, fields = parse_reference(target)
    source = _Source(
        bag, image_topic, topic, fields, parse_part(frames, "--frames"), round(lag_ms * MS)
    )
    net = _network(network, rollout, seed, device, init)
    goal = find_target(net, fields)
    learn, judge = _read(net, source, validate)
    length = window or goal.times.full_frames + EXTRA_FRAMES
    windows = Windows(learn, length, goal.fields, Augmentation(mirror=mirror))
    checks = Windows(judge, length, goal.fields) if judge else None
    for warning in warnings(net, goal, learn):
        Console(stderr=True, soft_wrap=True).print(f"[yellow]note:[/] {warning}", highlight=False)
    history = _fit(net, goal, windows, plan, checks)
    save_weights(net, out, {"steps": str(history.best_step), "seed": str(seed)})
    result = _Result(out, windows, history, judged(net, goal, judge) if judge else None)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        text = f"{result}\nnext: streaming-net run {network} --weights {out} --bag "
        text += f"{bags_at(bag[0])[0]} --record answers --reference {target}"
        Console(highlight=False, soft_wrap=True).print(text, markup=False)
    if history.was_interrupted:
        raise typer.Exit(130)


@dataclass(frozen=True)
class _Source:
    """What to learn from."""

    bags: Sequence[Path]
    image_topic: str | None
    topic: str
    fields: Sequence[str]
    part: slice
    lag_ns: int


@dataclass(frozen=True)
class _Result:
    """What came of it."""

    weights: Path
    windows: Windows
    history: TrainingHistory
    errors: ResponseErrors | None

    def to_json(self) -> dict[str, Any]:
        history = self.history
        return {
            "weights": str(self.weights),
            "windows": len(self.windows),
            "window_frames": self.windows.frames,
            "steps": len(history.losses),
            "best_step": history.best_step,
            "was_interrupted": history.was_interrupted,
            "losses": list(history.losses),
            "validations": [
                {"step": v.step, "score": v.score, "mae": v.mae.tolist()}
                for v in history.validations
            ],
            "errors": None if self.errors is None else self.errors.to_json(),
        }

    def __str__(self) -> str:
        done, best = len(self.history.losses), self.history.best_step
        lines = [f"{done} steps on {len(self.windows)} windows of {self.windows.frames} frames"]
        if self.history.was_interrupted:
            lines.append(f"interrupted; the weights of step {best} are kept and usable")
        if self.errors is not None:
            lines.append(f"set aside, not learnt from: {self.errors}")
        return "\n".join([*lines, f"weights of step {best} written to {self.weights}"])


def bags_at(path: Path) -> list[Path]:
    """The recording at a path, or those in a folder that is none itself, by name."""
    if path.is_dir() and not any(path.glob("metadata.yaml")):
        below = sorted(folder.parent for folder in path.glob("*/metadata.yaml"))
        return below or [path]
    return [path]


def _network(
    name: str, rollout: str | None, seed: int, device: str, init: Path | None
) -> StreamingNetwork:
    import torch

    from streaming_net_ros.network import (
        StreamingNetwork,
        load_weights,
        read_network_file,
        rollout_of,
    )

    if "OMP_NUM_THREADS" not in os.environ:
        # The same seed gives the same bits on one thread only; and small networks are fastest so.
        torch.set_num_threads(1)
    spec = read_network_file(find_network(name))
    network = StreamingNetwork(spec, rollout_of(spec, rollout), seed=seed)
    if init is not None:
        load_weights(network, init)
    try:
        return network.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        what = f"cannot use this device ({str(error).splitlines()[0][:100]})"
        raise ParameterError(what, where="--device", got=device, remedy="use cpu") from None


def _read(
    network: StreamingNetwork, source: _Source, share: float
) -> tuple[list[Segment], list[Segment]]:
    """Segments to learn from, and the last share of each recording to judge on."""
    from streaming_net_ros.training import image_input, read_segments, split

    paths = [path for bag in source.bags for path in bags_at(bag)]
    _, given = image_input(network.spec)
    learn: list[Segment] = []
    judge: list[Segment] = []
    with _progress("reading", "bags") as advance:
        for done, path in enumerate(paths):
            advance(done, len(paths), path.name)
            segments = read_segments(
                path,
                given,
                source.topic,
                source.fields,
                image_topic=source.image_topic,
                part=source.part,
                lag_ns=source.lag_ns,
            )
            first, last = split(segments, share)
            learn += first
            judge += last
    return learn, judge


def warnings(
    network: StreamingNetwork, target: Target, segments: Sequence[Segment]
) -> Iterator[str]:
    """What will probably disappoint, though nothing is wrong with it."""
    import numpy as np

    spec = network.spec
    untrained = set(spec.outputs[target.output].fields) - set(target.fields)
    if untrained:
        names = ", ".join(sorted(untrained))
        yield f"{names} of output {target.output} is not in --target: it will answer at random"
    periods = [np.diff(segment.captured_ns) for segment in segments]
    rate_hz = 1e9 / np.median(np.concatenate(periods))
    if not 0.8 < rate_hz / spec.rate_hz < 1.25:
        yield f"the images came at {rate_hz:.3g} Hz, the network is for {spec.rate_hz:g} Hz"


def _fit(
    network: StreamingNetwork,
    target: Target,
    windows: Windows,
    plan: TrainingPlan,
    checks: Windows | None,
) -> TrainingHistory:
    """Train with progress on the terminal: the loss, and a line for each validation."""
    from streaming_net_ros.training import Validation, train

    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def on_validation(validation: Validation) -> None:
        early, late = validation.mae[0], validation.mae[-1]
        errors = (
            f"{field} {first:.3f} at the first response, {last:.3f} after {len(validation.mae)}"
            for field, first, last in zip(target.fields, early, late, strict=True)
        )
        console.print(f"step {validation.step}: mean absolute error {'; '.join(errors)}")

    with _progress("training", "steps", console) as advance:
        return train(
            network,
            target,
            windows,
            plan,
            validation=checks,
            on_step=lambda step, loss: advance(step, plan.steps, f"loss {loss:.3f}"),
            on_validation=on_validation,
        )


@contextmanager
def _progress(
    doing: str, things: str, console: Console | None = None
) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; gives what moves it: (done, total, note)."""
    columns = [
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(things + " {task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield advance
