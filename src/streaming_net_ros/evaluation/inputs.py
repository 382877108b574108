"""What a recording gives a network: every input's state of every frame, brought to its size.

The first image input sets the frames, as in lockstep; of any other input a frame gets the newest
message stamped no later than its capture (the earliest one there is, if all are later). Imported
by whoever plays recordings without ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.bags import Bag, open_bag
from streaming_net_ros.network import ImageInput, NetworkSpec, VectorInput


@dataclass(frozen=True)
class RecordedInputs:
    """The frames of one recording.

    Attributes:
        captured_ns: (frames,) int64, strictly increasing.
        states: per input (frames, channels, height, width) uint8, or (frames, features) float32.
        topics: per input where it came from.
    """

    captured_ns: NDArray[np.int64]
    states: Mapping[str, NDArray[Any]]
    topics: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.captured_ns)

    @property
    def period_ns(self) -> int:
        """The median time from image to image; a second if there is only one."""
        return int(np.median(np.diff(self.captured_ns))) if len(self) > 1 else 10**9


def read_inputs(
    path: Path,
    spec: NetworkSpec,
    image_topic: str | None = None,
    named: Mapping[str, str] | None = None,
) -> RecordedInputs:
    """Read all inputs of a network from a recording.

    Args:
        path: the recording.
        spec: the network.
        image_topic: for the input that sets the frames; None takes the only one that fits.
        named: topic per further input; those left out take the only topic of their type.

    Raises:
        BagError: a topic that is absent or empty, or several to choose from.
        ParameterError: ``named`` names no input.
    """
    primary = spec.primary_input
    with open_bag(path) as bag:
        topics = input_topics(bag, spec, image_topic, named)
        series = {name: _read(bag, given, topics[name]) for name, given in spec.inputs.items()}
    captured_ns, _ = series[primary]
    if (np.diff(captured_ns) <= 0).any():
        raise BagError("stamps do not increase", where=f"{path}: {topics[primary]}")
    states = {
        name: values[np.clip(np.searchsorted(stamps, captured_ns, "right") - 1, 0, None)]
        for name, (stamps, values) in series.items()
    }
    return RecordedInputs(captured_ns, states, topics)


def input_topics(
    bag: Bag,
    spec: NetworkSpec,
    image_topic: str | None = None,
    named: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The topic of a recording for every input of a network.

    Args:
        bag: the recording.
        spec: the network.
        image_topic: for the input that sets the frames; None takes the only one that fits.
        named: topic per further input; those left out take the only topic of their type.

    Raises:
        BagError: a topic that is absent, or several to choose from.
        ParameterError: ``named`` names no input.
    """
    for name in named or {}:
        if name not in spec.inputs:
            raise ParameterError(
                "no such input", where="--topic", expected=f"one of {list(spec.inputs)}", got=name
            )
    wanted = {**({spec.primary_input: image_topic} if image_topic else {}), **(named or {})}
    return {name: input_topic(bag, spec, name, wanted.get(name)) for name in spec.inputs}


def input_topic(bag: Bag, spec: NetworkSpec, name: str, wanted: str | None) -> str:
    """The topic of a recording that is an input of a network.

    Args:
        bag: the recording.
        spec: the network.
        name: the input's.
        wanted: a topic; None takes the only one of the input's type.

    Raises:
        BagError: it is absent or of another type, or there are several to choose from.
    """
    given = spec.inputs[name]
    if isinstance(given, ImageInput):
        return bag.image_topic(wanted)
    if wanted is not None and bag.type_of(wanted) == given.topic_type:
        return wanted
    candidates = [topic for topic, kind in bag.topics.items() if kind == given.topic_type]
    if wanted is not None or len(candidates) != 1:
        raise BagError(
            f"which topic is the input '{name}'?",
            where=str(bag.path),
            expected=f"one topic of type {given.topic_type}",
            got=wanted or candidates,
            remedy=f"--topic {name}=TOPIC",
        )
    return candidates[0]


def _read(
    bag: Bag, given: ImageInput | VectorInput, topic: str
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    if isinstance(given, ImageInput):
        recording = bag.images(topic, given.colour, given.height, given.width)
        return recording.captured_ns, recording.images
    numbers = bag.series(topic, given.fields)
    return numbers.stamps_ns, numbers.values
