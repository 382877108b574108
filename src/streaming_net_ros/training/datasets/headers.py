"""The size that an image file states, before anything of it is decoded.

Owns the heads of bmp, ppm and pgm, and webp; those of jpeg and png are ``wire``'s. Knows bytes,
and no limits of size. Only ``pictures`` imports it. All functions are pure.
"""

from __future__ import annotations

import re
import struct

from streaming_net_ros.errors import DataError, ImageError
from streaming_net_ros.wire.compressed import stated_size as size_of_jpeg_or_png
from streaming_net_ros.wire.encodings import Payload

_HEAD_BYTES = 4096  # a pnm's comments may be long
_GAP = rb"(?:\s+(?:#[^\n]*\n\s*)*)"
_PNM = re.compile(rb"P[1-6]" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")


def stated_size(file: Payload, where: str) -> tuple[int, int]:
    """Height and width that an image file states.

    Args:
        file: all of it.
        where: its path, for the error.

    Raises:
        DataError: not a file of these formats, or without a proper head. A jpeg or png must be
            whole, too.
    """
    head = file[:_HEAD_BYTES].tobytes()
    try:
        if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
            return size_of_jpeg_or_png(file, where)
        size = _pnm_size(head) or _bmp_size(head) or _webp_size(head)
    except (ImageError, struct.error):
        size = None
    if size is None:
        raise DataError(
            "not an image, or a damaged one",
            where=where,
            expected="a whole jpeg, png, bmp, ppm, pgm or webp file",
            got=f"{len(file)} bytes that begin with {head[:8]!r}",
            remedy="fetch this file again, or remove it",
        )
    return size


def _pnm_size(head: bytes) -> tuple[int, int] | None:
    found = _PNM.match(head)
    return None if found is None else (int(found[2]), int(found[1]))


def _bmp_size(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(b"BM"):
        return None
    (kind,) = struct.unpack_from("<I", head, 14)
    width, height = struct.unpack_from("<HH" if kind == 12 else "<ii", head, 18)
    return abs(height), width  # rows from the top down are stated as a negative height


def _webp_size(head: bytes) -> tuple[int, int] | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        (width,) = struct.unpack("<I", head[24:27] + b"\0")
        (height,) = struct.unpack("<I", head[27:30] + b"\0")
        return height + 1, width + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None
