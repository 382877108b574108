"""MNIST: idx files, packed or not, and never more in memory than they state."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import PictureForm, read_mnist
from streaming_net_ros.training.datasets.mnist import MAX_IDX_BYTES, read_idx

FORM = PictureForm(5, 4, "mono")


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.astype(np.uint8).tobytes())
    )


def digits(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 5, 4), dtype=np.uint8), np.arange(count) % 10


def write(folder, part="train", count=12, spelling="-", packed=False):
    """Both files of a part; gives back images and labels."""
    images, labels = digits(count)
    folder.mkdir(parents=True, exist_ok=True)
    for what, array in (("images", images), ("labels", labels)):
        name = f"{part}-{what}{spelling}idx{array.ndim}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return images, labels


@pytest.mark.parametrize("spelling", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("around", [".", "MNIST/raw"])
@pytest.mark.parametrize("part, name", [("train", "train"), ("test", "t10k")])
def test_what_was_written_is_what_is_read(tmp_path, spelling, packed, around, part, name):
    images, labels = write(tmp_path / around, name, 12, spelling, packed)
    clips = read_mnist(tmp_path, part, FORM)
    assert np.array_equal(clips.images[:, 0].numpy(), images)
    assert np.array_equal(clips.targets["class"], labels)
    assert clips.classes == {"class": tuple("0123456789")}
    assert clips.frames.tolist() == [1] * 12


def test_a_limit_and_another_form(tmp_path):
    write(tmp_path, count=30)
    seen = []
    clips = read_mnist(
        tmp_path, "train", PictureForm(10, 8, "rgb"), 10, lambda *far: seen.append(far)
    )
    assert clips.images.shape == (10, 3, 10, 8)
    assert sorted(clips.targets["class"].tolist()) == list(range(10))
    assert seen == [(10, 10)]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_an_array_comes_back_whole_and_a_part_of_it_never(tmp_path_factory, shape, data):
    path = tmp_path_factory.mktemp("idx") / "some"
    array = np.arange(np.prod(shape)).reshape(shape) % 256
    file = idx(array)
    path.write_bytes(file)
    assert np.array_equal(read_idx(path, len(shape)), array)
    path.write_bytes(file[: data.draw(st.integers(0, len(file) - 1))])
    with pytest.raises(DataError, match=r"truncated|not an idx file"):
        read_idx(path, len(shape))


class TestErrors:
    def test_missing_files(self, tmp_path):
        with pytest.raises(DataError, match=r"MNIST in .*/no: no such folder") as error:
            read_mnist(tmp_path / "no", "train", FORM)
        for part in ("t10k-labels-idx1-ubyte", "here or in mnist/", "http://yann.lecun.com"):
            assert part in str(error.value)
        with pytest.raises(DataError, match="t10k-images-idx3-ubyte is missing"):
            read_mnist(tmp_path, "test", FORM)
        write(tmp_path)
        (tmp_path / "train-labels-idx1-ubyte").unlink()
        with pytest.raises(DataError, match="train-labels-idx1-ubyte is missing"):
            read_mnist(tmp_path, "train", FORM)

    @pytest.mark.parametrize("magic", [b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x1f\x8b\x08\x08", b""])
    def test_another_format(self, tmp_path, magic):
        write(tmp_path)
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(magic + path.read_bytes()[4 if magic else 10**6 :])
        with pytest.raises(DataError, match="not an idx file of this kind") as error:
            read_mnist(tmp_path, "train", FORM)
        assert rf"expected b'\x00\x00\x08\x03', got {magic!r}" in str(error.value)
        assert str(path) in str(error.value)

    def test_a_head_that_is_cut(self, tmp_path):
        (tmp_path / "a").write_bytes(idx(np.zeros((1, 1, 1)))[:9])
        with pytest.raises(DataError, match="truncated: expected a head of 16 bytes, got 9 bytes"):
            read_idx(tmp_path / "a", 3)

    @pytest.mark.parametrize("packed", [False, True])
    def test_fewer_values_than_stated(self, tmp_path, packed):
        path = tmp_path / ("a.gz" if packed else "a")
        file = idx(np.zeros((2, 3)))[:-1]
        path.write_bytes(gzip.compress(file) if packed else file)
        with pytest.raises(DataError, match="truncated: expected 6 values, got 5"):
            read_idx(path, 2)

    @pytest.mark.parametrize("packed", [False, True])
    def test_more_values_than_stated(self, tmp_path, packed):
        path = tmp_path / ("a.gz" if packed else "a")
        file = idx(np.zeros((2, 3))) + b"\0"
        path.write_bytes(gzip.compress(file) if packed else file)
        with pytest.raises(DataError, match="longer than it states: expected 6 values"):
            read_idx(path, 2)

    @pytest.mark.parametrize("sizes", [(2**31, 2**31), (MAX_IDX_BYTES, 2), (0, 5)])
    def test_an_absurd_size(self, tmp_path, sizes):
        (tmp_path / "a").write_bytes(bytes([0, 0, 8, 2]) + struct.pack(">2I", *sizes))
        with pytest.raises(DataError, match=f"an absurd size: .*got {sizes[0]} x {sizes[1]}"):
            read_idx(tmp_path / "a", 2)

    def test_a_packed_file_unpacks_to_no_more_than_it_states(self, tmp_path):
        bomb = gzip.compress(idx(np.zeros((2, 3))) + bytes(200_000_000), compresslevel=1)
        (tmp_path / "a.gz").write_bytes(bomb)
        tracemalloc.start()
        with pytest.raises(DataError, match="longer than it states"):
            read_idx(tmp_path / "a.gz", 2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 10_000_000

    def test_a_packed_file_that_is_cut_or_damaged(self, tmp_path):
        file = gzip.compress(idx(digits(12)[0]))
        (tmp_path / "cut.gz").write_bytes(file[:-20])
        with pytest.raises(DataError, match="truncated: expected the end of the packed data"):
            read_idx(tmp_path / "cut.gz", 3)
        (tmp_path / "bad.gz").write_bytes(file[:30] + b"\xff" * 20 + file[50:])
        with pytest.raises(DataError, match=r"bad\.gz: cannot be read"):
            read_idx(tmp_path / "bad.gz", 3)
        (tmp_path / "none.gz").write_bytes(b"not packed")
        with pytest.raises(DataError, match=r"none\.gz: cannot be read \(Not a gzipped file"):
            read_idx(tmp_path / "none.gz", 3)

    def test_labels_that_do_not_fit(self, tmp_path):
        write(tmp_path)
        path = tmp_path / "train-labels-idx1-ubyte"
        path.write_bytes(idx(np.zeros(11)))
        with pytest.raises(DataError, match=r"a label for each image is needed.* 12, got 11"):
            read_mnist(tmp_path, "train", FORM)
        path.write_bytes(idx(np.arange(12)))
        with pytest.raises(DataError, match=r"label 11: a label is no digit: .* 0 to 9, got 11"):
            read_mnist(tmp_path, "train", FORM)

    def test_an_unknown_part_and_a_limit_out_of_range(self, tmp_path):
        write(tmp_path)
        with pytest.raises(ParameterError, match="expected train or test, got valid"):
            read_mnist(tmp_path, "valid", FORM)
        with pytest.raises(ParameterError, match="limit"):
            read_mnist(tmp_path, "train", FORM, -1)
