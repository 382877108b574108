"""Digits: a data set without a download, or a word on how to get it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import PictureForm, read_digits

FORM = PictureForm(8, 8, "mono")


class TestInstalled:
    @pytest.fixture(autouse=True)
    def sklearn(self):
        self.data = pytest.importorskip("sklearn.datasets").load_digits()

    def test_both_parts_are_the_whole_in_its_order(self):
        train, test = read_digits("train", FORM), read_digits("test", FORM)
        assert (len(train), len(test)) == (1297, 500)
        labels = [*train.targets["class"].tolist(), *test.targets["class"].tolist()]
        assert labels == self.data.target.tolist()
        images = np.concatenate([train.images, test.images])[:, 0]
        assert np.array_equal(images, np.rint(self.data.images * 255 / 16))
        assert train.classes == {"class": tuple("0123456789")}

    def test_the_scale_is_used_from_black_to_white(self):
        images = read_digits("train", FORM).images
        assert (int(images.min()), int(images.max())) == (0, 255)

    def test_a_limit_and_another_form(self):
        clips = read_digits("test", PictureForm(28, 20, "rgb"), 20)
        assert clips.images.shape == (20, 3, 28, 20)
        assert np.bincount(clips.targets["class"]).tolist() == [2] * 10

    def test_a_limit_out_of_range(self):
        with pytest.raises(ParameterError, match="limit"):
            read_digits("test", FORM, 0)


def test_without_scikit_learn_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="digits: cannot be loaded") as error:
        read_digits("train", FORM)
    assert str(error.value).endswith("; pip install scikit-learn")


def test_an_unknown_part():
    with pytest.raises(ParameterError, match="expected train or test"):
        read_digits("all", FORM)
