"""What pydantic finds wrong with a file, as one line: the place, what was expected, the remedy.

Knows pydantic's kinds of findings, and walks a model to tell which keys it knows. Imported by
whoever reads a file into frozen models.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from streaming_net_ros.errors import StreamingNetError, shortened

Location = tuple[int | str, ...]
Failure = TypeVar("Failure", bound=StreamingNetError)


def first_finding(
    error: ValidationError,
    at: Callable[[str], str],
    model: type[BaseModel],
    failure: type[Failure],
    *,
    also: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
) -> Failure:
    """The first finding as an error, with a count of the others.

    Args:
        error: pydantic's.
        at: tells where a place such as ``groups[2].edges`` stands: the file, and the place.
        model: what it was to be.
        failure: the class of the error.
        also: keys of the file that the model itself never sees.
        hidden: keys of the model that a file must not have.
    """
    findings = error.errors(include_url=False)
    first = findings[0]
    message = first["msg"].removeprefix("Value error, ")
    remedy = f"and {len(findings) - 1} more; mend this one first" if len(findings) > 1 else ""
    kind = first["type"]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        what, expected = "what kind of input?", "type: image or type: vector"
        got = first["input"].get("type") if isinstance(first["input"], dict) else first["input"]
    elif kind == "missing":
        what, expected, got = "a key is missing", "", None
    elif kind == "extra_forbidden":
        what, expected, got = "unknown key", "", None
        known = _known_keys(first["loc"], model)
        if len(first["loc"]) == 1:
            known = (*(key for key in known if key not in hidden), *also)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        remedy = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
    elif kind == "value_error":
        what, expected = message, ""
        got = first["input"] if isinstance(first["input"], str | int | float) else None
    else:
        what, expected, got = "value not allowed", message, first["input"]
    return failure(
        what,
        where=at(_path(first["loc"]).lstrip(".") or "file"),
        expected=expected,
        got=None if got is None else shortened(got),
        remedy=remedy,
    )


def inside(where: str) -> Callable[[str], str]:
    """Places inside one file."""
    return lambda place: f"{where}: {place}"


def _path(location: Location) -> str:
    """Pydantic's location as a path in the file, without its names for members of unions."""
    path = ""
    for number, part in enumerate(location):
        is_tag = number == 2 and location[0] == "inputs" and part in ("image", "vector")
        is_member = isinstance(part, str) and part.startswith(
            ("RolloutSpec", "tuple[", "float", "literal[", "constrained", "function-")
        )
        if not is_tag and not is_member:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _known_keys(location: Location, model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that may stand where an unknown one was found."""
    models = [model]
    for part in location[:-1]:
        # A list's number, a mapping's key, or a name for a member of a union leads nowhere: the
        # models at hand are those of the key before it.
        inner = [m for one in models if part in one.model_fields for m in _models(one, str(part))]
        models = inner or [m for m in models if m.__name__ == part] or models
    location_tag = str(location[-2]) if len(location) > 1 else ""
    tagged = [m for m in models if location_tag in _literals(m)]
    return tuple(dict.fromkeys(key for m in tagged or models for key in m.model_fields))


def _models(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """Every model somewhere inside the type of a key."""
    return list(_inside(model.model_fields[key].annotation))


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _literals(model: type[BaseModel]) -> tuple[Any, ...]:
    """Values of the key ``type`` by which a model is told from others."""
    field = model.model_fields.get("type")
    return () if field is None else get_args(field.annotation)
