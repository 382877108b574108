"""Pictures: what was written is what is read, in order, in bounds, and as the robot sees it."""

from __future__ import annotations

import os
import struct
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets import PictureForm, pictures
from streaming_net_ros.training.datasets.pictures import (
    MAX_FILE_BYTES,
    decode_picture,
    fit_pictures,
    read_pictures,
)
from streaming_net_ros.wire import decode_camera, fit_image
from streaming_net_ros.wire.camera import MAX_SIDE


def exif_jpeg(image, orientation):
    """A jpeg whose camera was held as the tag says."""
    file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return file[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + file[2:]


class TestDecoding:
    @pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "PNG"])
    def test_what_was_written_is_what_is_read(self, tmp_path, write_image, suffix):
        image = write_image(tmp_path / f"a.{suffix}")
        assert np.array_equal(decode_picture(tmp_path / f"a.{suffix}", "rgb"), image)

    @pytest.mark.parametrize("suffix", ["png", "pgm", "bmp"])
    def test_grey_stays_grey_in_either_colour(self, tmp_path, paint, write_image, suffix):
        grey = write_image(tmp_path / f"a.{suffix}", paint(channels=1))
        assert np.array_equal(decode_picture(tmp_path / f"a.{suffix}", "mono"), grey)
        as_rgb = decode_picture(tmp_path / f"a.{suffix}", "rgb")
        assert np.array_equal(as_rgb, np.repeat(grey, 3, axis=2))

    @pytest.mark.parametrize("suffix", ["jpg", "png"])
    @pytest.mark.parametrize("colour", ["rgb", "mono"])
    def test_a_file_is_decoded_as_the_robots_camera_is(
        self, tmp_path, write_image, suffix, colour
    ):
        path = tmp_path / f"a.{suffix}"
        write_image(path)
        message = SimpleNamespace(format=suffix, data=path.read_bytes())
        assert np.array_equal(decode_picture(path, colour), decode_camera(message, colour))

    def test_the_content_counts_and_not_the_name(self, tmp_path, write_image):
        image = write_image(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.jpg")
        assert np.array_equal(decode_picture(tmp_path / "a.jpg", "rgb"), image)

    def test_16_bits_become_8_and_transparency_goes(self, tmp_path, paint, write_image):
        write_image(tmp_path / "a.png", np.array([[0, 65535]], np.uint16))
        assert decode_picture(tmp_path / "a.png", "mono").ravel().tolist() == [0, 255]
        image = paint(channels=4)
        write_image(tmp_path / "b.png", image)
        read = decode_picture(tmp_path / "b.png", "rgb")
        assert np.array_equal(read, image[..., 2::-1])

    def test_a_photo_is_turned_as_its_tag_says(self, tmp_path):
        image = np.zeros((16, 32, 3), np.uint8)
        image[:, :16] = 255  # white at the left
        (tmp_path / "a.jpg").write_bytes(exif_jpeg(image, 6))  # to be turned to the right
        read = decode_picture(tmp_path / "a.jpg", "mono")
        assert read.shape == (32, 16, 1)
        assert read[:16].min() > 240 and read[16:].max() < 15  # white at the top

    def test_a_box_keeps_its_part(self, tmp_path, write_image):
        image = write_image(tmp_path / "a.png")
        read = decode_picture(tmp_path / "a.png", "rgb", (1, 2, 5, 4))
        assert np.array_equal(read, image[2:4, 1:5])

    @pytest.mark.parametrize("box", [(0, 0, 7, 4), (0, 0, 6, 5), (3, 0, 3, 4), (0, 3, 6, 2)])
    def test_a_box_outside_is_told(self, tmp_path, write_image, box):
        write_image(tmp_path / "a.png")
        with pytest.raises(DataError, match="region of interest does not lie in") as error:
            decode_picture(tmp_path / "a.png", "rgb", box)
        assert "a.png" in str(error.value) and "within width 6, height 4" in str(error.value)


class TestDamage:
    def test_a_file_that_is_no_image_is_named(self, tmp_path):
        (tmp_path / "a.jpg").write_text("not found, sorry")
        with pytest.raises(DataError, match=r"a\.jpg: not an image, or a damaged one"):
            decode_picture(tmp_path / "a.jpg", "rgb")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "ppm", "webp"])
    def test_a_truncated_file_is_named(self, tmp_path, paint, write_image, suffix):
        path = tmp_path / f"a.{suffix}"
        write_image(path, paint(40, 40))
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DataError, match=r"a damaged (image|one)") as error:
            decode_picture(path, "rgb")
        assert str(path) in str(error.value)

    def test_what_makes_opencv_raise_is_told_alike(self, tmp_path, write_image, monkeypatch):
        write_image(tmp_path / "a.png")

        def fails(*_):
            raise cv2.error("no memory")

        monkeypatch.setattr(cv2, "imdecode", fails)
        with pytest.raises(DataError, match="a damaged image"):
            decode_picture(tmp_path / "a.png", "rgb")

    @pytest.mark.parametrize("width, height", [(9000, 9000), (40_000, 2), (2, 40_000), (0, 5)])
    def test_an_absurd_size_is_refused_before_it_is_decoded(
        self, tmp_path, monkeypatch, width, height
    ):
        (tmp_path / "a.ppm").write_bytes(f"P6\n{width} {height}\n255\n".encode())
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        with pytest.raises(DataError, match="an image of this size is not read") as error:
            decode_picture(tmp_path / "a.ppm", "rgb")
        assert f"got width {width}, height {height}" in str(error.value)

    def test_an_absurd_file_is_refused_before_it_is_read(self, tmp_path):
        with (tmp_path / "a.bmp").open("wb") as file:
            file.truncate(MAX_FILE_BYTES + 1)
        with pytest.raises(DataError, match="the file is too large"):
            decode_picture(tmp_path / "a.bmp", "rgb")


class TestReading:
    def test_order_is_that_of_the_files_with_any_number_of_threads(
        self, tmp_path, form, write_image, monkeypatch
    ):
        files = [tmp_path / f"{number}.png" for number in range(100)]
        images = [write_image(file, seed=number) for number, file in enumerate(files)]
        wanted = np.stack(images).transpose(0, 3, 1, 2)
        for threads in (1, 7):
            monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
            assert np.array_equal(read_pictures(files, form).numpy(), wanted)

    @pytest.mark.parametrize("colour", ["rgb", "mono"])
    def test_another_size_is_fitted_as_a_cameras_image_is(
        self, tmp_path, paint, write_image, colour
    ):
        write_image(tmp_path / "a.png", paint(30, 17))
        read = read_pictures([tmp_path / "a.png"], PictureForm(8, 21, colour))
        image = fit_image(decode_picture(tmp_path / "a.png", colour), 21, 8)
        assert np.array_equal(read[0].numpy(), image.transpose(2, 0, 1))

    def test_shrinking_averages(self, tmp_path, write_image):
        image = np.zeros((2, 4, 3), np.uint8)
        image[:, 1] = image[:, 2] = 100
        write_image(tmp_path / "a.png", image)
        read = read_pictures([tmp_path / "a.png"], PictureForm(1, 2, "mono"))
        assert read.tolist() == [[[[50, 50]]]]

    def test_progress_comes_on_the_callers_thread_and_ends_with_all(
        self, tmp_path, form, write_image
    ):
        write_image(tmp_path / "a.png")
        seen = []
        read_pictures(
            [tmp_path / "a.png"] * 75,
            form,
            progress=lambda done, total: seen.append((done, total, threading.get_ident())),
        )
        assert [done for done, _, _ in seen] == [32, 64, 75]
        assert {(total, thread) for _, total, thread in seen} == {(75, threading.get_ident())}

    def test_the_first_bad_file_in_order_is_told(self, tmp_path, form, write_image):
        write_image(tmp_path / "good.png")
        files = [tmp_path / "good.png"] * 200
        files[90], files[170] = tmp_path / "first.jpg", tmp_path / "second.jpg"
        for _ in range(5):
            with pytest.raises(DataError, match=r"first\.jpg: no such file"):
                read_pictures(files, form)

    def test_an_interrupt_leaves_the_rest_unread(self, tmp_path, form, write_image, monkeypatch):
        write_image(tmp_path / "a.png")
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        count = []
        real = pictures.decode_picture
        monkeypatch.setattr(
            pictures, "decode_picture", lambda *given: (count.append(1), real(*given))[1]
        )

        def interrupt(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            read_pictures([tmp_path / "a.png"] * 20_000, form, progress=interrupt)
        assert len(count) < 20_000


class TestArrays:
    @given(st.integers(0, 2**32), st.sampled_from([1, 3]))
    def test_pictures_of_the_right_form_are_unchanged(self, seed, channels):
        images = np.random.default_rng(seed).integers(0, 256, (3, 4, 5, channels), np.uint8)
        fitted = fit_pictures(images, PictureForm(4, 5, "rgb" if channels == 3 else "mono"))
        assert np.array_equal(fitted.numpy(), images.transpose(0, 3, 1, 2))

    def test_grey_becomes_rgb_and_comes_back(self, paint):
        grey = paint(channels=1)[np.newaxis]
        as_rgb = fit_pictures(grey, PictureForm(4, 6, "rgb")).numpy()
        assert as_rgb.shape == (1, 3, 4, 6) and (as_rgb == as_rgb[:, :1]).all()
        back = fit_pictures(as_rgb.transpose(0, 2, 3, 1).copy(), PictureForm(4, 6, "mono"))
        assert np.array_equal(back.numpy().transpose(0, 2, 3, 1), grey)

    def test_progress_ends_with_all(self):
        seen = []
        images = np.zeros((1500, 1, 1, 1), np.uint8)
        fit_pictures(images, PictureForm(1, 1, "mono"), lambda *far: seen.append(far))
        assert seen == [(1024, 1500), (1500, 1500)]


class TestForm:
    @pytest.mark.parametrize("side", [0, -3, MAX_SIDE + 1])
    def test_sides_out_of_range(self, side):
        with pytest.raises(ParameterError, match="height: no picture has this side"):
            PictureForm(side, 5, "rgb")
        with pytest.raises(ParameterError, match="width: no picture has this side"):
            PictureForm(5, side, "rgb")

    def test_an_unknown_colour(self):
        with pytest.raises(ParameterError, match="expected rgb or mono, got bgr"):
            PictureForm(5, 5, "bgr")

    def test_more_than_the_memory_is_told(self):
        with pytest.raises(DataError, match="do not fit into memory") as error:
            PictureForm(MAX_SIDE, MAX_SIDE, "rgb").empty(10**6)
        assert "GiB; set a limit, or a smaller input" in str(error.value)
