"""CIFAR-10 (Krizhevsky 2009): 60,000 stills of 32 x 32 in ten classes.

Owns the binary batches; the same pictures as ``<class>/<n>.jpg`` are ``folder``'s. Imported by
``named``.

A row of a batch is one byte of class and 3072 of pixels: red, green, blue, each row by row. The
python version of the batches is refused, for to unpickle is to run whatever the file says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.folder import list_classes, read_listed
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
    read_file,
)
from streaming_net_ros.training.datasets.subset import balanced

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10 = Source(
    title="CIFAR-10",
    files="data_batch_1.bin to data_batch_5.bin and test_batch.bin, "
    "or train/<class>/<n>.jpg and test/<class>/<n>.jpg",
    remedy="get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html "
    "and unpack it",
    folders=("cifar10", "cifar-10-batches-bin"),
)
_BATCHES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
_NAMES_FILE = "batches.meta.txt"
_ROW_BYTES = 1 + 3 * 32 * 32
_MOST_ROWS = 10_000


def read_cifar10(
    path: Path | str,
    part: Part,
    form: PictureForm,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Clips:
    """Stills out of the binary batches, or out of ``{train,test}/<class>/<n>.jpg``.

    Args:
        path: the folder with either, or the one around it.
        part: "train" or "test".
        form: what every picture becomes.
        limit: how many pictures to keep, of each class alike; None for all.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: not there, incomplete, the python version, of a wrong size, with wrong labels
            or names of classes, or a file that is no image.
        ParameterError: a part or limit out of range.
    """
    check_part(part)
    path = Path(path)
    roots = CIFAR10.roots(path)
    for root in roots:
        if first_that_exists([root / name for names in _BATCHES.values() for name in names]):
            return _read_batches(root, part, form, limit, progress)
        if (root / part).is_dir():
            found = list_classes(root / part, CIFAR10, CLASSES)
            return read_listed(found, form, limit, progress, str(root / part))
    _refuse_pickles([*roots, path / "cifar-10-batches-py"])
    raise CIFAR10.missing(f"the {part} pictures are missing", path)


def _read_batches(
    root: Path, part: Part, form: PictureForm, limit: int | None, progress: Progress
) -> Clips:
    classes = _read_names(root)
    rows = np.concatenate([_read_batch(root / name) for name in _BATCHES[part]])
    rows = rows[balanced(rows[:, 0], limit)]
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Clips.of_stills(
        fit_pictures(np.ascontiguousarray(images), form, progress),
        torch.from_numpy(rows[:, 0].astype(np.int64)),
        classes,
        f"{root} {part}",
        CLASS_TARGET,
    )


def _read_batch(path: Path) -> NDArray[np.uint8]:
    """(rows, 3073) of one batch."""
    if not path.is_file():
        raise CIFAR10.missing(f"{path.name} is missing", path.parent)
    content = read_file(path, _MOST_ROWS * _ROW_BYTES)
    if not content or len(content) % _ROW_BYTES:
        raise DataError(
            "not a whole batch of CIFAR-10",
            where=str(path),
            expected=f"rows of {_ROW_BYTES} bytes",
            got=f"{len(content)} bytes",
            remedy=CIFAR10.remedy,
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, _ROW_BYTES)
    wrong = np.flatnonzero(rows[:, 0] >= len(CLASSES))
    if len(wrong):
        raise DataError(
            "a label is no class of CIFAR-10",
            where=f"{path}: row {wrong[0]}",
            expected=f"0 to {len(CLASSES) - 1}",
            got=int(rows[wrong[0], 0]),
            remedy=CIFAR10.remedy,
        )
    return rows


def _read_names(root: Path) -> tuple[str, ...]:
    """The classes in the order of their numbers; they are known if the file is not there."""
    path = root / _NAMES_FILE
    if not path.is_file():
        return CLASSES
    names = tuple(read_file(path, 4096).decode("utf-8", "replace").split())
    if names != CLASSES:
        raise DataError(
            "not the classes of CIFAR-10",
            where=str(path),
            expected=", ".join(CLASSES),
            got=", ".join(names),
            remedy=CIFAR10.remedy,
        )
    return names


def _refuse_pickles(folders: list[Path]) -> None:
    pickled = first_that_exists([f / n for f in folders for n in ("data_batch_1", "test_batch")])
    if pickled is not None:
        raise DataError(
            "the python version of CIFAR-10, which is pickled and could run any code",
            where=str(pickled),
            expected="the binary version",
            remedy=CIFAR10.remedy,
        )
