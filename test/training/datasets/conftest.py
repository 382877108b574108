"""Small files of every kind, written by the tests themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from streaming_net_ros.training.datasets import PictureForm


@pytest.fixture
def form():
    """4 x 6 in colour: the two sides differ, so that nobody exchanges them unseen."""
    return PictureForm(4, 6, "rgb")


@pytest.fixture
def paint():
    """A picture of chance: (height, width, 3) rgb, the same for the same seed."""

    def paint(height=4, width=6, seed=0, channels=3):
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)

    return paint


@pytest.fixture
def write_image(paint):
    """Writes a picture, by default one of chance, and gives back its rgb."""

    def write_image(path, image=None, seed=0):
        image = paint(seed=seed) if image is None else image
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
        done, file = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(stored))
        assert done
        path.write_bytes(file.tobytes())
        return image

    return write_image
