"""Sources: what is missing, where it was looked for, and how to get it."""

from __future__ import annotations

import os

import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.datasets.sources import (
    Source,
    check_part,
    first_that_exists,
    list_folder,
    read_file,
)

SOURCE = Source("Things", "thing.bin", "ask for them", folders=("inside", "in/side"))


class TestMissing:
    def test_the_message_has_all_that_a_person_needs(self, tmp_path):
        with pytest.raises(DataError) as error:
            SOURCE.roots(tmp_path / "nowhere")
        assert str(error.value) == (
            f"Things in {tmp_path}/nowhere: no such folder: expected thing.bin, here or in "
            "inside/ or in in/side/; ask for them"
        )

    def test_where_is_told_in_full(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError, match=str(tmp_path / "some")):
            list_folder(tmp_path / "some", SOURCE)

    @pytest.mark.parametrize(
        "name, what", [("a.tar.gz", "an archive, not a folder"), ("a.jpg", "a file, not a folder")]
    )
    def test_a_file_in_place_of_a_folder(self, tmp_path, name, what):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=f": {what}: expected thing.bin"):
            SOURCE.roots(tmp_path / name)

    def test_a_folder_that_may_not_be_read(self, tmp_path, monkeypatch):
        def refuses(_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "scandir", refuses)
        with pytest.raises(DataError, match=r"cannot be listed \(Permission denied\)"):
            list_folder(tmp_path, SOURCE)


class TestFolders:
    def test_folders_inside_are_looked_into_where_they_exist(self, tmp_path):
        assert SOURCE.roots(tmp_path) == [tmp_path]
        (tmp_path / "in/side").mkdir(parents=True)
        assert SOURCE.roots(tmp_path) == [tmp_path, tmp_path / "in/side"]

    def test_a_listing_is_sorted_and_without_hidden_files(self, tmp_path):
        for name in ("b", "a", ".hidden", "B", "10", "9"):
            (tmp_path / name).touch()
        assert [p.name for p in list_folder(tmp_path, SOURCE)] == ["10", "9", "B", "a", "b"]

    def test_the_first_that_exists(self, tmp_path):
        names = [tmp_path / name for name in "abc"]
        assert first_that_exists(names) is None
        names[1].touch()
        names[2].touch()
        names[0].mkdir()
        assert first_that_exists(names) == names[1]


class TestFiles:
    def test_what_was_written_is_what_is_read(self, tmp_path):
        (tmp_path / "a").write_bytes(b"\0some\n")
        assert read_file(tmp_path / "a", 6) == b"\0some\n"

    def test_a_file_that_is_too_large(self, tmp_path):
        (tmp_path / "a").write_bytes(b"123456")
        with pytest.raises(DataError, match="too large: expected at most 5 bytes, got 6 bytes"):
            read_file(tmp_path / "a", 5)

    def test_a_file_that_is_missing(self, tmp_path):
        with pytest.raises(DataError, match="/a: no such file"):
            read_file(tmp_path / "a", 5)
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(DataError, match="/b: no such file"):
            read_file(tmp_path / "b", 5)

    def test_a_pipe_is_refused_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "a")
        with pytest.raises(DataError, match="/a: not an ordinary file"):
            read_file(tmp_path / "a", 5)

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
            read_file(tmp_path, 5)


def test_there_are_two_parts():
    check_part("train")
    check_part("test")
    with pytest.raises(
        ParameterError, match="part: no such part of a data set: expected train or"
    ):
        check_part("val")
