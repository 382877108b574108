"""One run of an experiment: train a network, and record what it answers while answers come.

Runs know nothing of each other; who starts them, side by side or one by one, is the command line.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import DataError
from streaming_net_ros.evaluation import ClassAnswers, first_step_at
from streaming_net_ros.network import (
    ImageInput,
    StreamingNetwork,
    read_network_file,
    rollout_of,
    save_weights,
)
from streaming_net_ros.theory import ResponseTimes, response_times
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets import CLASS_TARGET, read_dataset, split_tracks
from streaming_net_ros.training.experiment import DataSpec, ExperimentSpec, Protocol
from streaming_net_ros.training.history import Watching
from streaming_net_ros.training.sequences import Sequences
from streaming_net_ros.training.showing import sequences_of
from streaming_net_ros.training.target import image_input
from streaming_net_ros.training.trainer import train


@dataclass(frozen=True)
class RunResult:
    """What one run found.

    Attributes:
        variant: which.
        seed: which.
        steps: (responses,) update steps.
        accuracy: (responses,) share of right answers.
        hold: (horizon,) accuracy of the newest answer at update steps 1, 2, ...
        confusion: (responses, classes, classes).
        switched: (horizon,) as ``hold``, of stimuli that switch; empty without such a test.
        losses: of every training step.
        seconds: of training.
    """

    variant: str
    seed: int
    steps: list[int]
    accuracy: list[float]
    hold: list[float]
    confusion: list[list[list[float]]]
    switched: list[float]
    losses: list[float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        return asdict(self)

    @property
    def hold_mean(self) -> float:
        """Mean over the horizon of the newest answer's accuracy."""
        return float(np.mean(self.hold))

    def step_at(self, target: float) -> int | None:
        """The first update step whose answer is at least as right as the target."""
        return first_step_at(np.array(self.steps), np.array(self.accuracy), target)


def read_parts(data: DataSpec, path: Path | None, given: ImageInput) -> tuple[Clips, Clips]:
    """The training and the test part, as an input takes them.

    Raises:
        DataError: missing or damaged data.
    """
    size = {"height": given.height, "width": given.width, "colour": given.colour}
    learn = read_dataset(data.kind, path, "train", **size, limit=data.limit)  # type: ignore[arg-type]
    if data.test_share is None:
        test = read_dataset(data.kind, path, "test", **size, limit=data.test_limit)  # type: ignore[arg-type]
        return learn, test
    rest, aside = split_tracks(learn, data.test_share)
    if rest is None or aside is None:
        raise DataError("too few tracks to set some aside", where=learn.name, got=len(learn))
    return rest, aside


def run_variant(
    spec: ExperimentSpec,
    protocol: Protocol,
    name: str,
    seed: int,
    *,
    network_file: Path,
    data: Path | None,
    device: str,
    folder: Path,
    watching: Watching,
) -> RunResult:
    """Train one variant from one seed, and record what it answers to the test part.

    A run that was interrupted goes on from its checkpoint. Weights are left in the folder.

    Args:
        spec: the experiment.
        protocol: full or reduced.
        name: of the variant.
        seed: of weights, draw and dropout.
        network_file: of the variant, with the protocol's constants.
        data: folder of the data set, None for one that comes with a library.
        device: cpu, cuda, cuda:N.
        folder: for checkpoint and weights.
        watching: who is told, and who may stop it.

    Raises:
        StreamingNetError: missing data, or a plan or network that does not fit.
        KeyboardInterrupt: it was stopped; its checkpoint is written.
    """
    variant = spec.variants[name]
    network_spec = read_network_file(network_file)
    rollout = rollout_of(network_spec, variant.rollout)
    network = StreamingNetwork(network_spec, rollout, seed=seed).to(device)
    plan = protocol.plan_of(variant, seed)
    _, given = image_input(network_spec)
    learn, test = (part.to(device) for part in read_parts(protocol.data, data, given))
    # Before training: a test part that does not fit must not be told of after hours.
    shown = sequences_of(plan, test, network, to_judge=True)
    switching = None
    if spec.switch_step is not None:
        at = plan.model_copy(update={"switch": (spec.switch_step, spec.switch_step)})
        switching = sequences_of(at, test, network, to_judge=True)
    stem = f"{name.replace(' ', '_')}-{seed}"
    checkpoint = checkpoint_of(folder, name, seed)
    history = train(
        network,
        sequences_of(plan, learn, network),
        plan,
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        watching=watching,
    )
    if history.was_interrupted:
        raise KeyboardInterrupt
    save_weights(network, folder / f"{stem}.safetensors", {"seed": str(seed)})
    output, times = class_output(network)
    answers = record_answers(network, output, times, shown, batch=max(64, plan.batch))
    switched: list[float] = []
    if switching is not None:
        after = record_answers(network, output, times, switching, batch=max(64, plan.batch))
        switched = after.hold_accuracy(spec.horizon_steps).tolist()
    return RunResult(
        variant=name,
        seed=seed,
        steps=answers.steps.tolist(),
        accuracy=answers.accuracy.tolist(),
        hold=answers.hold_accuracy(spec.horizon_steps).tolist(),
        confusion=np.round(answers.confusion(), 4).tolist(),
        switched=switched,
        losses=[round(loss, 5) for loss in history.losses],
        seconds=history.seconds,
    )


def checkpoint_of(folder: Path, name: str, seed: int) -> Path:
    """The checkpoint of a run; to be removed when its result is kept."""
    return folder / f"{name.replace(' ', '_')}-{seed}.checkpoint.safetensors"


def class_output(network: StreamingNetwork) -> tuple[str, ResponseTimes]:
    """The output that tells classes, and when it answers: the first of the network file."""
    name, output = next(iter(network.spec.outputs.items()))
    return name, response_times(network.rollout)[output.group]


@torch.inference_mode()
def record_answers(
    network: StreamingNetwork,
    output: str,
    times: ResponseTimes,
    sequences: Sequences,
    *,
    batch: int,
) -> ClassAnswers:
    """What a network answers to sequences, one after the other from silence.

    Args:
        network: in evaluation mode, on the sequences' device.
        output: whose largest element is the class.
        times: of that output.
        sequences: with the target ``class``.
        batch: sequences side by side.
    """
    name, _ = image_input(network.spec)
    answers, shown = [], []
    for part in sequences.tiles(batch):
        responses = [
            response.argmax(1)
            for outputs in network({name: part.images()})
            if (response := outputs[output]) is not None
        ]
        answers.append(torch.stack(responses).cpu())
        labels = sequences.clips.targets[CLASS_TARGET].cpu()
        shown.append(labels[part.world])
    recorded = torch.cat(answers, dim=1)
    return ClassAnswers(
        times.first_step + times.period_steps * np.arange(len(recorded)),
        recorded.numpy(),
        _by_step(torch.cat(shown, dim=1).numpy(), sequences.stride, times),
        len(sequences.clips.classes[CLASS_TARGET]),
    )


def _by_step(shown: NDArray[np.int64], stride: int, times: ResponseTimes) -> NDArray[np.int64]:
    """What the world shows by update step, for a world that was given by pictures.

    With a picture per update step the two are the same; else a picture stays for as many update
    steps as a frame takes.
    """
    return shown if stride == times.period_steps else shown.repeat(times.period_steps, axis=0)
