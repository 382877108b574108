"""GTSRB's annotations: which class a picture shows, and where in it the sign is.

Owns the reading of ``GT-<class>.csv``. Knows no folders. Only ``tracks`` imports it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.datasets.pictures import Box
from streaming_net_ros.training.datasets.sources import read_file

_MOST_BYTES = 1 << 26
_FILE_NAME = re.compile(r"\w[\w.-]*")  # leads into no other folder
_COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")


@dataclass(frozen=True)
class Annotation:
    """Of one picture: its class's number, and the sign's box in pixels."""

    label: int
    box: Box  # Roi.X2 and Roi.Y2 lie outside: the border is as wide there as at the left and top


def read_annotations(path: Path, classes: int) -> dict[str, Annotation]:
    """What a table says of each picture, by the picture's file name, in the table's order.

    Args:
        path: a csv file with ``;`` between its columns.
        classes: how many there are.

    Raises:
        DataError: missing, not such a table, without a row or a column, a value that is no
            number, an unknown class, a file name with a folder in it, or a picture named twice.
    """
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";")
        lacking = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise _wrong("columns are missing", str(path), ", ".join(_COLUMNS), rows.fieldnames)
        found: dict[str, Annotation] = {}
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            name = row["Filename"] or ""
            if name in found or not _FILE_NAME.fullmatch(name):
                what = "a picture is named twice" if name in found else "not a picture's name"
                raise _wrong(what, where, "<n>.ppm", name)
            found[name] = _annotation(row, classes, where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a table ({error})", where=str(path)) from None
    if not found:
        raise DataError("a table without a row", where=str(path))
    return found


def _annotation(row: Mapping[str, str | None], classes: int, where: str) -> Annotation:
    numbers = []
    for name in _COLUMNS[1:]:
        value = (row[name] or "").strip()
        # Signs and thousands are none of these tables', and long numbers take long to read.
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise _wrong("not a number", f"{where}: {name}", "0 or more", value)
        numbers.append(int(value))
    left, top, right, bottom, label = numbers
    if label >= classes:
        raise _wrong("an unknown class", f"{where}: ClassId", f"0 to {classes - 1}", label)
    return Annotation(label, (left, top, right, bottom))


def _wrong(what: str, where: str, expected: str, got: object) -> DataError:
    return DataError(what, where=where, expected=expected, got=got, remedy="unpack the file again")
