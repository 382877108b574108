"""Pictures in folders: one folder a class, as most people keep their own.

Owns the listing of such folders. Knows no data set by name. ``cifar`` and ``tracks``, whose data
also come in this form, import it, and ``named``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.pictures import (
    PictureForm,
    Progress,
    no_progress,
    read_pictures,
)
from streaming_net_ros.training.datasets.sources import CLASS_TARGET, Source, list_folder
from streaming_net_ros.training.datasets.subset import balanced
from streaming_net_ros.wire.encodings import Colour

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
FOLDER = Source(
    title="image folder",
    files="<class>/<any name>.jpg (or png, bmp, ppm, pgm, webp)",
    remedy="make one folder for each class and put its pictures there",
)


@dataclass(frozen=True)
class Listing:
    """Image files and what they show: labels (files,) int64, and the classes that they number."""

    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_image_folder(
    path: Path | str,
    *,
    height: int,
    width: int,
    colour: Colour,
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> Clips:
    """Stills out of ``<class>/<n>.jpg``; hidden files and files of other kinds are passed over.

    Args:
        path: the folder of the classes' folders.
        height: of every picture, in pixels.
        width: of every picture, in pixels.
        colour: "rgb" or "mono".
        limit: how many pictures to keep, of each class alike; None for all.
        classes: the names that a label numbers, so that a test set agrees with its training set;
            without, the folders' names, sorted.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: no such folder, no class, a class without a picture or not among ``classes``,
            or a file that is no image.
        ParameterError: a size, colour or limit out of range.
    """
    found = list_classes(Path(path), FOLDER, classes)
    return read_listed(found, PictureForm(height, width, colour), limit, progress, str(path))


def read_listed(
    found: Listing, form: PictureForm, limit: int | None, progress: Progress, name: str
) -> Clips:
    """The listed files as stills.

    Raises:
        DataError: a file that is no image.
        ParameterError: a limit below 1.
    """
    chosen = balanced(found.labels, limit)
    files = [found.files[number] for number in chosen]
    return Clips.of_stills(
        read_pictures(files, form, progress=progress),
        torch.from_numpy(found.labels[chosen]),
        found.classes,
        name,
        CLASS_TARGET,
    )


def list_classes(path: Path, source: Source, classes: Sequence[str] | None = None) -> Listing:
    """The image files of every class, sorted by class and name.

    Raises:
        DataError: as ``read_image_folder``, but for files that are no images.
    """
    folders = list_class_folders(path, source)
    names = tuple(folder.name for folder in folders) if classes is None else tuple(classes)
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in names:
            raise DataError(
                "an unknown class",
                where=str(folder),
                expected=f"one of {len(names)} classes, {names[0]} to {names[-1]}",
                got=folder.name,
                remedy="name it as in training, or remove it",
            )
        found = _list_images(folder, source)
        files += found
        labels += [names.index(folder.name)] * len(found)
    return Listing(files, np.array(labels, np.int64), names)


def list_class_folders(path: Path, source: Source) -> list[Path]:
    """The folders of the classes, sorted by name.

    Raises:
        DataError: no such folder, or no folder in it.
    """
    folders = [entry for entry in list_folder(path, source) if entry.is_dir()]
    if not folders:
        raise source.missing("no folder of a class", path)
    return folders


def _list_images(folder: Path, source: Source) -> list[Path]:
    entries = list_folder(folder, source)
    images = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(
            "no picture in the folder of a class",
            where=str(folder),
            expected=", ".join(SUFFIXES),
            got=", ".join(entry.name for entry in entries) or "an empty folder",
            remedy="put its pictures there, or remove the folder",
        )
    return images
