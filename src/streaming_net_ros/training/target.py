"""What a network learns: some fields of one of its outputs, and how to get at its responses.

Knows the network and its response times; nothing of recordings' files or of optimisers. Imported
by ``trainer`` and by whoever judges a network on a recording without ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.metrics import ResponseErrors, response_errors
from streaming_net_ros.network import ImageInput, NetworkSpec, StreamingNetwork
from streaming_net_ros.theory import ResponseTimes, response_times
from streaming_net_ros.training.clips import Clips


@dataclass(frozen=True)
class Target:
    """What is learnt: elements of the state of one output's group.

    Attributes:
        output: the output's name.
        fields: its fields, as the network file names them.
        elements: of its state, one per field.
        times: when it answers.
    """

    output: str
    fields: tuple[str, ...]
    elements: tuple[int, ...]
    times: ResponseTimes


def find_target(network: StreamingNetwork, fields: Sequence[str]) -> Target:
    """The output whose fields contain the wanted ones.

    Args:
        network: has the outputs.
        fields: of a message, for example ``twist.angular.z``; an output's ``angular.z`` fits it.

    Raises:
        ParameterError: no output has them all, or several have; the outputs are listed.
    """
    found = []
    for name, output in network.spec.outputs.items():
        matches = [key for field in fields for key in output.fields if _fits(field, key)]
        if len(matches) == len(fields) > 0:
            found.append((name, matches))
    if len(found) != 1:
        what = "several outputs have these fields" if found else "no output has these fields"
        raise ParameterError(
            what,
            where="--target",
            expected=_listing(network.spec),
            got=", ".join(fields),
            remedy="name fields of one output (outputs.NAME.fields in the network file)",
        )
    ((name, keys),) = found
    output = network.spec.outputs[name]
    return Target(
        output=name,
        fields=tuple(keys),
        elements=tuple(output.fields[key] for key in keys),
        times=response_times(network.rollout)[output.group],
    )


def image_input(spec: NetworkSpec) -> tuple[str, ImageInput]:
    """The one image input that windows feed, by its name.

    Raises:
        ParameterError: the network hears something else too.
    """
    (name, given), *others = spec.inputs.items()
    if others or not isinstance(given, ImageInput):
        raise ParameterError(
            "training from recordings feeds one image input and nothing else",
            where=f"{spec.path}: inputs",
            got=", ".join(f"{name} ({given.type})" for name, given in spec.inputs.items()),
        )
    return name, given


def stream(network: StreamingNetwork, target: Target, images: Tensor) -> NDArray[np.float32]:
    """The responses to all images of a clip in one go, from silence: (responses, fields).

    The first one answers to image 0.

    Args:
        network: in evaluation mode.
        target: what to pick of the output.
        images: (frames, channels, height, width) uint8.
    """
    device = next(network.parameters()).device
    name, _ = image_input(network.spec)
    with torch.inference_mode():
        answers = [
            response[0, list(target.elements)].cpu().numpy()
            for outputs in network({name: images.unsqueeze(1).to(device)})
            if (response := outputs[target.output]) is not None
        ]
    return np.array(answers, np.float32).reshape(-1, len(target.fields))


def judged(network: StreamingNetwork, target: Target, clips: Clips) -> ResponseErrors:
    """Errors of early and full responses over clips, each streamed whole, from silence.

    Args:
        network: in evaluation mode.
        target: what is judged.
        clips: all are pooled; the mean predictor's mean is that of all their targets.

    Raises:
        BagError: not one image can be judged.
    """
    times = target.times
    # Streams side by side on one axis of image numbers, apart by images that nobody answers:
    # a full answer must not be looked for in the next stream.
    apart = np.full((times.full_frames - times.first_frames, len(target.fields)), np.nan)
    numbers, answers, references = [], [], []
    first = 0
    for clip, (begin, end) in enumerate(clips.bounds.tolist()):
        answers.append(stream(network, target, clips.images_of(clip)))
        numbers.append(first + np.arange(len(answers[-1])))
        right = clips.targets[target.output][begin:end].cpu().numpy()
        references += [right, apart.astype(np.float32)]
        first += end - begin + len(apart)
    return response_errors(
        np.concatenate(numbers),
        np.concatenate(answers),
        np.arange(first),
        np.concatenate(references),
        first_frames=times.first_frames,
        full_frames=times.full_frames,
        fields=target.fields,
    )


def _fits(field: str, key: str) -> bool:
    """Whether a message's dotted field ends in an output's field."""
    return field == key or field.endswith(f".{key}")


def _listing(spec: NetworkSpec) -> str:
    listed = [
        f"{name} ({', '.join(output.fields) or 'a tensor without fields'})"
        for name, output in spec.outputs.items()
    ]
    return "fields of " + " or ".join(listed)
