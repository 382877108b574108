"""Annotations: a table that says what is wrong with it, and in which line."""

from __future__ import annotations

import pytest

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.datasets.annotations import Annotation, read_annotations

HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
GOOD = "00000.ppm;53;54;6;5;48;49;16"


def read(tmp_path, *lines, encoding="utf-8"):
    path = tmp_path / "GT.csv"
    path.write_text("\n".join([*lines, ""]), encoding=encoding)
    return read_annotations(path, 43)


def test_what_was_written_is_what_is_read(tmp_path):
    rows = read(tmp_path, HEAD, "9.ppm;53;54;6;5;48;49;16", "00001.ppm;42;45;5;5;36;40;1")
    assert rows == {
        "9.ppm": Annotation(16, (6, 5, 48, 49)),
        "00001.ppm": Annotation(1, (5, 5, 36, 40)),
    }
    assert list(rows) == ["9.ppm", "00001.ppm"]


def test_other_columns_orders_and_editors_do_no_harm(tmp_path):
    head = "Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;Remark;Filename;ClassId"
    rows = read(tmp_path, head, "1; 2 ;3;4;dirty;a-1.ppm;5", encoding="utf-8-sig")
    assert rows == {"a-1.ppm": Annotation(5, (1, 2, 3, 4))}


@pytest.mark.parametrize(
    "line, message",
    [
        (GOOD.replace("48", "x"), "line 2: Roi.X2: not a number: expected 0 or more, got x"),
        (GOOD.replace(";48", ";-48"), "Roi.X2: not a number"),
        (GOOD.replace(";48", ";4_8"), "Roi.X2: not a number"),
        (GOOD.replace(";48", ";" + "9" * 5000), "Roi.X2: not a number"),
        (GOOD.replace(";16", ""), "line 2: ClassId: not a number"),
        (GOOD.replace(";16", ";43"), "ClassId: an unknown class: expected 0 to 42, got 43"),
        (GOOD.replace("00000", "../00000"), "line 2: not a picture's name"),
        (GOOD.replace("00000", "/00000"), "not a picture's name"),
        (GOOD.replace("00000.ppm", ".."), "not a picture's name"),
        (GOOD.replace("00000.ppm", ""), "not a picture's name"),
        (GOOD.replace("00000", "a\0"), "not a picture's name|not a table"),
        (GOOD + "\n" + GOOD, "line 3: a picture is named twice: .*got 00000.ppm"),
        (GOOD.replace("00000", "0" * 200_000), "not a table"),
    ],
)
def test_a_wrong_row_is_told(tmp_path, line, message):
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, HEAD, line)
    assert "GT.csv" in str(error.value)


def test_columns_that_are_missing(tmp_path):
    with pytest.raises(DataError, match=r"columns are missing: expected Filename, Roi.X1"):
        read(tmp_path, "Filename,Width", "a,3")
    with pytest.raises(DataError, match="columns are missing"):
        read(tmp_path)


def test_a_table_without_a_row(tmp_path):
    with pytest.raises(DataError, match="a table without a row"):
        read(tmp_path, HEAD)


def test_what_is_no_text_or_not_there(tmp_path):
    with pytest.raises(DataError, match=r"not a table \('utf-8' codec"):
        read(tmp_path, HEAD + "\xe4", encoding="latin-1")
    with pytest.raises(DataError, match="no such file"):
        read_annotations(tmp_path / "none.csv", 43)
