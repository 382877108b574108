"""``streaming-net train``: fit a network's weights to recordings, without ROS.

Reads bags into windows, shows the training's progress on stderr, writes the weights, and says how
right early and full responses are on the part of the recordings that was set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.metrics import ResponseErrors
    from streaming_net_ros.network import StreamingNetwork
    from streaming_net_ros.training import Segment, Target, TrainingHistory, TrainingPlan, Windows

EXTRA_FRAMES = 6  # of a window, beyond the full response: enough for states that remember
MS = 1_000_000


def train(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
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
) -> int:
    """Train a network on recordings; early and full responses both learn to be right.

    Ctrl-C ends the training early and keeps the best weights so far.

    Example: streaming-net train pilot --bag my_drive --target /teleop/cmd_vel:twist.angular.z
    --out my_pilot.safetensors
    """
    from streaming_net_ros.network import save_weights
    from streaming_net_ros.training import Augmentation, TrainingPlan, Windows, find_target, judged

    if not out.parent.is_dir() or out.suffix != ".safetensors":
        expected = "a file NAME.safetensors in a folder that exists"
        raise ParameterError("cannot write there", where="--out", expected=expected, got=str(out))
    plan = TrainingPlan(steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    net = _network(network, rollout, seed, device, init)
    topic, fields = topic_and_fields(target, "--target")
    goal = find_target(net, fields)
    parts = _read(net, bag, image_topic, topic, fields, part_of(frames, "--frames"), lag_ms)
    learn, judge = _set_aside(parts, validate)
    length = window or goal.times.full_frames + EXTRA_FRAMES
    windows = Windows(learn, length, goal.fields, Augmentation(mirror=mirror))
    checks = Windows(judge, length, goal.fields) if judge else None
    history = _fit(net, goal, windows, plan, checks)
    save_weights(net, out, {"steps": str(history.best_step), "seed": str(seed)})
    errors = judged(net, goal, judge) if judge else None
    if as_json:
        print(json.dumps(_as_json(out, windows, history, errors), indent=2))
    else:
        text = _told(network, bag[0], target, out, windows, history, errors)
        Console(highlight=False, soft_wrap=True).print(text, markup=False)
    return 130 if history.was_interrupted else 0


def topic_and_fields(text: str, where: str) -> tuple[str, list[str]]:
    """``TOPIC:FIELD[,FIELD]`` taken apart.

    Raises:
        ParameterError: it is not of that form.
    """
    topic, _, fields = text.partition(":")
    names = fields.split(",")
    if not topic or not all(names):
        expected = "TOPIC:FIELD[,FIELD], for example /cmd_vel:twist.angular.z"
        raise ParameterError("not a topic with fields", where=where, expected=expected, got=text)
    return topic, names


def part_of(text: str, where: str) -> slice:
    """``FIRST:LAST`` as a slice; either may be left out, or counted from the end (``-200:``).

    Raises:
        ParameterError: it is not of that form.
    """
    try:
        first, last = (int(number) if number.strip() else None for number in text.split(":"))
    except ValueError:
        expected = "FIRST:LAST, for example 0:500, or :"
        raise ParameterError("not a part", where=where, expected=expected, got=text) from None
    return slice(first, last)


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
    network: StreamingNetwork,
    bags: Sequence[Path],
    image_topic: str | None,
    topic: str,
    fields: Sequence[str],
    part: slice,
    lag_ms: float,
) -> list[list[Segment]]:
    """Per recording its segments."""
    from streaming_net_ros.training import image_input, read_segments

    paths = [path for bag in bags for path in bags_at(bag)]
    given = network.spec.inputs[image_input(network.spec)]
    read = []
    with _progress("reading", "bags") as advance:
        for path in paths:
            read.append(
                read_segments(
                    path, given, image_topic, topic, fields, part=part, lag_ns=round(lag_ms * MS)
                )
            )
            advance(len(read), len(paths), "")
    return read


def _set_aside(parts: list[list[Segment]], share: float) -> tuple[list[Segment], list[Segment]]:
    from streaming_net_ros.training import split

    learn: list[Segment] = []
    judge: list[Segment] = []
    for segments in parts:
        first, last = split(segments, share)
        learn += first
        judge += last
    return learn, judge


def _fit(
    network: StreamingNetwork,
    target: Target,
    windows: Windows,
    plan: TrainingPlan,
    checks: Windows | None,
) -> TrainingHistory:
    """Train with progress on the terminal: the loss, and the newest validation error."""
    from streaming_net_ros.training import Validation, train

    notes = {"loss": "", "error": ""}
    with _progress("training", "steps") as advance:

        def on_step(step: int, loss: float) -> None:
            notes["loss"] = f"loss {loss:.3f}"
            advance(step, plan.steps, " ".join(notes.values()))

        def on_validation(validation: Validation) -> None:
            error = validation.mae.mean(axis=0)
            notes["error"] = "validation " + " ".join(f"{value:.3f}" for value in error)

        return train(
            network,
            target,
            windows,
            plan,
            validation=checks,
            on_step=on_step,
            on_validation=on_validation,
        )


def _as_json(
    out: Path, windows: Windows, history: TrainingHistory, errors: ResponseErrors | None
) -> dict[str, Any]:
    return {
        "weights": str(out),
        "windows": len(windows),
        "window_frames": windows.frames,
        "steps": len(history.losses),
        "best_step": history.best_step,
        "was_interrupted": history.was_interrupted,
        "losses": list(history.losses),
        "validations": [
            {"step": v.step, "score": v.score, "mae": v.mae.tolist()} for v in history.validations
        ],
        "errors": None if errors is None else errors.to_json(),
    }


def _told(
    network: str,
    bag: Path,
    target: str,
    out: Path,
    windows: Windows,
    history: TrainingHistory,
    errors: ResponseErrors | None,
) -> str:
    """What came out, and what to try next."""
    done = len(history.losses)
    lines = [f"{done} steps on {len(windows)} windows of {windows.frames} frames"]
    if history.was_interrupted:
        lines.append(f"interrupted; the weights of step {history.best_step} are kept and usable")
    if errors is not None:
        lines.append(f"set aside, not learnt from: {errors}")
    lines.append(f"weights of step {history.best_step} written to {out}")
    lines.append(
        f"next: streaming-net run {network} --weights {out} --bag {bags_at(bag)[0]} "
        f"--record answers --reference {target}"
    )
    return "\n".join(lines)


@contextmanager
def _progress(doing: str, things: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; gives what moves it: (done, total, note)."""
    columns = [
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(things + " {task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield advance
