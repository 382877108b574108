"""``streaming-net train``: fit a network's weights to recordings or labelled pictures.

Reads data into clips, makes a training plan of a file and options, shows the training's progress
on stderr, and leaves weights, a checkpoint, metrics and a picture side by side.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streaming_net_ros.cli.machine import check_device
from streaming_net_ros.cli.progress import progress_bar, stop_on_interrupt
from streaming_net_ros.cli.train_log import TrainingLog
from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.paths import find_network, find_plan

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.metrics import ResponseErrors
    from streaming_net_ros.network import StreamingNetwork
    from streaming_net_ros.training import Clips, Target, TrainingHistory, TrainingPlan

MS = 1_000_000
OPTIMISER = {"AdamW": {"lr": 2e-3, "weight_decay": 0.1}}
SCHEDULER = {"OneCycleLR": {"pct_start": 0.1}}
OF_A_RECORDING = {"mirror": True, "brightness": 0.15, "contrast": 0.25, "noise": 0.02}


def train(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    *,
    out: Annotated[Path, typer.Option(help="The weights file to write (.safetensors).")],
    bag: Annotated[
        list[Path] | None,
        typer.Option(help="A recording, or a folder of several. Can be repeated."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="TOPIC:FIELD[,FIELD] in the bags: what was right at each image. "
            "Can be repeated, one for each output."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="KIND[:FOLDER] of labelled pictures, in place of bags: folder, cifar10, "
            "mnist, gtsrb, digits."
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            help="Training plan: a YAML file, or the name of a shipped one. Options win."
        ),
    ] = None,
    image_topic: Annotated[
        str | None, typer.Option(help="The bags' image topic; not needed if they have only one.")
    ] = None,
    frames: Annotated[
        str, typer.Option(help="FIRST:LAST of each bag, to train on a part; LAST not included.")
    ] = ":",
    lag_ms: Annotated[
        float, typer.Option(help="How much later than an image its target is stamped.")
    ] = 0.0,
    validate: Annotated[
        float, typer.Option(help="Share set aside to judge on: the end of each bag, or tracks.")
    ] = 0.1,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of the weights.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Sequences per update.")] = None,
    responses: Annotated[
        int | None,
        typer.Option(min=1, help="Responses of a sequence; else until the full one, and 6 more."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one.")] = None,
    mirror: Annotated[
        bool | None, typer.Option(help="Also learn from mirrored images, sideways fields turned.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Of each frame: deviation, as a share of the range.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the weights, the draw and its changes.")
    ] = None,
    rollout: Annotated[
        str | None,
        typer.Option(help="streaming, sequential, or the file of a rollout table (plan --table)."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N")] = "cpu",
    init: Annotated[
        Path | None, typer.Option(help="Weights to begin with, instead of random ones.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network; early and full responses both learn to be right.

    Ctrl-C ends the training after its step and leaves a checkpoint to resume from, and the best
    weights so far.

    Example: streaming-net train pilot --bag my_drive --target /teleop/cmd_vel:twist.angular.z
    --out my_pilot.safetensors
    """
    from streaming_net_ros.cli.train_picture import draw_training
    from streaming_net_ros.network import save_weights
    from streaming_net_ros.training import sequences_of

    if not out.parent.is_dir() or out.suffix != ".safetensors":
        expected = "a file NAME.safetensors in a folder that exists"
        raise ParameterError("cannot write there", where="--out", expected=expected, got=str(out))
    if not math.isfinite(lag_ms):
        raise ParameterError("not a time", where="--lag-ms", expected="milliseconds", got=lag_ms)
    if (bag is None) == (data is None):
        raise ParameterError("what to learn from?", expected="either --bag or --data",
                             got="both" if bag else "neither")  # fmt: skip
    if bag and not target:
        raise ParameterError("what was right?", where="--target",
                             remedy="name a topic: /cmd_vel:twist.angular.z")  # fmt: skip
    given = {
        "steps": steps, "batch": batch, "responses": responses, "seed": seed,
        "augmentation": {"mirror": mirror, "noise": noise},
    }  # fmt: skip
    content = _content(plan, given, OF_A_RECORDING if bag else {})
    net = _network(network, rollout, content.get("seed", 0), device, init)
    goals = _goals(net, target or [])
    if bag:
        source = _Bags(bag, image_topic, frames, round(lag_ms * MS))
        learn, judge = source.read(net, goals, validate)
    else:
        learn, judge = _read_dataset(net, data or "", validate)
    chosen = _plan(content, net, learn, learning_rate)
    learn = learn.to(device)
    sequences = sequences_of(chosen, learn, net)
    checks = sequences_of(chosen, judge.to(device), net, to_judge=True) if judge else None
    for warning in warnings(net, [goal for goal, _, _ in goals], learn):
        Console(stderr=True, soft_wrap=True).print(f"[yellow]note:[/] {warning}", highlight=False)
    history = _fit(net, chosen, sequences, checks, out, resume)
    save_weights(net, out, {"steps": str(history.best_step), "seed": str(chosen.seed)})
    draw_training(history, out.with_suffix(".training.png"), out.stem)
    result = _Result(out, len(sequences), sequences.frames, history, _judged(net, goals, judge))
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        text = str(result)
        if bag and target:
            text += f"\nnext: streaming-net run {network} --weights {out} --bag "
            text += f"{bags_at(bag[0])[0]} --record answers --reference {target[0]}"
        Console(highlight=False, soft_wrap=True).print(text, markup=False)
    if history.was_interrupted:
        raise typer.Exit(130)


@dataclass(frozen=True)
class _Bags:
    """Which recordings to learn from, and which part of them."""

    paths: Sequence[Path]
    image_topic: str | None
    frames: str
    lag_ns: int

    def read(
        self, network: StreamingNetwork, goals: Sequence[_Goal], share: float
    ) -> tuple[Clips, Clips | None]:
        """Clips to learn from, and the last share of each recording to judge on."""
        from streaming_net_ros.evaluation.recorded import parse_part
        from streaming_net_ros.training import image_input, joined
        from streaming_net_ros.training.datasets.recordings import TopicFields, read_recording

        _, given = image_input(network.spec)
        targets = {
            goal.output: TopicFields(topic, tuple(fields), goal.fields)
            for goal, topic, fields in goals
        }
        learn, judge = [], []
        paths = [path for bag in self.paths for path in bags_at(bag)]
        with progress_bar("reading", "bags") as advance:
            for done, path in enumerate(paths):
                advance(done, len(paths), path.name)
                clips = read_recording(
                    path,
                    given,
                    targets,
                    image_topic=self.image_topic,
                    part=parse_part(self.frames, "--frames"),
                    lag_ns=self.lag_ns,
                )
                first, last = clips.split(share)
                learn += [first] if first else []
                judge += [last] if last else []
        return joined(learn), joined(judge) if judge else None


# What is learnt, the topic that tells it, and the fields of its messages.
_Goal = tuple["Target", str, list[str]]


@dataclass(frozen=True)
class _Result:
    """What came of it."""

    weights: Path
    sequences: int
    frames: int
    history: TrainingHistory
    errors: dict[str, ResponseErrors]

    def to_json(self) -> dict[str, Any]:
        history = self.history
        return {
            "weights": str(self.weights),
            "sequences": self.sequences,
            "frames": self.frames,
            "steps": len(history.losses),
            "best_step": history.best_step,
            "was_interrupted": history.was_interrupted,
            "stopped_early": history.stopped_early,
            "losses": list(history.losses),
            "validations": [v.to_json() for v in history.validations],
            "errors": {name: errors.to_json() for name, errors in self.errors.items()},
        }

    def __str__(self) -> str:
        done, best = len(self.history.losses), self.history.best_step
        lines = [f"{done} steps on {self.sequences} sequences of {self.frames} frames"]
        if self.history.was_interrupted:
            lines.append(f"interrupted; the weights of step {best} are kept and usable, and "
                         "--resume goes on")  # fmt: skip
        if self.history.stopped_early:
            lines.append("stopped early: no better validation for as long as 'patience' says")
        lines += [f"set aside, not learnt from: {errors}" for errors in self.errors.values()]
        return "\n".join([*lines, f"weights of step {best} written to {self.weights}"])


def bags_at(path: Path) -> list[Path]:
    """The recording at a path, or those in a folder that is none itself, by name."""
    if path.is_dir() and not any(path.glob("metadata.yaml")):
        below = sorted(folder.parent for folder in path.glob("*/metadata.yaml"))
        return below or [path]
    return [path]


def warnings(network: StreamingNetwork, goals: Sequence[Target], clips: Clips) -> Iterator[str]:
    """What will probably disappoint, though nothing is wrong with it."""
    import numpy as np

    spec = network.spec
    for goal in goals:
        untrained = set(spec.outputs[goal.output].fields) - set(goal.fields)
        if untrained:
            names = ", ".join(sorted(untrained))
            yield f"{names} of output {goal.output} is not in --target: it will answer at random"
    if clips.stamps_ns is not None and len(clips.stamps_ns) > 1:
        rate_hz = 1e9 / np.median(np.abs(np.diff(clips.stamps_ns.numpy())))
        if not 0.8 < rate_hz / spec.rate_hz < 1.25:
            yield f"the images came at {rate_hz:.3g} Hz, the network is for {spec.rate_hz:g} Hz"


def _content(
    name: str | None, given: dict[str, Any], augmentation: dict[str, Any]
) -> dict[str, Any]:
    """What the plan's file says, with options over it; not yet checked."""
    from streaming_net_ros.training.plan import read_plan

    path = find_plan(name) if name else None
    content = read_plan(path) if path else {}
    written = content.get("augmentation", augmentation)
    options = {key: value for key, value in given.items() if value is not None}
    changes = {k: v for k, v in options.pop("augmentation").items() if v is not None}
    if not isinstance(written, dict):
        raise ParameterError("not a mapping", where=f"{path}: augmentation", got=written)
    return {**content, **options, "augmentation": {**written, **changes}}


def _plan(
    content: dict[str, Any], network: StreamingNetwork, clips: Clips, learning_rate: float | None
) -> TrainingPlan:
    """The plan; without learners of its own one for all targets of the data."""
    from streaming_net_ros.training import parse_plan

    if "learners" not in content:
        optimiser = {"AdamW": {**OPTIMISER["AdamW"]}}
        if learning_rate is not None:
            optimiser["AdamW"]["lr"] = learning_rate
        first = next(iter(network.spec.outputs))
        objectives = [
            {"of": first, "target": name, "loss": "CrossEntropyLoss"}
            if name in clips.classes
            else {"of": name, "target": name, "loss": "SmoothL1Loss"}
            for name in clips.targets
        ]
        content = {
            **content,
            "learners": [
                {
                    "objectives": objectives,
                    "optimizer": optimiser,
                    "scheduler": SCHEDULER,
                    "gradient_limit": 1.0,
                }
            ],
        }
    elif learning_rate is not None:
        raise ParameterError(
            "the plan's learners have learning rates of their own", where="--learning-rate"
        )
    return parse_plan(content)


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

    check_device(device)
    if "OMP_NUM_THREADS" not in os.environ:
        # The same seed gives the same bits on one thread only; and small networks are fastest so.
        torch.set_num_threads(1)
    spec = read_network_file(find_network(name))
    network = StreamingNetwork(spec, rollout_of(spec, rollout), seed=seed)
    if init is not None:
        load_weights(network, init)
    return network.to(device)


def _goals(network: StreamingNetwork, targets: Sequence[str]) -> list[_Goal]:
    from streaming_net_ros.evaluation.recorded import parse_reference
    from streaming_net_ros.training import find_target

    goals = []
    for text in targets:
        topic, fields = parse_reference(text)
        goals.append((find_target(network, fields), topic, fields))
    outputs = [goal.output for goal, _, _ in goals]
    if len(set(outputs)) < len(outputs):
        raise ParameterError(
            "two targets for one output", where="--target", expected="one: TOPIC:FIELD,FIELD"
        )
    return goals


def _read_dataset(
    network: StreamingNetwork, text: str, share: float
) -> tuple[Clips, Clips | None]:
    """The training part of a data set, in two: to learn from, and to judge on."""
    from streaming_net_ros.training import image_input
    from streaming_net_ros.training.datasets import read_dataset, split_tracks

    kind, _, folder = text.partition(":")
    _, given = image_input(network.spec)
    with progress_bar("reading", "pictures") as advance:
        clips = read_dataset(
            kind,
            Path(folder) if folder else None,
            "train",
            height=given.height,
            width=given.width,
            colour=given.colour,
            progress=lambda done, total: advance(done, total, ""),
        )
    learn, judge = split_tracks(clips, share)
    if learn is None:
        raise ParameterError("nothing is left to learn from", where="--validate", got=share)
    return learn, judge


def _fit(
    network: StreamingNetwork,
    plan: TrainingPlan,
    sequences: Any,
    checks: Any,
    out: Path,
    resume: bool,
) -> TrainingHistory:
    """Train with progress on the terminal, metrics in a file, and a picture at the end."""
    from streaming_net_ros.network import save_weights
    from streaming_net_ros.training import Watching, train

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    checkpoint = out.with_suffix(".checkpoint.safetensors")
    log = TrainingLog(out.with_suffix(".metrics.jsonl"))
    with stop_on_interrupt() as should_stop, progress_bar("training", "steps", console) as advance:

        def on_step(step: Any) -> None:
            log.step(step)
            advance(step.number, plan.steps, f"loss {step.loss:.3f}")

        best: list[Any] = []  # what was judged and is a number: then the network has the best

        def on_validation(validation: Any) -> None:
            log.validation(validation)
            best.extend([validation] if math.isfinite(validation.score) else [])
            console.print(str(validation), markup=False)

        with log:
            try:
                history = train(
                    network,
                    sequences,
                    plan,
                    validation=checks,
                    checkpoint=checkpoint,
                    resume=resume,
                    watching=Watching(on_step, on_validation, should_stop, log.begin),
                )
            except RunError:
                if best:
                    save_weights(network, out)
                raise
    return history


def _judged(
    network: StreamingNetwork, goals: Sequence[_Goal], judge: Clips | None
) -> dict[str, ResponseErrors]:
    """Errors of early and full responses on what was set aside, streamed whole."""
    from streaming_net_ros.training import judged

    if judge is None:
        return {}
    return {goal.output: judged(network, goal, judge) for goal, _, _ in goals}
