"""The rollout view of a running network: which window, which cone, and which states are known.

Owns the choice of a cone (a node, and the frame that it stands for as frames go by) and the small
pictures of heard states. Reads values that were heard; knows neither ROS nor NiceGUI. Imported by
the rollout panel.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
from numpy.typing import NDArray

from streaming_net_ros.network import ImageInput, NetworkSpec
from streaming_net_ros.network.saliency import computes_of
from streaming_net_ros.theory import (
    FrameNode,
    LightCone,
    Rollout,
    first_frames,
    future_cone,
    past_cone,
    response_times,
)
from streaming_net_ros.viewer.pictures import Options, draw, png
from streaming_net_ros.viewer.rollout_view import RolloutView

LEAST_BACK, MOST_BACK = 2, 24
_MOST_AHEAD = 12
_PICTURE = (92, 68)  # columns, rows: twice a cell's, for sharp screens
_KEPT = 600


class SeenState(Protocol):
    """What is read of a state that was heard; a part of ``watch.Seen``."""

    @property
    def node(self) -> str:
        """Whose."""

    @property
    def frame(self) -> int:
        """Of which frame."""

    @property
    def values(self) -> NDArray | None:  # type: ignore[type-arg]
        """(channels, height, width) or (features,); None if it was silent."""


@dataclass(frozen=True)
class Choice:
    """The state whose cone is shown.

    Attributes:
        node: an input (its future) or a group (its past).
        offset: frames from the newest image's; the cone moves along with the frames.
        pinned: the frame that it stays at instead, and so moves out of the window.
    """

    node: str
    offset: int
    pinned: int | None = None

    def frame(self, now: int) -> int:
        """The frame of the cone's tip."""
        return self.pinned if self.pinned is not None else max(0, now + self.offset)

    def pin(self, now: int) -> Choice:
        """The same state, whatever the frames do."""
        return replace(self, pinned=self.frame(now))

    def unpin(self) -> Choice:
        """Along with the frames again, from where it was chosen."""
        return replace(self, pinned=None)


def first_choice(spec: NetworkSpec, rollout: Rollout) -> Choice:
    """The past of the first output, at the first answer to the newest image."""
    group = next(iter(spec.outputs.values())).group
    return Choice(group, first_frames(rollout)[group])


class RolloutWindow:
    """The window that follows a network's frames.

    Args:
        spec, rollout: the network.

    Attributes:
        back: frames before the newest image's.
        ahead: frames after it: until its full responses.
    """

    def __init__(self, spec: NetworkSpec, rollout: Rollout, back: int = 8) -> None:
        self.back = back
        full = max(times.full_frames for times in response_times(rollout).values())
        self.ahead = min(max(1, full), _MOST_AHEAD)
        self._rollout = rollout
        self._computes = computes_of(spec)
        self._outputs = {name: output.group for name, output in spec.outputs.items()}

    def view(
        self, now: int, choice: Choice | None, thumbnails: Mapping[FrameNode, str]
    ) -> RolloutView:
        """What is to be seen while the image of a frame is the newest."""
        first, last = max(0, now - self.back), now + self.ahead
        return RolloutView(
            self._rollout,
            first,
            last,
            now=now,
            cone=None if choice is None else self._cone(choice, now, first, last),
            outputs=self._outputs,
            thumbnails=thumbnails,
            computes=self._computes,
        )

    def _cone(self, choice: Choice, now: int, first: int, last: int) -> LightCone | None:
        frame = choice.frame(now)
        if choice.node in self._rollout.graph.inputs:
            if not last - frame <= 4 * (self.back + self.ahead) or frame > last:
                return None  # it went out of sight long ago, or time has begun anew
            return future_cone(self._rollout, choice.node, frame, last, self._computes)
        if frame < first:
            return None
        return past_cone(self._rollout, choice.node, frame, first, self._computes)


class Thumbnails:
    """Small pictures of the last states that were heard, each drawn once.

    Args:
        spec: the network: an image input is drawn as an image, all else by its mean.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        images = [name for name, given in spec.inputs.items() if isinstance(given, ImageInput)]
        self._options = {name: Options("camera") for name in images}
        self._kept: OrderedDict[FrameNode, str] = OrderedDict()

    def of(self, states: Iterable[SeenState]) -> dict[FrameNode, str]:
        """The pictures of these states as ``data:`` addresses; none of a silent one."""
        found: dict[FrameNode, str] = {}
        for seen in states:
            key = (seen.frame, seen.node)
            if key not in self._kept and seen.values is not None:
                self._kept[key] = self._drawn(seen.node, seen.values)
            if key in self._kept:
                self._kept.move_to_end(key)
                found[key] = self._kept[key]
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def clear(self) -> None:
        """Forget all: the same frames come again after a reset."""
        self._kept.clear()

    def _drawn(self, node: str, values: NDArray) -> str:  # type: ignore[type-arg]
        plain = Options("mean" if values.ndim == 3 else "bars")
        pixels = draw(values, self._options.get(node, plain))
        if pixels.shape[1] > _PICTURE[0] or pixels.shape[0] > _PICTURE[1]:
            pixels = cv2.resize(pixels, _PICTURE, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
