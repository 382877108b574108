"""Saliency: which pixels of which images a number of an output hangs on.

Owns the gradient of one element of an output's state with respect to the images that it is made
of, through the streaming rollout and with respect to all of them at once: an early response hangs
on the newest image, a full one on older images too. Knows nothing of colours or pages. Imported by
the viewer, and by whoever asks the same of a recording.

The gradient is torch's own through `StreamingNetwork.advance`, from silence at the first image:
exact where the images given are all that can influence the response. In a network with a memory
(a cycle) older images have influence too; there it is the gradient through the window given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streaming_net_ros.errors import ParameterError, StateError
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.schema import ImageInput, NetworkSpec
from streaming_net_ros.theory import Computes, LightCone, past_cone, shortest_delay

MAX_IMAGES = 32
"""Images that a gradient is taken through, however long the memory of a network."""


@dataclass(frozen=True)
class Question:
    """What is asked: one number of an output, and the camera that it is asked about.

    Args:
        output: name of the output.
        element: of its group's state, counted in the order height, width, channel.
        image: name of the image input.
    """

    output: str
    element: int
    image: str


@dataclass(frozen=True)
class Saliency:
    """The answer.

    Attributes:
        frames: of the images, rising; the last is the newest.
        response_frame: of the response that is asked about: the first that the newest image can
            influence.
        value: the number that was differentiated.
        gradient: (images, channels, height, width) float32: change of that number per step of a
            pixel's 8-bit value.
    """

    frames: tuple[int, ...]
    response_frame: int
    value: float
    gradient: Tensor

    @property
    def heat(self) -> Tensor:
        """(images, height, width), channels summed; 1 is the strongest pixel of all images."""
        strength = self.gradient.abs().sum(1)
        top = strength.max()
        return strength / top if top > 0 else strength

    @property
    def shares(self) -> tuple[float, ...]:
        """How much of the whole gradient lies in each image; all 0 if there is none."""
        sums = self.gradient.abs().sum((1, 2, 3), dtype=torch.float64)
        total = float(sums.sum())
        return tuple(float(one) / total if total > 0 else 0.0 for one in sums)


def inputs_of(spec: NetworkSpec) -> tuple[str, ...]:
    """The inputs that states are made of: not those that only teach."""
    heard = {edge.source for group in spec.groups for edge in group.edges}
    return tuple(name for name in spec.inputs if name in heard)


def computes_of(spec: NetworkSpec) -> Computes:
    """In which frames the groups of a network compute: ``every`` and ``offset``."""
    periods = spec.periods
    return lambda group, frame: group not in periods or periods[group].newest(frame) == frame


def response_frame(network: StreamingNetwork, question: Question, newest_frame: int) -> int:
    """The first frame at which the output can have been influenced by the image of a frame.

    Raises:
        ParameterError: no such output, element or image, or no path between them.
    """
    _check(network, question)
    group = network.spec.outputs[question.output].group
    delay = shortest_delay(network.rollout, question.image, group)
    if delay is None:
        raise ParameterError(
            "no path from the image to the output",
            where="saliency",
            got=f"{question.image} -> {question.output}",
            remedy="ask about another output, or another image",
        )
    return newest_frame + delay


def images_needed(
    network: StreamingNetwork, question: Question, newest_frame: int, limit: int = MAX_IMAGES
) -> int:
    """How many images, the newest included, can influence the response; at most ``limit``.

    Other inputs count with it: as many of their states are needed.

    Raises:
        ParameterError: as `response_frame`.
    """
    cone = _cone(network, question, newest_frame, limit)
    inputs = network.spec.inputs
    oldest = min((frame for frame, node in cone.members if node in inputs), default=newest_frame)
    return newest_frame - min(oldest, newest_frame) + 1


def saliency(
    network: StreamingNetwork,
    question: Question,
    inputs: Mapping[str, Tensor],
    newest_frame: int,
) -> Saliency:
    """The gradient of the response to the newest image, with respect to all images given.

    Loads one graph over the whole window into memory; takes about three times the work of so many
    frames. Safe in any thread: the gradient mode is set here, and the network is not changed.

    Args:
        network: in evaluation mode.
        question: what is asked.
        inputs: per input its last states, (frames, ...) rising, the last that of `newest_frame`;
            equally many of each. After that, inputs other than the image are held.
        newest_frame: the frame of the last states.

    Raises:
        ParameterError: as `response_frame`, or a network in training mode.
        StateError: an input is missing or of another shape, or the output is silent.
    """
    asked = response_frame(network, question, newest_frame)
    _check_inputs(network, inputs)
    # Whatever the caller's thread has set: grad mode does nothing inside inference mode.
    with torch.inference_mode(False), torch.enable_grad():
        images = inputs[question.image].detach().to(torch.float32).clone().requires_grad_(True)
        first = newest_frame - len(images) + 1
        state = replace(network.init_state(), frame=first)
        given = {**inputs, question.image: images}
        for frame in range(first, asked + 1):
            # Slices of one leaf: the gradient of all images comes in one piece.
            heard = {
                name: states[min(frame, newest_frame) - first, None]
                for name, states in given.items()
                if frame <= newest_frame or name != question.image
            }
            state, nodes = network.advance(state, heard)
        response = nodes[network.spec.outputs[question.output].group]
        if response is None:
            raise StateError(
                "the output is silent: nothing to differentiate",
                where=f"output {question.output}, frame {asked}",
                remedy=f"give the last {images_needed(network, question, newest_frame)} images",
            )
        number = _element(response, question)
        if number.requires_grad:
            (gradient,) = torch.autograd.grad(number, images, allow_unused=True)
        else:
            gradient = None
    if gradient is None:  # the images given are not among those that reach the response
        gradient = torch.zeros_like(images)
    frames = tuple(range(first, newest_frame + 1))
    return Saliency(frames, asked, float(number.detach()), gradient.detach().to(torch.float32))


def _element(response: Tensor, question: Question) -> Tensor:
    """One number of a state, (1, channels, height, width) or (1, features)."""
    flat = response.movedim(1, -1).reshape(-1) if response.dim() == 4 else response.reshape(-1)
    return flat[question.element]


def _cone(
    network: StreamingNetwork, question: Question, newest_frame: int, limit: int
) -> LightCone:
    asked = response_frame(network, question, newest_frame)
    group = network.spec.outputs[question.output].group
    first = max(0, newest_frame - limit + 1)
    return past_cone(network.rollout, group, asked, first, computes_of(network.spec))


def _check(network: StreamingNetwork, question: Question) -> None:
    spec = network.spec
    if question.output not in spec.outputs:
        raise ParameterError(
            "no such output", where="saliency", expected=f"one of {', '.join(spec.outputs)}",
            got=question.output,
        )  # fmt: skip
    images = [name for name, given in spec.inputs.items() if isinstance(given, ImageInput)]
    if question.image not in images:
        raise ParameterError(
            "no such image input", where="saliency", expected=f"one of {', '.join(images)}",
            got=question.image,
        )  # fmt: skip
    size = torch.Size(network.shapes[spec.outputs[question.output].group]).numel()
    if not 0 <= question.element < size:
        raise ParameterError(
            "no such element", where=f"saliency of {question.output}",
            expected=f"0 to {size - 1}", got=question.element,
        )  # fmt: skip


def _check_inputs(network: StreamingNetwork, inputs: Mapping[str, Tensor]) -> None:
    if network.training:
        raise ParameterError(
            "a network in training mode has no one answer", where="saliency",
            remedy="call network.eval() first",
        )  # fmt: skip
    missing = sorted(set(inputs_of(network.spec)) - set(inputs))
    lengths = {len(states) for states in inputs.values()}
    if missing or len(lengths) != 1 or 0 in lengths:
        raise StateError(
            "saliency needs equally many states of every input",
            where="saliency",
            expected=f"{', '.join(inputs_of(network.spec))}: (frames, ...)",
            got={name: tuple(states.shape) for name, states in inputs.items()},
        )
    for name, states in inputs.items():
        network.checked_input(name, states)
