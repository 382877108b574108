"""Raw image encodings: how the samples of each lie in memory, and what makes rgb and grey of them.

Owns the table of encodings and the one way to read them. Knows bytes and arrays, but no messages
and no files. ``camera`` (raw images) and ``compressed`` (what a file holds) import it.

All functions are pure and may run on any thread.

Conventions, where ROS leaves them open:

* 16 bits become 8 by ``round(x / 257)``, in either byte order: 0 stays 0, 65535 becomes 255.
* ``8UC3``, ``8UC4`` and their 16 bit kin name no colours; they are bgr(a), as rviz shows them.
* YUV is BT.601 of limited range (16..235), as cameras send it and OpenCV reads it. Grey is the
  luma, stretched to 0..255, so that grey and rgb of one image have the same brightness.
* ``nv12`` and ``nv21``: ``step`` is the stride of a luma row, and the chroma rows, half as many,
  follow with the same stride.
* ``32FC1`` is refused, always. It is a depth in metres (REP 118), and no field states a range;
  to accept it whenever its values happen to lie in [0, 1] would depend on what the camera sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ImageError

Colour: TypeAlias = Literal["rgb", "mono"]
Image: TypeAlias = NDArray[np.uint8]  # (height, width, 3) rgb or (height, width, 1) grey
Payload: TypeAlias = NDArray[np.uint8]  # (bytes,), read-only
Samples: TypeAlias = NDArray[Any]  # (rows, width, samples per pixel), uint8 or uint16

_REMEDY = "let the camera publish one of these, rgb8 if in doubt"
_DEPTH_REMEDY = "it holds metres, not brightness: scale it to mono8 with a range that you choose"
_Convert: TypeAlias = Callable[[Image], Image]


@dataclass(frozen=True)
class Encoding:
    """How the bytes of one encoding lie, and what makes rgb and grey of their 8 bit samples."""

    samples: int  # per pixel, within a row
    rgb: _Convert
    mono: _Convert
    sample_bytes: int = 1
    data_rows: float = 1  # per row of the image
    height_multiple: int = 1
    width_multiple: int = 1
    least_side: int = 1

    def check_size(self, height: int, width: int, where: str) -> None:
        """Make sure that the encoding can hold an image of this size at all.

        Raises:
            ImageError: it cannot.
        """
        by_height, by_width = self.height_multiple, self.width_multiple
        if height % by_height or width % by_width or min(height, width) < self.least_side:
            raise ImageError(
                "the encoding does not allow this size",
                where=where,
                expected=f"width a multiple of {by_width}, height a multiple of {by_height}, "
                f"both at least {self.least_side}",
                got=f"width {width}, height {height}",
                remedy="change the camera's size, or let it publish rgb8",
            )

    def unpack(
        self,
        payload: Payload,
        height: int,
        width: int,
        step: int,
        *,
        is_bigendian: bool,
        where: str,
    ) -> Samples:
        """The samples in a payload: a read-only view, without the padding of the rows.

        Args:
            payload: the image's bytes; more may follow them.
            height: of the image, in pixels.
            width: of the image, in pixels.
            step: bytes from one row to the next.
            is_bigendian: the byte order of 16 bit samples.
            where: the image, for errors.

        Raises:
            ImageError: a step or a payload that is too short.
        """
        row_bytes = width * self.samples * self.sample_bytes
        rows = int(height * self.data_rows)
        _check_lengths(payload.size, step, row_bytes, rows, where)
        row_view = payload[: step * rows].reshape(rows, step)[:, :row_bytes]
        samples = row_view.view(f"{'>' if is_bigendian else '<'}u{self.sample_bytes}")
        return samples.reshape(rows, width, self.samples)

    def render(self, samples: Samples, colour: Colour, where: str) -> Image:
        """The pixels of samples that lie as this encoding says.

        Raises:
            ImageError: a size that OpenCV refuses.
        """
        convert = self.rgb if colour == "rgb" else self.mono
        try:
            image = convert(_eight_bits(samples) if self.sample_bytes == 2 else samples)
        except cv2.error as error:  # OpenCV refuses some sizes, and which ones is its version's
            raise ImageError(
                "OpenCV cannot convert it",
                where=where,
                got=str(error).strip(),
                remedy="let the camera publish rgb8 or bgr8",
            ) from error
        return image if image.ndim == 3 else image[:, :, np.newaxis]


def find_encoding(name: str, where: str) -> Encoding:
    """The encoding of this name.

    Raises:
        ImageError: there is none; ``where`` says who asked.
    """
    encoding = _TABLE.get(name)
    if encoding is None:
        raise ImageError(
            "unknown encoding",
            where=where,
            expected=f"one of {', '.join(ENCODINGS)}",
            got=repr(name),
            remedy=_DEPTH_REMEDY if name in ("32FC1", "64FC1") else _REMEDY,
        )
    return encoding


def _check_lengths(size_bytes: int, step: int, row_bytes: int, rows: int, where: str) -> None:
    if step < row_bytes:
        raise ImageError(
            "step is shorter than a row",
            where=where,
            expected=f"at least {row_bytes} bytes",
            got=step,
            remedy="let the driver set step to the bytes of a row, padding included",
        )
    if size_bytes < step * rows:
        raise ImageError(
            "data is shorter than the image",
            where=where,
            expected=f"{rows} rows x step {step} = {step * rows} bytes",
            got=size_bytes,
            remedy="the message was cut, or its step or size is wrong: check the driver",
        )


def _eight_bits(samples: Samples) -> Image:
    """``round(x / 257)`` of 16 bit samples in any byte order; exact for every value."""
    # OpenCV wants native order and, unlike numpy, aligned rows: an odd step gives neither.
    native = np.require(samples, np.uint16, ["C", "A"])
    return np.asarray(cv2.convertScaleAbs(native, alpha=1 / 257), np.uint8).reshape(samples.shape)


_STRETCHED: Final = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def _as_is(samples: Image) -> Image:
    return samples


def _by(code: int) -> _Convert:
    """The conversion that OpenCV does under this code."""
    return lambda samples: np.asarray(cv2.cvtColor(samples, code), np.uint8)


def _luma_at(channel: int) -> _Convert:
    """The grey of packed YUV, whose luma is this one of two samples."""
    return lambda samples: _stretched(np.asarray(cv2.extractChannel(samples, channel), np.uint8))


def _luma_plane(samples: Image) -> Image:
    return _stretched(samples[: samples.shape[0] * 2 // 3])


def _stretched(luma: Image) -> Image:
    return np.asarray(cv2.LUT(luma, _STRETCHED), np.uint8)


_GREY = Encoding(1, rgb=_by(cv2.COLOR_GRAY2RGB), mono=_as_is)
_RGB = Encoding(3, rgb=_as_is, mono=_by(cv2.COLOR_RGB2GRAY))
_BGR = Encoding(3, rgb=_by(cv2.COLOR_BGR2RGB), mono=_by(cv2.COLOR_BGR2GRAY))
_RGBA = Encoding(4, rgb=_by(cv2.COLOR_RGBA2RGB), mono=_by(cv2.COLOR_RGBA2GRAY))
_BGRA = Encoding(4, rgb=_by(cv2.COLOR_BGRA2RGB), mono=_by(cv2.COLOR_BGRA2GRAY))
_UYVY = Encoding(2, rgb=_by(cv2.COLOR_YUV2RGB_UYVY), mono=_luma_at(1), width_multiple=2)
_YUYV = Encoding(2, rgb=_by(cv2.COLOR_YUV2RGB_YUY2), mono=_luma_at(0), width_multiple=2)
_NV12 = Encoding(
    1,
    rgb=_by(cv2.COLOR_YUV2RGB_NV12),
    mono=_luma_plane,
    data_rows=1.5,
    height_multiple=2,
    width_multiple=2,
)
_NV21 = replace(_NV12, rgb=_by(cv2.COLOR_YUV2RGB_NV21))


def _mosaic(rgb_code: int, grey_code: int) -> Encoding:
    # The border pixels are copies of their neighbours: below 3 x 3 pixels OpenCV returns black.
    return Encoding(1, rgb=_by(rgb_code), mono=_by(grey_code), least_side=3)


# ROS names a Bayer pattern by its first two rows from the corner. OpenCV's old names, which every
# OpenCV has, are read one pixel down and one to the right: rggb is "BG".
_RGGB = _mosaic(cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2GRAY)
_BGGR = _mosaic(cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2GRAY)
_GBRG = _mosaic(cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2GRAY)
_GRBG = _mosaic(cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2GRAY)

_8_BIT: Final[Mapping[str, Encoding]] = {
    "rgb8": _RGB,
    "bgr8": _BGR,
    "rgba8": _RGBA,
    "bgra8": _BGRA,
    "mono8": _GREY,
    "8UC1": _GREY,
    "8UC3": _BGR,
    "8UC4": _BGRA,
    "bayer_rggb8": _RGGB,
    "bayer_bggr8": _BGGR,
    "bayer_gbrg8": _GBRG,
    "bayer_grbg8": _GRBG,
}
_16_BIT: Final[Mapping[str, Encoding]] = {  # the same orders of samples, each of two bytes
    name.replace("8", "16"): replace(encoding, sample_bytes=2) for name, encoding in _8_BIT.items()
}
_YUV: Final[Mapping[str, Encoding]] = {
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _NV12,
    "nv21": _NV21,
}
_TABLE: Final[Mapping[str, Encoding]] = {**_8_BIT, **_16_BIT, **_YUV}

ENCODINGS: Final = tuple(_TABLE)
