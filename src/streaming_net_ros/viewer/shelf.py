"""Network files that a page may open and write: below the viewer's folder; shipped ones to read.

Names come from pages, so each is checked whenever it is used. Knows nothing of what is in a file.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import share_directory
from streaming_net_ros.viewer.draft import MAX_TEXT
from streaming_net_ros.viewer.files import NETWORKS, Listing, below

SHIPPED = "shipped: "
_NAME = re.compile(r"(?:[A-Za-z0-9_-][\w.-]*/)*[A-Za-z0-9_-][\w.-]*\.ya?ml", re.ASCII)


def network_files(listing: Listing) -> list[str]:
    """What may be opened: files below the folder, then the shipped ones. May take long."""
    own = [name for name in listing.names(*NETWORKS) if _NAME.fullmatch(name)]
    return [*own, *(f"{SHIPPED}{path.stem}" for path in sorted(_shipped().glob("*.yaml")))]


def read_text(root: Path, name: str) -> str:
    """The text of one of them.

    Raises:
        ParameterError: no such file, too long for a page, or not a text.
    """
    if name.startswith(SHIPPED):
        names = {path.stem: path for path in _shipped().glob("*.yaml")}
        path = names.get(name.removeprefix(SHIPPED))
    else:
        path = checked_path(root, name)
    if path is None or not path.is_file():
        raise ParameterError("no such network file", where="open", got=name)
    with path.open("rb") as file:  # a file may grow while it is read
        data = file.read(4 * MAX_TEXT + 1)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ParameterError("not a text file", where=name, expected="YAML in UTF-8") from None
    if len(text) > MAX_TEXT:
        raise ParameterError(
            "too long for this page", where=name, expected=f"at most {MAX_TEXT} characters",
            remedy="edit it elsewhere",
        )  # fmt: skip
    return text


def save_text(root: Path, name: str, text: str, *, overwrite: bool) -> Path:
    """Write a file below the folder, whole or not at all.

    Raises:
        ParameterError: a name that is not one, a file that is there and not to be replaced, or
            one that cannot be written.
    """
    path = checked_path(root, name)
    if path.exists() and not overwrite:
        raise ParameterError(
            "will not write over what exists", where=name,
            remedy="choose another name, or allow it",
        )  # fmt: skip
    if len(text) > MAX_TEXT:
        raise ParameterError("too long for this page", where=name, got=len(text))
    half_written = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written.write_text(text, encoding="utf-8")
        half_written.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        half_written.unlink(missing_ok=True)
        raise ParameterError(
            "cannot be written", where=name, got=getattr(error, "strerror", None) or str(error)
        ) from None
    return path


def checked_path(root: Path, name: str) -> Path:
    """Where a network file of that name lies.

    Raises:
        ParameterError: not the name of a network file below the folder.
    """
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise ParameterError(
            "not the name of a network file", where="file",
            expected="letters, digits, '_', '-', '.' and '/', ending in .yaml", got=name,
        )  # fmt: skip
    return below(root, name)


def copy_shipped_weights(root: Path, name: str, weights: str) -> bool:
    """Put the shipped weights that a file names beside it, where none are yet.

    Args:
        root: the folder.
        name: of the network file.
        weights: as the file names them.

    Returns:
        whether they are there now; False if none of that name are shipped.

    Raises:
        ParameterError: a name that is not one, or they cannot be written.
    """
    source = _shipped() / Path(weights).name
    target = below(root, str(Path(name).parent / weights))
    if source.suffix != ".safetensors" or target.suffix != source.suffix or not source.is_file():
        return False
    half_written = target.with_name(target.name + ".part")
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, half_written)
            half_written.replace(target)
    except OSError as error:
        half_written.unlink(missing_ok=True)
        raise ParameterError("cannot be written", where=weights, got=error.strerror) from None
    return True


def _shipped() -> Path:
    return share_directory() / "config" / "networks"
