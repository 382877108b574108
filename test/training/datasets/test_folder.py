"""Image folders: one folder a class, in the order of their names."""

from __future__ import annotations

import numpy as np
import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import read_image_folder

SIZE = {"height": 4, "width": 6, "colour": "rgb"}


@pytest.fixture
def zoo(tmp_path, write_image):
    """Three cats and two dogs; gives back the folder and the pictures in order."""
    names = ["cat/1.png", "cat/10.png", "cat/2.PPM", "dog/a.bmp", "dog/b.png"]
    images = [write_image(tmp_path / name, seed=seed) for seed, name in enumerate(names)]
    return tmp_path, np.stack(images).transpose(0, 3, 1, 2)


def test_what_was_written_is_what_is_read(zoo):
    path, images = zoo
    clips = read_image_folder(path, **SIZE)
    assert np.array_equal(clips.images.numpy(), images)
    assert clips.targets["class"].tolist() == [0, 0, 0, 1, 1]
    assert clips.classes == {"class": ("cat", "dog")}
    assert clips.bounds.tolist() == [[n, n + 1] for n in range(5)]
    assert clips.name == str(path)


def test_all_formats_are_read(tmp_path, paint, write_image):
    for suffix in ("bmp", "jpeg", "jpg", "pgm", "png", "ppm", "webp"):
        image = paint(channels=1) if suffix == "pgm" else paint()
        write_image(tmp_path / suffix / f"1.{suffix}", image)
    clips = read_image_folder(str(tmp_path), height=4, width=6, colour="mono")
    assert clips.images.shape == (7, 1, 4, 6)
    assert clips.classes["class"] == ("bmp", "jpeg", "jpg", "pgm", "png", "ppm", "webp")


def test_hidden_files_and_other_kinds_are_passed_over(zoo):
    path, images = zoo
    (path / "readme.txt").write_text("a zoo")
    (path / ".cache").mkdir()
    (path / "cat/.1.png").write_text("left by a file manager")
    (path / "cat/notes.csv").write_text("1;2")
    assert np.array_equal(read_image_folder(path, **SIZE).images.numpy(), images)


def test_a_limit_keeps_of_each_class_alike(zoo):
    path, images = zoo
    seen = []
    clips = read_image_folder(path, **SIZE, limit=2, progress=lambda *far: seen.append(far))
    assert clips.targets["class"].tolist() == [0, 1]
    assert seen == [(2, 2)]
    again = read_image_folder(path, **SIZE, limit=2)
    assert np.array_equal(clips.images, again.images)
    assert all((images == image).all(axis=(1, 2, 3)).any() for image in clips.images.numpy())


def test_given_classes_are_the_numbers(zoo):
    path, _ = zoo
    clips = read_image_folder(path, **SIZE, classes=["dog", "bird", "cat"])
    assert clips.targets["class"].tolist() == [2, 2, 2, 0, 0]
    assert clips.classes == {"class": ("dog", "bird", "cat")}


class TestErrors:
    def test_a_class_that_training_does_not_know(self, zoo):
        path, _ = zoo
        with pytest.raises(DataError, match="an unknown class") as error:
            read_image_folder(path, **SIZE, classes=["ant", "cat"])
        assert str(path / "dog") in str(error.value)
        assert "expected one of 2 classes, ant to cat, got dog" in str(error.value)

    def test_a_file_that_is_no_image_is_named(self, zoo):
        path, _ = zoo
        (path / "dog/c.jpg").write_text("oops")
        with pytest.raises(DataError, match=r"dog/c\.jpg: not an image"):
            read_image_folder(path, **SIZE)

    def test_a_link_to_nowhere_is_named(self, zoo):
        path, _ = zoo
        (path / "dog/c.jpg").symlink_to(path / "lost.jpg")
        with pytest.raises(DataError, match=r"dog/c\.jpg: no such file"):
            read_image_folder(path, **SIZE)

    def test_a_class_without_a_picture(self, zoo):
        path, _ = zoo
        (path / "bird").mkdir()
        with pytest.raises(DataError, match="no picture in the folder of a class") as error:
            read_image_folder(path, **SIZE)
        assert str(path / "bird") in str(error.value)
        assert "got an empty folder; put its pictures there" in str(error.value)
        (path / "bird/1.tiff").touch()
        with pytest.raises(DataError, match=r"\.webp, got 1\.tiff"):
            read_image_folder(path, **SIZE)

    def test_a_folder_without_classes(self, tmp_path, write_image):
        write_image(tmp_path / "1.png")
        with pytest.raises(DataError, match="no folder of a class: expected <class>/") as error:
            read_image_folder(tmp_path, **SIZE)
        assert str(tmp_path) in str(error.value) and "make one folder for" in str(error.value)

    def test_a_folder_that_is_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"image folder in .*/zoo: no such folder: expected"):
            read_image_folder(tmp_path / "zoo", **SIZE)

    def test_a_limit_and_a_size_out_of_range(self, zoo):
        path, _ = zoo
        with pytest.raises(ParameterError, match="limit: nothing would be left"):
            read_image_folder(path, **SIZE, limit=0)
        with pytest.raises(ParameterError, match="height"):
            read_image_folder(path, height=0, width=6, colour="rgb")
