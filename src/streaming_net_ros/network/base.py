"""Network files built on one another: ``base`` names a file whose keys this one replaces.

Owns the chain of bases, what is inherited, and who wrote what. Constants are merged name by name,
so that a file of three lines makes a larger network of its base. Knows YAML, not networks.
Imported by ``file``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streaming_net_ros.errors import NetworkFileError
from streaming_net_ros.network.expand import CONSTANT, Places, read_yaml

MAX_BASES = 8
# Weights fit one network only, and a description tells of one: neither is a base's to hand on.
NOT_INHERITED = ("weights", "description")


def on_base(
    content: Mapping[str, Any],
    path: Path,
    constants: Mapping[str, Any] | None = None,
    below: Path | None = None,
) -> tuple[dict[str, Any], Places]:
    """A file's content on top of its base's, that on top of its own base's, and so on.

    Args:
        content: what the file says; constants and repetitions still as they are written.
        path: the file; bases are relative to the file that names them.
        constants: win over those of the file.
        below: a folder that all bases must lie in, links followed; None: anywhere.

    Returns:
        the whole, without ``base`` and with all ``constants``; and which file wrote what.

    Raises:
        NetworkFileError: a base that cannot be read or lies elsewhere, a circle or too many of
            them, or a constant that the file below does not know.
    """
    whole: dict[str, Any] = {}
    known: dict[str, Any] = {}
    writers: dict[str, Path] = {}
    for file, own in reversed(_chain(content, path, below)):
        given = own.get("constants", {})
        if not (isinstance(given, dict) and all(isinstance(name, str) for name in given)):
            raise NetworkFileError(
                "constants must be a mapping of names to values",
                where=f"{file}: constants",
                got=given,
            )
        written = {key: own[key] for key in own if key not in ("base", "constants")}
        whole = {key: whole[key] for key in whole if key not in NOT_INHERITED} | written
        writers |= dict.fromkeys(written, file)
        if "base" in own:
            _check_known(given, known, whole, f"{file}: constants", "the base's")
        known |= given
    if constants:
        _check_known(constants, known, whole, str(path), "the file's")
        known |= constants
    places = Places(path, {key: file for key, file in writers.items() if file != path})
    return {**whole, "constants": known}, places


def _chain(
    content: Mapping[str, Any], path: Path, below: Path | None
) -> list[tuple[Path, Mapping[str, Any]]]:
    """The file, its base, the base's base and so on, each with what it says."""
    chain = [(path, content)]
    names = [path.name]
    seen = {path.resolve()}
    while "base" in content:
        where = f"{path}: base"
        path = _base_file(content["base"], path, below)
        names.append(content["base"])
        if path.resolve() in seen:
            raise NetworkFileError(
                f"the bases go in a circle: {' -> '.join(names)}",
                where=where,
                remedy="remove one of them",
            )
        if len(chain) > MAX_BASES:
            raise NetworkFileError(
                f"more than {MAX_BASES} bases, one below the other",
                where=where,
                remedy="build the file on one of the lower ones",
            )
        seen.add(path.resolve())
        content = read_yaml(path)
        chain.append((path, content))
    return chain


def _base_file(base: Any, path: Path, below: Path | None) -> Path:
    """The file that ``base`` names in the file at ``path``; nothing is looked at elsewhere."""
    if not isinstance(base, str):
        raise NetworkFileError(
            "a base is named by its path",
            where=f"{path}: base",
            expected="text",
            got=type(base).__name__,
        )
    file = path.parent / base
    try:
        is_there = below is None or file.resolve().is_relative_to(below.resolve())
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        raise NetworkFileError(
            "a base must lie below the folder that was given",
            where=f"{path}: base",
            expected="a file below it, links followed",
            got=base,
            remedy="copy it there first",
        )
    try:
        is_file = file.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise NetworkFileError(
            "there is no such base",
            where=f"{path}: base",
            expected="the path of a network file, relative to this one",
            got=base,
        )
    return file


def _check_known(
    given: Mapping[str, Any], known: Mapping[str, Any], whole: Any, where: str, whose: str
) -> None:
    """Refuse a constant that has no value to replace and no place to go: a slip of the pen."""
    used = _used_constants(whole)
    unknown = [name for name in given if name not in known and name not in used]
    if not unknown:
        return
    names = [*known, *sorted(used - set(known) - set(given))]
    close = difflib.get_close_matches(unknown[0], names, 1)
    raise NetworkFileError(
        f"constant '{unknown[0]}' is not one of {whose}",
        where=where,
        expected=f"one of {', '.join(names[:24])}" if names else "no constant",
        remedy=f"did you mean '{close[0]}'?" if close else "",
    )


def _used_constants(content: Any) -> set[str]:
    """The names that ``$name`` calls for anywhere, each alias looked at once."""
    used: set[str] = set()
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            used.update(CONSTANT.findall(value))
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value)
            if isinstance(value, dict):
                waiting.extend(value.values())
    return used
