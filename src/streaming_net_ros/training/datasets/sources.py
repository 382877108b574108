"""Where data sets lie: what must be there, what to tell who lacks it, and files read in bounds.

Owns the message of missing data and the one way to open a file or list a folder. Knows no format
and no pictures. Every reader of ``datasets`` imports it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from streaming_net_ros.errors import DataError, ParameterError

Part: TypeAlias = Literal["train", "test"]

CLASS_TARGET = "class"  # what a picture's number is called among the targets
_ARCHIVES = (".tar", ".gz", ".xz", ".bz2", ".tgz", ".zip", ".7z")


@dataclass(frozen=True)
class Source:
    """What a data set consists of, and where it is to be had.

    Attributes:
        title: its name for a reader.
        files: the files that are looked for, in every layout that is read.
        remedy: how to get them.
        folders: folders inside the given one in which they may lie as well.
    """

    title: str
    files: str
    remedy: str
    folders: tuple[str, ...] = ()

    def roots(self, path: Path) -> list[Path]:
        """The folders to look in: the given one, then those inside it that exist.

        Raises:
            DataError: there is no such folder, or it may not be read.
        """
        list_folder(path, self)
        return [path, *(path / name for name in self.folders if (path / name).is_dir())]

    def missing(self, what: str, path: Path | None) -> DataError:
        """The error for data that are not there: what, where looked for, and how to get it."""
        if path is not None and path.is_file():
            is_packed = path.suffix.lower() in _ARCHIVES
            what = "an archive, not a folder" if is_packed else "a file, not a folder"
        inside = " or in ".join(f"{name}/" for name in self.folders)
        return DataError(
            what,
            where=self.title if path is None else f"{self.title} in {path.absolute()}",
            expected=self.files + (f", here or in {inside}" if inside else ""),
            remedy=self.remedy,
        )


def check_part(part: str) -> None:
    """Make sure that a part is one of those that data sets have.

    Raises:
        ParameterError: it is not.
    """
    if part not in get_args(Part):
        raise ParameterError(
            "no such part of a data set",
            where="part",
            expected=" or ".join(get_args(Part)),
            got=part,
        )


def list_folder(folder: Path, source: Source) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files.

    Raises:
        DataError: there is no such folder, or it may not be read.
    """
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found)
    except FileNotFoundError:
        raise source.missing("no such folder", folder) from None
    except OSError as error:
        raise source.missing(f"cannot be listed ({error.strerror})", folder) from None
    return [folder / name for name in names if not name.startswith(".")]


def first_that_exists(names: Sequence[Path]) -> Path | None:
    """The first of some paths at which there is a file."""
    return next((path for path in names if path.is_file()), None)


def read_file(path: Path, most_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        DataError: missing, not an ordinary file, larger than ``most_bytes``, or unreadable.
    """
    try:
        # Opening a pipe would wait for whoever fills it, for ever if nobody does.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError("not an ordinary file", where=str(path))
            if status.st_size > most_bytes:
                raise DataError(
                    "the file is too large",
                    where=str(path),
                    expected=f"at most {most_bytes} bytes",
                    got=f"{status.st_size} bytes",
                )
            return file.read(status.st_size)
    except FileNotFoundError:
        raise DataError("no such file", where=str(path)) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None
