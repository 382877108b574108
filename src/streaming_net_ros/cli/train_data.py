"""What ``train`` learns from: bags with targets, or labelled pictures, in two parts.

One part is to learn from, the other to judge on. Knows the command line's words for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.errors import ParameterError

if TYPE_CHECKING:
    from streaming_net_ros.network import StreamingNetwork
    from streaming_net_ros.training import Clips, Target

# What is learnt, the topic that tells it, and the fields of its messages.
Goal = tuple["Target", str, list[str]]


@dataclass(frozen=True)
class Bags:
    """Which recordings to learn from, and which part of them.

    Attributes:
        paths: of bags, or of folders of them.
        image_topic: None for the only one.
        frames: FIRST:LAST of each.
        lag_ns: how much later than an image its target is stamped.
    """

    paths: Sequence[Path]
    image_topic: str | None
    frames: str
    lag_ns: int

    def read(
        self, network: StreamingNetwork, goals: Sequence[Goal], share: float
    ) -> tuple[Clips, Clips | None]:
        """Clips to learn from, and the last share of each recording to judge on.

        Raises:
            StreamingNetError: a recording that lacks what is needed.
        """
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


def bags_at(path: Path) -> list[Path]:
    """The recording at a path, or those in a folder that is none itself, by name."""
    if path.is_dir() and not any(path.glob("metadata.yaml")):
        below = sorted(folder.parent for folder in path.glob("*/metadata.yaml"))
        return below or [path]
    return [path]


def goals_of(network: StreamingNetwork, targets: Sequence[str]) -> list[Goal]:
    """The outputs that targets mean, each with its topic and fields.

    Raises:
        ParameterError: a target that no output has, or two for one.
    """
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


def read_labelled(
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
