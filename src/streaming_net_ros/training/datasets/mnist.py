"""MNIST (LeCun 1998) and its kin: 70,000 grey digits of 28 x 28 in idx files.

Owns the idx format. Imported by ``named``.

An idx file is two zero bytes, a type (8: bytes), the number of axes, the length of each axis as a
big-endian 32 bit number, and the values. Of a packed file no more is unpacked than its head
states, and no head may state more than ``MAX_IDX_BYTES``.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.pictures import (
    PictureForm,
    Progress,
    fit_pictures,
    no_progress,
)
from streaming_net_ros.training.datasets.sources import (
    CLASS_TARGET,
    Part,
    Source,
    check_part,
    first_that_exists,
)
from streaming_net_ros.training.datasets.subset import balanced

MAX_IDX_BYTES: Final = 1 << 30
CLASSES = tuple(str(digit) for digit in range(10))
MNIST = Source(
    title="MNIST",
    files="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte (also with .gz)",
    remedy="get them from http://yann.lecun.com/exdb/mnist/ "
    "or https://ossci-datasets.s3.amazonaws.com/mnist/",
    folders=("mnist", "MNIST/raw", "raw"),
)
_PREFIXES = {"train": "train", "test": "t10k"}


def read_mnist(
    path: Path | str,
    part: Part,
    form: PictureForm,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Clips:
    """Stills out of a file of images and a file of labels, packed or not.

    Args:
        path: the folder with the files, or the one around it.
        part: "train" or "test".
        form: what every picture becomes.
        limit: how many pictures to keep, of each class alike; None for all.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: not there, of another format, truncated, too long, or images and labels that
            do not fit together.
        ParameterError: a part or limit out of range.
    """
    check_part(part)
    path = Path(path)
    images_at = _find(path, part, "images", 3)
    images = read_idx(images_at, 3)
    labels_at = _find(path, part, "labels", 1)
    labels = read_idx(labels_at, 1)
    if len(labels) != len(images):
        raise DataError(
            "a label for each image is needed",
            where=f"{labels_at} and {images_at.name}",
            expected=f"{len(images)}",
            got=len(labels),
            remedy=MNIST.remedy,
        )
    if labels.max() >= len(CLASSES):
        raise DataError(
            "a label is no digit",
            where=f"{labels_at}: label {int(labels.argmax())}",
            expected="0 to 9",
            got=int(labels.max()),
        )
    chosen = balanced(labels, limit)
    return Clips.of_stills(
        fit_pictures(images[chosen][..., np.newaxis], form, progress),
        torch.from_numpy(labels[chosen].astype(np.int64)),
        CLASSES,
        f"{path} {part}",
        CLASS_TARGET,
    )


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of bytes in an idx file, packed if its name ends in ``.gz``.

    Raises:
        DataError: another format, another number of axes, an axis of no length, more values than
            are read, or fewer or more than the head states.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read_array(cast(io.BufferedIOBase, unpacked), axes, str(path))
            return _read_array(file, axes, str(path))
    except EOFError:
        raise _wrong("truncated", str(path), "the end of the packed data", "none") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None


def _read_array(file: io.BufferedIOBase, axes: int, where: str) -> NDArray[np.uint8]:
    head = file.read(4 + 4 * axes)
    magic = bytes([0, 0, 8, axes])
    if head[:4] != magic:
        raise _wrong("not an idx file of this kind", where, repr(magic), repr(head[:4]))
    if len(head) < 4 + 4 * axes:
        raise _wrong("truncated", where, f"a head of {4 + 4 * axes} bytes", f"{len(head)} bytes")
    shape = struct.unpack(f">{axes}I", head[4:])
    count = math.prod(shape)
    if not 0 < count <= MAX_IDX_BYTES:
        stated = " x ".join(map(str, shape))
        raise _wrong("an absurd size", where, f"1 to {MAX_IDX_BYTES} values", stated)
    values = file.read(count + 1)
    if len(values) != count:
        what = "truncated" if len(values) < count else "longer than it states"
        got = f"{len(values)}" if len(values) < count else "more"
        raise _wrong(what, where, f"{count} values", got)
    return np.frombuffer(values, np.uint8).reshape(shape)


def _find(path: Path, part: Part, what: str, axes: int) -> Path:
    stem = f"{_PREFIXES[part]}-{what}"
    names = [f"{stem}{dot}idx{axes}-ubyte{end}" for end in ("", ".gz") for dot in "-."]
    found = first_that_exists([root / name for root in MNIST.roots(path) for name in names])
    if found is None:
        raise MNIST.missing(f"{names[0]} is missing", path)
    return found


def _wrong(what: str, where: str, expected: str, got: str) -> DataError:
    return DataError(what, where=where, expected=expected, got=got, remedy=MNIST.remedy)
