"""GTSRB (Stallkamp et al. 2012): traffic signs in tracks, each of one sign that comes nearer.

Owns both layouts, the annotations and the split by track. Imported by ``named``.

A training track is a clip: up to 30 frames of one sign, in the order in which they were taken.
The test pictures were shuffled by those who made the data set; each is a clip of one frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.annotations import Annotation, read_annotations
from streaming_net_ros.training.datasets.folder import Listing, list_classes
from streaming_net_ros.training.datasets.pictures import (
    Box,
    PictureForm,
    Progress,
    no_progress,
    read_pictures,
)
from streaming_net_ros.training.datasets.sources import (
    CLASS_TARGET,
    Part,
    Source,
    check_part,
    first_that_exists,
)
from streaming_net_ros.training.datasets.subset import balanced, set_aside

CLASSES = tuple(f"{number:05d}" for number in range(43))
GTSRB = Source(
    title="GTSRB",
    files="Final_Training/Images/<class>/<track>_<frame>.ppm, Final_Test/Images/<n>.ppm and "
    "GT-final_test.csv, or train/<class>/<track>_<frame>.jpg and test/<class>/<n>.jpg",
    remedy="get GTSRB_Final_Training_Images.zip, GTSRB_Final_Test_Images.zip and "
    "GTSRB_Final_Test_GT.zip from https://benchmark.ini.rub.de/gtsrb_dataset.html "
    "and unpack them into one folder",
    folders=("GTSRB", "gtsrb", "gtsrb32"),
)
_FRAME_NAME = re.compile(r"(\d{1,9})_(\d{1,9})")


@dataclass(frozen=True)
class _Found:
    """Files and what they show; ``boxes`` only where pictures are to be cropped."""

    files: list[Path]
    labels: NDArray[np.int64]
    boxes: list[Box] | None = None


def read_gtsrb(
    path: Path | str,
    part: Part,
    form: PictureForm,
    limit: int | None = None,
    progress: Progress = no_progress,
    *,
    crop: bool = False,
) -> Clips:
    """Tracks to learn from, or stills to be judged on; a class is its number, of 43.

    Args:
        path: the folder of either layout, or the one around it.
        part: "train" for tracks or "test" for stills.
        form: what every picture becomes.
        limit: how many tracks (training) or stills (test) to keep, of each class alike; None for
            all.
        progress: called with pictures done and pictures in all.
        crop: keep only the sign itself, without the tenth of its size around it. Only the
            official layout says where it is.

    Raises:
        DataError: not there, an unknown class, a name that is no frame's, annotations that are
            missing or wrong, or a file that is no image.
        ParameterError: a part or limit out of range.
    """
    check_part(part)
    path = Path(path)
    found = _find(path, part, crop)
    if part == "train":
        tracks = _tracks(found.files, found.labels)
    else:
        tracks = [[number] for number in range(len(found.files))]
    chosen = balanced([int(found.labels[track[0]]) for track in tracks], limit)
    tracks = [tracks[number] for number in chosen]
    order = [number for track in tracks for number in track]
    ends = np.cumsum([len(track) for track in tracks])
    starts = np.concatenate([[0], ends[:-1]])
    return Clips(
        read_pictures(
            [found.files[number] for number in order],
            form,
            boxes=None if found.boxes is None else [found.boxes[number] for number in order],
            progress=progress,
        ),
        {CLASS_TARGET: torch.from_numpy(found.labels[order])},
        torch.from_numpy(np.stack([starts, ends], axis=1)),
        classes={CLASS_TARGET: CLASSES},
        name=f"{path} {part}",
    )


def split_tracks(clips: Clips, share: float, seed: int = 0) -> tuple[Clips | None, Clips | None]:
    """Clips to learn from, and a share of them to judge by; no clip is in both.

    Of each class the same share is set aside, as far as whole clips allow, and a class keeps a
    clip to learn from if another class can give one instead. Stills may be split so as well.

    Args:
        clips: with the target ``CLASS_TARGET``, constant over each clip.
        share: of all clips, to judge by.
        seed: which of them.

    Returns:
        The clips in their order, in two parts; None for a part without a clip.

    Raises:
        DataError: the share is not in [0, 1], or the clips have no class.
    """
    if not 0 <= share <= 1:
        raise DataError("not a share", where="validate", expected="0 to 1", got=share)
    if CLASS_TARGET not in clips.targets:
        raise DataError(
            "no classes to split by",
            where=clips.name,
            expected=f"a target '{CLASS_TARGET}'",
            got=", ".join(clips.targets) or "no target",
        )
    labels = clips.targets[CLASS_TARGET][clips.bounds[:, 0]].cpu().numpy()
    aside = set_aside(labels, share, seed)
    parts = [np.flatnonzero(~aside), np.flatnonzero(aside)]
    learn, judge = (clips.chosen(torch.from_numpy(p)) if len(p) else None for p in parts)
    return learn, judge


def _tracks(files: Sequence[Path], labels: NDArray[np.int64]) -> list[list[int]]:
    """The files of each track, in the order of their frames; a frame left out is passed over."""
    keys = []
    for number, (file, label) in enumerate(zip(files, labels.tolist(), strict=True)):
        name = _FRAME_NAME.fullmatch(file.stem)
        if name is None:
            raise DataError(
                "not a frame of a track",
                where=str(file),
                expected="<track>_<frame>, both numbers",
                got=file.stem,
                remedy="remove it, or read this folder as kind folder",
            )
        keys.append((label, int(name[1]), int(name[2]), number))
    keys.sort()
    for one, other in pairwise(keys):
        if one[:3] == other[:3]:
            raise DataError(
                "a frame is there twice",
                where=str(files[other[3]]),
                expected="one file for each frame",
                got=files[one[3]].name,
            )
    return [[key[3] for key in track] for _, track in groupby(keys, key=lambda key: key[:2])]


def _find(path: Path, part: Part, crop: bool) -> _Found:
    official = "Final_Training" if part == "train" else "Final_Test"
    for root in GTSRB.roots(path):
        images = root / official / "Images"
        if images.is_dir():
            if part == "test":
                return _find_stills(images, (images, images.parent, root, path), crop)
            listed = list_classes(images, GTSRB, CLASSES)
            return _Found(listed.files, listed.labels, _boxes(listed) if crop else None)
        if (root / part).is_dir():
            if crop:
                raise DataError(
                    "nothing says where the signs are",
                    where=str(root / part),
                    expected=f"the official layout, {official}/Images with annotations",
                    remedy="read it without crop",
                )
            listed = list_classes(root / part, GTSRB, CLASSES)
            return _Found(listed.files, listed.labels)
    raise GTSRB.missing(f"the {part} pictures are missing", path)


def _boxes(listed: Listing) -> list[Box]:
    """Where the sign is, for each file, out of the annotations in its folder."""
    boxes: list[Box] = []
    annotated: dict[str, Annotation] = {}
    folder = None
    for file, label in zip(listed.files, listed.labels.tolist(), strict=True):
        if file.parent != folder:
            folder = file.parent
            table = folder / f"GT-{folder.name}.csv"
            annotated = read_annotations(table, len(CLASSES))
        row = annotated.get(file.name)
        if row is None or row.label != label:
            raise DataError(
                "not annotated" if row is None else "annotated as another class",
                where=str(file),
                expected=f"a row with ClassId {label} in {table.name}",
                got=None if row is None else f"ClassId {row.label}",
                remedy="unpack the archive again",
            )
        boxes.append(row.box)
    return boxes


def _find_stills(images: Path, folders: Sequence[Path], crop: bool) -> _Found:
    name = "GT-final_test.csv"
    table = first_that_exists([folder / name for folder in folders])
    if table is None:
        raise GTSRB.missing(f"{name}, the classes of the test pictures, is missing", images)
    rows = read_annotations(table, len(CLASSES))
    return _Found(
        [images / file for file in rows],
        np.array([row.label for row in rows.values()], np.int64),
        [row.box for row in rows.values()] if crop else None,
    )
