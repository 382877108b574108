"""Data sets by name: one call for all of them, and what to do if one is not there."""

from __future__ import annotations

import numpy as np
import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import KINDS, read_dataset

SIZE = {"height": 4, "width": 6, "colour": "rgb"}


@pytest.fixture
def everything(tmp_path, write_image):
    """A folder in which every kind that lies in a folder finds itself."""
    for part in ("train", "test"):
        write_image(tmp_path / f"folder/{part}/some/1.png")
        write_image(tmp_path / f"cifar10/{part}/cat/1.png")
        write_image(tmp_path / f"gtsrb/{part}/00001/1_1.png")
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        (tmp_path / f"mnist/{part}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\x03" + bytes([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(4)
        )
        (tmp_path / f"mnist/{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + bytes([0, 0, 0, 1, 7])
        )
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["train", "test"])
def test_every_kind_is_read_by_its_name(everything, kind, part):
    if kind == "digits":
        pytest.importorskip("sklearn")
    seen = []
    clips = read_dataset(
        kind,
        None if kind == "digits" else everything / kind,
        part,
        **SIZE,
        limit=3,
        progress=lambda *far: seen.append(far),
    )
    assert clips.images.shape == (len(clips.images), 3, 4, 6)
    assert len(clips.classes["class"]) == {"folder": 1, "gtsrb": 43}.get(kind, 10)
    assert seen == [(len(clips.images),) * 2]


class TestFolder:
    def test_the_training_classes_number_both_parts(self, tmp_path, write_image):
        for name in ("train/ant", "train/bee", "train/cow", "test/bee"):
            write_image(tmp_path / name / "1.png")
        test = read_dataset("folder", tmp_path, "test", **SIZE)
        assert test.targets["class"].tolist() == [1]
        assert test.classes == {"class": ("ant", "bee", "cow")}

    def test_a_test_part_alone_numbers_itself(self, tmp_path, write_image):
        image = write_image(tmp_path / "test/bee/1.png")
        test = read_dataset("folder", tmp_path, "test", **SIZE)
        assert test.classes == {"class": ("bee",)}
        assert np.array_equal(test.images[0].numpy(), image.transpose(2, 0, 1))

    def test_a_class_that_training_lacks(self, tmp_path, write_image):
        write_image(tmp_path / "train/ant/1.png")
        write_image(tmp_path / "test/bee/1.png")
        with pytest.raises(DataError, match=r"an unknown class.*got bee"):
            read_dataset("folder", tmp_path, "test", **SIZE)

    def test_a_part_that_is_missing(self, tmp_path, write_image):
        write_image(tmp_path / "ant/1.png")
        with pytest.raises(DataError, match="no folder 'train': expected train/<class>") as error:
            read_dataset("folder", tmp_path, "train", **SIZE)
        assert str(tmp_path) in str(error.value)
        assert "make a folder train and a folder test" in str(error.value)


class TestErrors:
    def test_an_unknown_kind(self, tmp_path):
        with pytest.raises(ParameterError) as error:
            read_dataset("cifar", tmp_path, "train", **SIZE)
        assert str(error.value) == (
            "kind: unknown kind of data set: expected one of folder, cifar10, mnist, digits, "
            "gtsrb, got cifar; did you mean 'cifar10'?"
        )
        with pytest.raises(ParameterError, match=r"got imagenet$"):
            read_dataset("imagenet", tmp_path, "train", **SIZE)

    def test_an_unknown_part_size_and_limit(self, tmp_path, write_image):
        write_image(tmp_path / "train/ant/1.png")
        with pytest.raises(ParameterError, match="expected train or test, got val"):
            read_dataset("folder", tmp_path, "val", **SIZE)
        with pytest.raises(ParameterError, match="width"):
            read_dataset("folder", tmp_path, "train", height=3, width=0, colour="rgb")
        with pytest.raises(ParameterError, match="limit"):
            read_dataset("folder", tmp_path, "train", **SIZE, limit=0)

    @pytest.mark.parametrize("kind", sorted(set(KINDS) - {"digits"}))
    def test_who_lacks_the_files_is_told_what_where_and_whence(self, tmp_path, kind):
        source = KINDS[kind].source
        with pytest.raises(DataError, match="no such folder") as error:
            read_dataset(kind, tmp_path / "none", "train", **SIZE)
        for part in (source.title, str(tmp_path / "none"), source.files, source.remedy):
            assert part in str(error.value)
        with pytest.raises(DataError, match=f"{source.title}: the folder is not given: expected"):
            read_dataset(kind, None, "train", **SIZE)

    def test_digits_lie_in_no_folder(self, tmp_path):
        with pytest.raises(DataError, match=r"digits: it lies in no folder: got .*give no path"):
            read_dataset("digits", tmp_path, "train", **SIZE)
