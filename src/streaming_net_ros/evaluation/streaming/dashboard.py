"""A frame of the annotated video: the camera, bars of what was right and answered, and the past.

Draws with OpenCV into one picture. Knows nothing of files. Used by ``annotated``.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.evaluation.streaming.pictures import RIGHT, colour_of
from streaming_net_ros.evaluation.streaming.references import Kind
from streaming_net_ros.evaluation.streaming.world import Lived

Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]

_WIDTH, _CAMERA, _STRIP = 960, 400, 150  # pixels: width, heights of camera and strip
_MARGIN = 16
_PAST_NS = 8_000_000_000
_INK: Colour = (40, 40, 40)
_PALE: Colour = (225, 225, 225)


class Dashboard:
    """Draws the images of one recording, in any order.

    Args:
        name: of the field that is shown.
        kind: of what is compared.
        lived: each rollout in this recording's world, by name; the first field is shown.
    """

    def __init__(self, name: str, kind: Kind, lived: Mapping[str, Lived]) -> None:
        self._name = name
        self._kind = kind
        self._lived = lived
        self._world = next(iter(lived.values())).world
        columns = [self._world.values[:, 0], *(one.timed.values[:, 0] for one in lived.values())]
        finite = np.concatenate([column[np.isfinite(column)] for column in columns])
        most = float(np.abs(finite).max()) if len(finite) else 1.0
        self._high = most or 1.0
        self._low = -self._high if len(finite) and finite.min() < 0 else 0.0
        self._is_sideways = name == "angular.z"  # left positive: draw it to the left
        self._colours = [_rgb(colour_of(number)) for number in range(len(lived))]

    def draw(self, camera: Canvas, number: int) -> Canvas:
        """The picture at the capture of an image.

        Args:
            camera: (height, width, 3) uint8 rgb, of any size.
            number: of the image.

        Returns:
            (height, width, 3) uint8 rgb, always of the same size.
        """
        now_ns = int(self._world.captured_ns[number])
        canvas: Canvas = np.full((_CAMERA + _STRIP + 3 * _MARGIN, _WIDTH, 3), 255, np.uint8)
        left = _MARGIN + _place_camera(canvas, camera) + 2 * _MARGIN
        seconds = (now_ns - int(self._world.captured_ns[0])) / 1e9
        _write(canvas, f"{self._name}   {seconds:.1f} s", (left, _MARGIN + 18), _INK, 0.6)
        step = min(84, (_CAMERA - 40) // (1 + len(self._lived)))
        top = _MARGIN + 44
        right = self._world.at(np.array([now_ns]))[0, 0]
        self._bar(canvas, (left, top), right, name="reference", note="", colour=_rgb(RIGHT))
        for row, (name, lived) in enumerate(self._lived.items(), start=1):
            place = int(lived.timed.newest_at(np.array([now_ns]))[0])
            value, age = np.nan, "silent"
            if place >= 0:
                value = lived.timed.values[place, 0]
                age = f"{(now_ns - int(lived.timed.captured_ns[place])) / 1e6:.0f} ms old"
            at, colour = (left, top + row * step), self._colours[row - 1]
            self._bar(canvas, at, value, name=name, note=age, colour=colour)
        self._strip(canvas, now_ns)
        return canvas

    def _bar(
        self,
        canvas: Canvas,
        at: tuple[int, int],
        value: float,
        *,
        name: str,
        note: str,
        colour: Colour,
    ) -> None:
        """A name and a bar from zero to the value; for a class its number."""
        x, y = at
        width = _WIDTH - _MARGIN - x
        known = bool(np.isfinite(value))
        shown = f"{value:.0f}" if self._kind == "class" else f"{round(value, 2) + 0.0:+.2f}"
        _write(canvas, f"{name}  {shown if known else '-'}", (x, y + 14), colour, 0.55)
        size = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
        _write(canvas, note, (x + width - size, y + 14), _INK, 0.5)
        cv2.rectangle(canvas, (x, y + 24), (x + width, y + 44), _PALE, -1)
        if known:
            zero, tip = (x + round(self._along(v) * width) for v in (0.0, value))
            cv2.rectangle(canvas, (min(zero, tip), y + 24), (max(zero, tip), y + 44), colour, -1)
            cv2.line(canvas, (zero, y + 20), (zero, y + 48), _INK, 1)

    def _along(self, value: float) -> float:
        """Where a value lies, 0 (left end) to 1."""
        share = (value - self._low) / (self._high - self._low)
        return 1 - share if self._is_sideways else share

    def _strip(self, canvas: Canvas, now_ns: int) -> None:
        """The last seconds: the reference, and what the newest answers were."""
        top, bottom = _CAMERA + 2 * _MARGIN, _CAMERA + 2 * _MARGIN + _STRIP
        width = _WIDTH - 2 * _MARGIN
        cv2.rectangle(canvas, (_MARGIN, top), (_MARGIN + width, bottom), (248, 248, 248), -1)
        columns = np.arange(0, width, 2)
        times_ns = now_ns - _PAST_NS + (columns * (_PAST_NS / width)).astype(np.int64)
        curves = [(self._world.at(times_ns)[:, 0], _rgb(RIGHT), 2)]
        curves += [
            (lived.answers_at(times_ns)[:, 0], colour, 2)
            for lived, colour in zip(self._lived.values(), self._colours, strict=True)
        ]
        for values, colour, thickness in curves:
            known = np.isfinite(values) & (times_ns >= self._world.captured_ns[0])
            heights = (values[known] - self._low) / (self._high - self._low)
            y = bottom - 6 - heights * (_STRIP - 12)
            points = np.stack([_MARGIN + columns[known], y], axis=1).round().astype(np.int32)
            if len(points):
                cv2.polylines(canvas, [points], False, colour, thickness, cv2.LINE_AA)
        _write(canvas, f"the last {_PAST_NS // 10**9} s", (_MARGIN + 6, top + 16), _INK, 0.45)


def _place_camera(canvas: Canvas, camera: Canvas) -> int:
    """Put the camera at the left, as large as it fits; gives its width."""
    height, width = camera.shape[:2]
    scale = min(_CAMERA / height, 0.58 * _WIDTH / width)
    size: tuple[int, int] = (round(width * scale), round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(camera, size, interpolation=method)
    canvas[_MARGIN : _MARGIN + size[1], _MARGIN : _MARGIN + size[0]] = resized
    return size[0]


def _write(canvas: Canvas, text: str, at: tuple[int, int], colour: Colour, scale: float) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def _rgb(colour: str) -> Colour:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue
