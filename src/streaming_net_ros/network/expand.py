"""Reading YAML safely, and writing a network file short: bases, constants and repetition.

Three mechanisms, all plain substitution, nothing is evaluated:

- ``base: FILE`` builds a file on another one: its keys replace those of the base, except that
  ``constants`` are merged name by name.
- ``constants: {width: 32}`` names a value; the string ``$width`` anywhere below stands for it.
- a list item with ``repeat: {i: [1, 8]}`` becomes eight items; in each, ``{i}``, ``{i+1}`` and
  ``{i-1}`` in keys and strings stand for the number. Bounds may use outer indices, and an empty
  range gives no item, so that "hears all earlier layers of its stage" is one line.

Knows YAML, not networks. Imported by ``file``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from streaming_net_ros.errors import NetworkFileError

MAX_FILE_BYTES = 1 << 20
MAX_ITEMS = 100_000
MAX_DEPTH = 40
_INDEX = re.compile(r"\{([a-z][a-z0-9_]*)(?:([+-])(\d{1,6}))?\}")
CONSTANT = re.compile(r"^\$([A-Za-z_][A-Za-z0-9_]*)$")


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that is written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in written:
            if written.count(key) > 1 and key != "<<":
                line = node.start_mark.line + 1
                raise NetworkFileError(
                    f"key '{key}' is written twice",
                    where=f"{node.start_mark.name}: line {line}",
                    remedy="YAML would silently keep only the last one; remove the other",
                )
        return super().construct_mapping(node, deep)


def read_yaml(
    path: Path,
    kind: str = "network",
    keys: str = "name, rate_hz, inputs, groups, outputs",
    page: str = "docs/network_file.md",
) -> dict[str, Any]:
    """The mapping in a YAML file, read with a safe loader.

    Args:
        path: the file.
        kind: of file that it is to be, for messages.
        keys: that such a file has.
        page: of the docs, where they are told.

    Raises:
        NetworkFileError: missing, too large, not UTF-8, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NetworkFileError(
                f"file is too large for a {kind} file",
                where=str(path),
                expected=f"at most {MAX_FILE_BYTES} bytes",
                got=path.stat().st_size,
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NetworkFileError(
            f"cannot read the {kind} file ({error.strerror})",
            where=str(path),
            remedy=f"give the path of a YAML file or the name of a shipped {kind}",
        ) from None
    except UnicodeDecodeError:
        raise NetworkFileError(
            "not a text file", where=str(path), expected="YAML in UTF-8", remedy=f"see {page}"
        ) from None
    try:
        loader = _Loader(text)
        loader.name = str(path)
        content = loader.get_single_data()
    except NetworkFileError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f": line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or type(error).__name__
        raise NetworkFileError(
            f"not valid YAML ({reason})", where=f"{path}{line}", remedy=f"see {page}"
        ) from None
    if not isinstance(content, dict):
        raise NetworkFileError(
            f"not a {kind} file",
            where=str(path),
            expected=f"a mapping with the keys {keys}",
            got=type(content).__name__,
            remedy=f"see {page}",
        )
    return content


@dataclass(frozen=True)
class Places:
    """Where things stand, as errors tell it: the file that was asked for, and which base it is.

    Args:
        path: the file that was asked for.
        bases: for each key of the whole that a base has written, that base.
    """

    path: Path
    bases: Mapping[str, Path] = field(default_factory=dict)

    def at(self, place: str) -> str:
        """The file and a place inside it, such as ``groups[2].edges``."""
        base = self.bases.get(re.split(r"[.\[]", place, maxsplit=1)[0])
        return f"{self.path} (base {base}): {place}" if base else f"{self.path}: {place}"


def expand(content: dict[str, Any], places: Places) -> dict[str, Any]:
    """The same content with constants put in and repetitions written out.

    Raises:
        NetworkFileError: an unknown constant or index, a bad range, or a result that is too large.
    """
    content = dict(content)
    constants = content.pop("constants", {})
    expanded = _Expansion(constants, places).value(content, {}, "")
    assert isinstance(expanded, dict)
    return expanded


class _Expansion:
    """One walk over a file's content; counts items, so that a small file cannot grow huge."""

    def __init__(self, constants: dict[str, Any], places: Places) -> None:
        self._constants = constants
        self._places = places
        self._items = 0

    def value(self, value: Any, indices: dict[str, int], path: str) -> Any:
        self._count(path, path.count(".") + path.count("["))
        if isinstance(value, dict):
            return {
                self._key(key, indices, path): self.value(
                    item, indices, f"{path}.{key}".lstrip(".")
                )
                for key, item in value.items()
            }
        if isinstance(value, list):
            items: list[Any] = []
            for number, item in enumerate(value):
                items.extend(self._item(item, indices, f"{path}[{number}]"))
            return items
        if isinstance(value, str):
            return self._string(value, indices, path)
        return value

    def _count(self, path: str, depth: int) -> None:
        self._items += 1
        if self._items > MAX_ITEMS or depth > MAX_DEPTH:
            raise self._error(
                "the file grows too large when aliases and repetitions are written out",
                path,
                expected=f"at most {MAX_ITEMS} values, nested at most {MAX_DEPTH} deep",
            )

    def _count_constant(self, value: Any, path: str, depth: int) -> None:
        """A constant is put in as it is, but what is inside counts like everything else."""
        self._count(path, depth)
        inside = value.values() if isinstance(value, dict) else value
        for item in inside if isinstance(value, dict | list) else ():
            self._count_constant(item, path, depth + 1)

    def _key(self, key: Any, indices: dict[str, int], path: str) -> Any:
        written = self._string(key, indices, path) if isinstance(key, str) else key
        if isinstance(written, dict | list):
            raise self._error("a key must be one value", f"{path}.{key}".lstrip("."), got=written)
        return written

    def _item(self, item: Any, indices: dict[str, int], path: str) -> list[Any]:
        """One list item, written out as often as its ``repeat`` says."""
        if not (isinstance(item, dict) and "repeat" in item):
            return [self.value(item, indices, path)]
        body = {key: value for key, value in item.items() if key != "repeat"}
        repeat = self.value(item["repeat"], indices, f"{path}.repeat")
        if not (isinstance(repeat, dict) and len(repeat) == 1):
            raise self._error(
                "a repetition names one index",
                f"{path}.repeat",
                expected="{index: [first, last]}",
                got=repeat,
            )
        ((index, bounds),) = repeat.items()
        if not (
            isinstance(bounds, list)
            and len(bounds) == 2
            and all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
        ):
            raise self._error(
                "not a range",
                f"{path}.repeat.{index}",
                expected="[first, last], integers",
                got=bounds,
            )
        if bounds[1] - bounds[0] > MAX_ITEMS:
            raise self._error("the range is too long", f"{path}.repeat.{index}", got=bounds)
        written: list[Any] = []
        for number in range(bounds[0], bounds[1] + 1):
            written.append(self.value(body, {**indices, index: number}, path))
        # A body that is only a list of items under "items" stands for those items themselves.
        if set(body) == {"items"}:
            return [item for copy in written for item in copy["items"]]
        return written

    def _string(self, text: str, indices: dict[str, int], path: str) -> Any:
        constant = CONSTANT.match(text)
        if constant:
            name = constant.group(1)
            if name not in self._constants:
                raise self._error(
                    f"unknown constant '${name}'",
                    path,
                    expected=f"one of {sorted(self._constants)}" if self._constants else "",
                    remedy="name it under 'constants'",
                )
            self._count_constant(self._constants[name], path, 0)
            return self._constants[name]

        def number(match: re.Match[str]) -> str:
            name, sign, offset = match.groups()
            if name not in indices:
                raise self._error(
                    f"unknown index '{{{name}}}'",
                    path,
                    expected=f"one of {sorted(indices)}" if indices else "a 'repeat' around it",
                )
            return str(indices[name] + int(f"{sign}{offset}" if sign else 0))

        replaced = _INDEX.sub(number, text)
        # "{i-1}" alone is a number, wherever a number may stand.
        return int(replaced) if _INDEX.fullmatch(text) else replaced

    def _error(self, what: str, path: str, **facts: Any) -> NetworkFileError:
        return NetworkFileError(what, where=self._places.at(path), **facts)
