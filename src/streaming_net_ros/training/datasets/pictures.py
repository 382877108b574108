"""Pictures of one size and colour, out of image files or out of arrays.

Owns the decoding, the limits, the threads, and the report of progress. Knows OpenCV, and neither
classes nor folders. Every reader of ``datasets`` imports it.

A picture is fitted to the network's input as a camera's image is (``wire.fit_image``: what
shrinks is averaged, INTER_AREA; what grows is interpolated), so that what was learnt is what is
seen later. Unlike a camera's image, a photo is turned as its orientation tag says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets.headers import stated_size
from streaming_net_ros.training.datasets.sources import read_file
from streaming_net_ros.wire import fit_image
from streaming_net_ros.wire.camera import MAX_PIXELS, MAX_SIDE
from streaming_net_ros.wire.encodings import Colour, Image

Progress: TypeAlias = Callable[[int, int], None]  # pictures done, pictures in all
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom outside

MAX_FILE_BYTES: Final = 1 << 29  # more than a 16 bit ppm of MAX_PIXELS
_FILES_AT_ONCE = 32  # per task of a thread: few enough for a smooth progress
_PICTURES_PER_REPORT = 1024


def no_progress(done: int, total: int) -> None:
    """Tells nobody how far it got."""


@dataclass(frozen=True)
class PictureForm:
    """What every picture becomes: its height and width in pixels, and its colour.

    Raises:
        ParameterError: a side that is zero or absurd, or an unknown colour.
    """

    height: int
    width: int
    colour: Colour

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if not 0 < side <= MAX_SIDE:
                raise ParameterError(
                    "no picture has this side", where=name, expected=f"1 to {MAX_SIDE}", got=side
                )
        if self.colour not in get_args(Colour):
            raise ParameterError(
                "unknown colour",
                where="colour",
                expected=" or ".join(get_args(Colour)),
                got=self.colour,
            )

    def empty(self, count: int) -> NDArray[np.uint8]:
        """Room for some pictures: (count, channels, height, width) uint8, not yet filled.

        Raises:
            DataError: they do not fit into memory.
        """
        shape = (count, 3 if self.colour == "rgb" else 1, self.height, self.width)
        try:
            return np.empty(shape, np.uint8)
        except MemoryError:
            raise DataError(
                "the pictures do not fit into memory",
                where=f"{count} pictures of {self.width} x {self.height} {self.colour}",
                got=f"{np.prod(shape, dtype=float) / 2**30:.0f} GiB",
                remedy="set a limit, or a smaller input",
            ) from None


def read_pictures(
    files: Sequence[Path],
    form: PictureForm,
    *,
    boxes: Sequence[Box] | None = None,
    progress: Progress = no_progress,
) -> Tensor:
    """Image files as pictures, in the given order whichever thread was quicker.

    Args:
        files: jpeg, png, bmp, ppm, pgm or webp files, told apart by content.
        form: what each becomes.
        boxes: per file, the part of it to keep; without, all of it.
        progress: called on the caller's thread.

    Returns:
        (files, channels, height, width) uint8.

    Raises:
        DataError: a file that is missing, too large, or no image, the first in order.
    """
    pictures = form.empty(len(files))

    def read(chunk: range) -> int:
        for number in chunk:
            box = None if boxes is None else boxes[number]
            image = decode_picture(files[number], form.colour, box)
            pictures[number] = fit_image(image, form.width, form.height).transpose(2, 0, 1)
        return chunk.stop

    starts = range(0, len(files), _FILES_AT_ONCE)
    chunks = [range(first, min(first + _FILES_AT_ONCE, len(files))) for first in starts]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done in pool.map(read, chunks):
            progress(done, len(files))
    finally:
        # After an error or an interrupt nobody waits for the rest.
        pool.shutdown(cancel_futures=True)
    return torch.from_numpy(pictures)


def fit_pictures(
    images: NDArray[np.uint8], form: PictureForm, progress: Progress = no_progress
) -> Tensor:
    """Pictures that lie in an array, brought to one form.

    Args:
        images: (pictures, height, width, 3) rgb or (pictures, height, width, 1) grey.
        form: what each becomes.
        progress: called on the caller's thread.

    Returns:
        (pictures, channels, height, width) uint8.

    Raises:
        DataError: they do not fit into memory.
    """
    total = len(images)
    pictures = form.empty(total)
    for number, image in enumerate(images):
        fitted = fit_image(_coloured(image, form.colour), form.width, form.height)
        pictures[number] = fitted.transpose(2, 0, 1)
        if (number + 1) % _PICTURES_PER_REPORT == 0 or number + 1 == total:
            progress(number + 1, total)
    return torch.from_numpy(pictures)


def decode_picture(path: Path, colour: Colour, box: Box | None = None) -> Image:
    """One image file, or the part of it inside a box, in its own size.

    Returns:
        (height, width, 3) rgb or (height, width, 1) grey, uint8. Transparency is dropped and
        16 bits become 8.

    Raises:
        DataError: missing, too large, not an image, or smaller than the box.
    """
    file = np.frombuffer(read_file(path, MAX_FILE_BYTES), np.uint8)
    height, width = stated_size(file, str(path))
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise DataError(
            "an image of this size is not read",
            where=str(path),
            expected=f"sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS} pixels",
            got=f"width {width}, height {height}",
            remedy="scale it down, or remove it",
        )
    try:
        decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise DataError(
            "a damaged image",
            where=str(path),
            got=f"{file.size} bytes that OpenCV cannot decode",
            remedy="fetch this file again, or remove it",
        )
    image = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    return _coloured(image if box is None else _cut(image, box, path), colour)


def _cut(image: Image, box: Box, path: Path) -> Image:
    left, top, right, bottom = box
    height, width = image.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            "the region of interest does not lie in the image",
            where=str(path),
            expected=f"within width {width}, height {height}",
            got=f"x {left} to {right}, y {top} to {bottom}",
        )
    return np.ascontiguousarray(image[top:bottom, left:right])


def _coloured(image: Image, colour: Colour) -> Image:
    """Rgb or grey made of rgb or grey; grey made of grey rgb is what it was."""
    if image.shape[2] == (3 if colour == "rgb" else 1):
        return image
    code = cv2.COLOR_GRAY2RGB if colour == "rgb" else cv2.COLOR_RGB2GRAY
    converted = np.asarray(cv2.cvtColor(image, code), np.uint8)
    return converted.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel's axis
