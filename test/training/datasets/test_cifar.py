"""CIFAR-10: batches of bytes, the same as folders, and never a pickle."""

from __future__ import annotations

import numpy as np
import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import PictureForm, read_cifar10
from streaming_net_ros.training.datasets.cifar import CLASSES

FORM = PictureForm(32, 32, "rgb")
BATCHES = [f"data_batch_{number}.bin" for number in range(1, 6)]


def rows_of(labels, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    flat = images.reshape(len(labels), -1)
    return np.concatenate([np.array(labels, np.uint8)[:, None], flat], axis=1), images


@pytest.fixture
def batches(tmp_path):
    """All six batches, two rows each; gives back the folder, and images and labels by part."""
    written = {"train": ([], []), "test": ([], [])}
    for number, name in enumerate([*BATCHES, "test_batch.bin"]):
        labels = [number, 9 - number]
        rows, images = rows_of(labels, seed=number)
        (tmp_path / name).write_bytes(rows.tobytes())
        part = written["test" if number == 5 else "train"]
        part[0].append(images)
        part[1].extend(labels)
    (tmp_path / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return tmp_path, {part: (np.concatenate(i), labels) for part, (i, labels) in written.items()}


@pytest.mark.parametrize("part", ["train", "test"])
def test_what_was_written_is_what_is_read(batches, part):
    path, written = batches
    clips = read_cifar10(path, part, FORM)
    images, labels = written[part]
    assert np.array_equal(clips.images.numpy(), images)
    assert clips.targets["class"].tolist() == labels
    assert clips.classes == {"class": CLASSES}
    assert clips.frames.tolist() == [1] * len(labels)


def test_the_folder_around_will_do_and_names_need_no_file(tmp_path, batches):
    path, written = batches
    (path / "batches.meta.txt").unlink()
    inside = path / "cifar-10-batches-bin"
    inside.mkdir()
    for name in [*BATCHES, "test_batch.bin"]:
        (path / name).rename(inside / name)
    clips = read_cifar10(path, "test", FORM)
    assert np.array_equal(clips.images.numpy(), written["test"][0])
    assert clips.classes == {"class": CLASSES}


def test_a_limit_and_another_form(batches):
    path, _ = batches
    seen = []
    clips = read_cifar10(
        path, "train", PictureForm(16, 8, "mono"), 5, lambda *far: seen.append(far)
    )
    assert clips.images.shape == (5, 1, 16, 8)
    assert len(set(clips.targets["class"].tolist())) == 5
    assert seen == [(5, 5)]


@pytest.mark.parametrize("around", [".", "cifar10"])
def test_folders_of_jpegs_are_recognised(tmp_path, paint, write_image, around):
    for name in ("train/truck/0.jpg", "train/airplane/0.jpg", "test/dog/0.jpg"):
        write_image(tmp_path / around / name, paint(32, 32))
    train, test = (read_cifar10(tmp_path, part, FORM) for part in ("train", "test"))
    # Numbers are those of the data set, also where a class is absent.
    assert train.targets["class"].tolist() == [0, 9] and test.targets["class"].tolist() == [5]
    assert train.classes == test.classes == {"class": CLASSES}


class TestErrors:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(DataError, match=r"CIFAR-10 in .*/no: no such folder") as error:
            read_cifar10(tmp_path / "no", "train", FORM)
        for part in ("data_batch_1.bin", "test/<class>/<n>.jpg", "https://www.cs.toronto.edu"):
            assert part in str(error.value)

    def test_a_folder_without_them(self, tmp_path):
        with pytest.raises(DataError, match="the test pictures are missing"):
            read_cifar10(tmp_path, "test", FORM)

    @pytest.mark.parametrize("name", ["data_batch_3.bin", "data_batch_1.bin"])
    def test_one_missing_batch(self, batches, name):
        path, _ = batches
        (path / name).unlink()
        with pytest.raises(DataError, match=f"{name} is missing"):
            read_cifar10(path, "train", FORM)

    @pytest.mark.parametrize("change", [-1, 1, -2 * 3073])
    def test_a_batch_of_a_wrong_size(self, batches, change):
        path, _ = batches
        batch = path / "data_batch_2.bin"
        batch.write_bytes((batch.read_bytes() + b"\0")[: 2 * 3073 + change])
        with pytest.raises(DataError, match="not a whole batch of CIFAR-10") as error:
            read_cifar10(path, "train", FORM)
        assert f"{batch}" in str(error.value)
        assert f"expected rows of 3073 bytes, got {2 * 3073 + change} bytes" in str(error.value)

    def test_a_batch_with_more_rows_than_any(self, batches):
        path, _ = batches
        with (path / "test_batch.bin").open("wb") as file:
            file.truncate(10_001 * 3073)
        with pytest.raises(DataError, match=r"test_batch\.bin: the file is too large"):
            read_cifar10(path, "test", FORM)

    def test_a_label_that_is_no_class(self, batches):
        path, _ = batches
        (path / "test_batch.bin").write_bytes(rows_of([3, 10])[0].tobytes())
        with pytest.raises(DataError, match=r"test_batch\.bin: row 1: a label is no class") as e:
            read_cifar10(path, "test", FORM)
        assert "expected 0 to 9, got 10" in str(e.value)

    def test_other_names_of_classes(self, batches):
        path, _ = batches
        (path / "batches.meta.txt").write_text("cat\ndog\n")
        with pytest.raises(DataError, match=r"not the classes of CIFAR-10.*got cat, dog"):
            read_cifar10(path, "test", FORM)

    @pytest.mark.parametrize("around", [".", "cifar-10-batches-py"])
    def test_the_pickled_version_is_refused(self, tmp_path, around):
        (tmp_path / around).mkdir(exist_ok=True)
        (tmp_path / around / "data_batch_1").write_bytes(b"\x80\x02}q\x01.")
        with pytest.raises(DataError, match=r"could run any code.*the binary version") as error:
            read_cifar10(tmp_path, "train", FORM)
        assert "get cifar-10-binary.tar.gz" in str(error.value)

    def test_a_folder_of_no_class(self, tmp_path, write_image):
        write_image(tmp_path / "train/horse/1.png")
        write_image(tmp_path / "train/house/1.png")
        with pytest.raises(DataError, match=r"an unknown class.*airplane to truck, got house"):
            read_cifar10(tmp_path, "train", FORM)

    def test_an_unknown_part_and_a_limit_out_of_range(self, batches):
        path, _ = batches
        with pytest.raises(ParameterError, match="expected train or test, got val"):
            read_cifar10(path, "val", FORM)
        with pytest.raises(ParameterError, match="limit"):
            read_cifar10(path, "test", FORM, 0)
