"""Saliency of a running network: its inputs in bursts, its weights from their file, one answer.

Owns the network that gradients are taken through (built at the first question, in the thread that
asks) and the newest answer, so that twenty pages with one question cost one gradient. No NiceGUI.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from streaming_net_ros.network import (
    ImageInput,
    NetworkSpec,
    Question,
    Saliency,
    StreamingNetwork,
    images_needed,
    load_weights,
    saliency,
)
from streaming_net_ros.theory import Rollout
from streaming_net_ros.viewer.bursts import Row

IMAGES = 12
"""At most so many images: a memory reaches back for ever, and fades."""

_KEPT = 8
_QUESTIONS = 64


@dataclass(frozen=True)
class Answer:
    """A question, answered.

    Attributes:
        saliency: the gradient.
        images: (images, channels, height, width) uint8, those that it is about.
    """

    saliency: Saliency
    images: NDArray[Any]


class Salience:
    """Answers questions about one network. Every method may be called from any thread.

    Attributes:
        most: images that are asked for, however long a memory is.

    Args:
        spec, rollout: the network.
        weights: its weights file; None: random ones, as a network without a file draws them.
    """

    def __init__(self, spec: NetworkSpec, rollout: Rollout, weights: Path | None) -> None:
        self.spec = spec
        self.most = IMAGES
        self._rollout = rollout
        self._weights = weights
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Question, int, int], Answer] = OrderedDict()
        self._needed: OrderedDict[Question, int] = OrderedDict()

    @property
    def cameras(self) -> list[str]:
        """The image inputs."""
        return [name for name, given in self.spec.inputs.items() if isinstance(given, ImageInput)]

    def fields(self, output: str) -> dict[int, str]:
        """The numbers of an output that have a name: a twist's fields, by element."""
        return {element: field for field, element in self.spec.outputs[output].fields.items()}

    def needed(self, question: Question) -> int:
        """Images that a question is about: all that can influence the answer, or `IMAGES`.

        Raises:
            ParameterError: nothing of that name, or no path.
        """
        with self._lock:
            if question not in self._needed:
                far = 1 << 20  # a frame that has as many before it as anybody asks for
                needed = images_needed(self._network, question, far, IMAGES)
                # Groups that compute every n-th frame: a few more, whichever frame it is.
                slack = max((p.every for p in self.spec.periods.values()), default=1) - 1
                self._needed[question] = min(IMAGES, needed + slack)
                while len(self._needed) > _QUESTIONS:
                    self._needed.popitem(last=False)
            return self._needed[question]

    def answer(self, question: Question, row: Row) -> Answer:
        """The gradient of the answer to the newest of these images. Takes tens of milliseconds.

        Raises:
            StreamingNetError: as `saliency`, or weights that do not fit.
        """
        key = (question, row.number, row.newest_frame)
        with self._lock:
            if key not in self._kept:
                states = {n: torch.from_numpy(values) for n, values in row.states.items()}
                found = saliency(self._network, question, states, row.newest_frame)
                self._kept[key] = Answer(found, row.states[question.image])
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    @cached_property
    def _network(self) -> StreamingNetwork:
        network = StreamingNetwork(self.spec, self._rollout).eval()
        if self._weights is not None:
            load_weights(network, self._weights)
        return network.requires_grad_(requires_grad=False)
