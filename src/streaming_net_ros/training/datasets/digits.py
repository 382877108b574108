"""The digits that come with scikit-learn: 1797 grey stills of 8 x 8, without any download.

Owns their split into a training and a test part. Knows scikit-learn, which it loads only when it
is asked to read. Imported by ``named``.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets.pictures import (
    PictureForm,
    Progress,
    fit_pictures,
    no_progress,
)
from streaming_net_ros.training.datasets.sources import CLASS_TARGET, Part, Source, check_part
from streaming_net_ros.training.datasets.subset import balanced

CLASSES = tuple(str(digit) for digit in range(10))
DIGITS = Source(
    title="digits",
    files="scikit-learn, which brings them",
    remedy="pip install scikit-learn",
)
_TEST_PICTURES = 500
_BRIGHTEST = 16


def read_digits(
    part: Part,
    form: PictureForm,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Clips:
    """Stills out of scikit-learn: the first 1297 to learn from, the last 500 to be judged on.

    Args:
        part: "train" or "test".
        form: what every picture becomes.
        limit: how many pictures to keep, of each class alike; None for all.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: scikit-learn is not installed.
        ParameterError: a part or limit out of range.
    """
    check_part(part)
    data = _load()
    here = slice(None, -_TEST_PICTURES) if part == "train" else slice(-_TEST_PICTURES, None)
    labels = np.asarray(data.target[here], np.int64)
    chosen = balanced(labels, limit)
    images = np.rint(data.images[here][chosen] * (255 / _BRIGHTEST)).astype(np.uint8)
    return Clips.of_stills(
        fit_pictures(images[..., np.newaxis], form, progress),
        torch.from_numpy(labels[chosen]),
        CLASSES,
        f"digits {part}",
        CLASS_TARGET,
    )


def _load() -> Any:
    """The bunch: images (1797, 8, 8) of 0 to 16, target (1797,)."""
    try:
        return importlib.import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        raise DIGITS.missing(f"cannot be loaded ({error})", None) from None
