"""``streaming-net train``: fit a network's weights to recordings or labelled pictures.

Reads data into clips, makes a training plan of a file and options, shows the training's progress
on stderr, and leaves weights, a checkpoint, metrics and a picture side by side.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streaming_net_ros.cli.machine import check_device
from streaming_net_ros.cli.progress import progress_bar, stop_on_interrupt
from streaming_net_ros.cli.train_data import Bags, Goal, bags_at, goals_of, read_labelled, warnings
from streaming_net_ros.cli.train_log import TrainingLog
from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.paths import find_network, find_plan

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.metrics import ResponseErrors
    from streaming_net_ros.network import StreamingNetwork
    from streaming_net_ros.training import Clips, TrainingHistory, TrainingPlan

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
    goals = goals_of(net, target or [])
    if bag:
        source = Bags(bag, image_topic, frames, round(lag_ms * MS))
        learn, judge = source.read(net, goals, validate)
    else:
        learn, judge = read_labelled(net, data or "", validate)
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
    network: StreamingNetwork, goals: Sequence[Goal], judge: Clips | None
) -> dict[str, ResponseErrors]:
    """Errors of early and full responses on what was set aside, streamed whole."""
    from streaming_net_ros.training import judged

    if judge is None:
        return {}
    return {goal.output: judged(network, goal, judge) for goal, _, _ in goals}
