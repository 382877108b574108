"""Data sets by name, for a command line and a test that say only which.

Owns the table of kinds. Knows every reader of ``datasets``. Imported by ``cli``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.cifar import CIFAR10, read_cifar10
from streaming_net_ros.training.datasets.digits import DIGITS, read_digits
from streaming_net_ros.training.datasets.folder import (
    FOLDER,
    list_class_folders,
    list_classes,
    read_listed,
)
from streaming_net_ros.training.datasets.mnist import MNIST, read_mnist
from streaming_net_ros.training.datasets.pictures import PictureForm, Progress, no_progress
from streaming_net_ros.training.datasets.sources import Part, Source, check_part, list_folder
from streaming_net_ros.training.datasets.tracks import GTSRB, read_gtsrb
from streaming_net_ros.wire.encodings import Colour

Reader: TypeAlias = Callable[[Path, Part, PictureForm, int | None, Progress], Clips]

# Two parts, each as ``read_image_folder`` reads one.
_TWO_FOLDERS = replace(
    FOLDER,
    files="train/<class>/<any name>.jpg and test/<class>/<any name>.jpg (or png, bmp, ppm, pgm, "
    "webp)",
    remedy="make a folder train and a folder test, and in each one folder for each class",
)


@dataclass(frozen=True)
class Kind:
    """A data set that can be named: what it consists of, and who reads it."""

    source: Source
    read: Reader | None  # None for digits, which lie in no folder


def read_dataset(
    kind: str,
    path: Path | None,
    part: Part,
    *,
    height: int,
    width: int,
    colour: Colour,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Clips:
    """One part of a data set, every picture in one size and colour, with its class.

    Args:
        kind: a key of ``KINDS``.
        path: the folder in which it lies; None for digits, which come with scikit-learn.
        part: "train" or "test".
        height: of every picture, in pixels.
        width: of every picture, in pixels.
        colour: "rgb" or "mono".
        limit: how many clips to keep (stills, or tracks of gtsrb's training part), of each class
            alike and the same every time; None for all.
        progress: called on the caller's thread with pictures done and pictures in all.

    Returns:
        Clips with the target ``CLASS_TARGET``.

    Raises:
        ParameterError: an unknown kind or part, or a size, colour or limit out of range.
        DataError: data that are missing, damaged, or do not fit together.
    """
    check_part(part)
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, list(KINDS), 1)
        raise ParameterError(
            "unknown kind of data set",
            where="kind",
            expected=f"one of {', '.join(KINDS)}",
            got=kind,
            remedy=f"did you mean '{close[0]}'?" if close else "",
        )
    form = PictureForm(height, width, colour)
    source, read = KINDS[kind].source, KINDS[kind].read
    if read is None:
        if path is not None:
            raise DataError(
                "it lies in no folder", where=source.title, got=str(path), remedy="give no path"
            )
        return read_digits(part, form, limit, progress)
    if path is None:
        raise source.missing("the folder is not given", None)
    return read(Path(path), part, form, limit, progress)


def _read_folder(
    path: Path, part: Part, form: PictureForm, limit: int | None, progress: Progress
) -> Clips:
    """``path/train`` or ``path/test``; the training part's classes number both."""
    folders = {entry.name: entry for entry in list_folder(path, _TWO_FOLDERS)}
    if part not in folders:
        raise _TWO_FOLDERS.missing(f"no folder '{part}'", path)
    classes = None
    if "train" in folders:
        classes = [entry.name for entry in list_class_folders(folders["train"], FOLDER)]
    found = list_classes(folders[part], FOLDER, classes)
    return read_listed(found, form, limit, progress, str(folders[part]))


KINDS: Mapping[str, Kind] = {
    "folder": Kind(_TWO_FOLDERS, _read_folder),
    "cifar10": Kind(CIFAR10, read_cifar10),
    "mnist": Kind(MNIST, read_mnist),
    "digits": Kind(DIGITS, None),
    "gtsrb": Kind(GTSRB, read_gtsrb),
}
