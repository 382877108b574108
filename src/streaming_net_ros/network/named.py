"""Things of a library by their names, with checked arguments: ``ReLU``, ``{Adam: {lr: 0.001}}``.

The one way in which a file may name what torch brings: layers here, losses, optimisers and
schedulers in ``training``. Names are looked up in a table, arguments compared with the signature;
nothing is evaluated. Knows no torch.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from streaming_net_ros.errors import NetworkFileError, StreamingNetError

_LIKE_A_NUMBER = re.compile(r"[+-]?\d+e[+-]?\d+")  # YAML 1.1 wants a point: 1.0e-4
_NOT_FOR_FILES = {"device", "dtype", "self"}
Thing = TypeVar("Thing")


def find_named(
    name: str,
    table: Mapping[str, Thing],
    where: str,
    *,
    kind: str,
    expected: str,
    error: type[StreamingNetError] = NetworkFileError,
) -> Thing:
    """What a name stands for.

    Raises:
        NetworkFileError: (or ``error``) nothing of that name; close ones are told.
    """
    if name not in table:
        close = difflib.get_close_matches(name, list(table), 3)
        raise error(
            f"unknown {kind} '{name}'",
            where=where,
            expected=expected,
            remedy=f"did you mean {' or '.join(close)}?" if close else "",
        )
    return table[name]


def checked_arguments(
    factory: Callable[..., Any],
    arguments: Mapping[str, Any],
    where: str,
    *,
    filled: Mapping[str, Any],
    given: Collection[str] = (),
    longest: int = 8,
    error: type[StreamingNetError] = NetworkFileError,
) -> dict[str, Any]:
    """The arguments as the factory takes them: names checked, lists made tuples, some filled in.

    Args:
        factory: a class or function.
        arguments: as the file has them.
        where: the place in the file, for errors.
        filled: values of arguments that the file may leave out though they are required.
        given: arguments that whoever calls the factory gives himself.
        longest: the longest list that is taken.
        error: what is raised.

    Raises:
        NetworkFileError: (or ``error``) an argument that does not exist, is missing, or is not
            plain.
    """
    parameters = _parameters(factory, given)
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    for name, value in arguments.items():
        if name not in parameters:
            close = difflib.get_close_matches(name, list(parameters), 1)
            raise error(
                f"unknown argument '{name}'",
                where=where,
                expected=f"one of {', '.join(parameters)}" if parameters else "no argument",
                got=value,
                remedy=f"did you mean '{close[0]}'?" if close else "",
            )
        _check_plain(value, f"{where}.{name}", longest, error)
    taken = {n: tuple(v) if isinstance(v, list) else v for n, v in arguments.items()}
    for name, parameter in parameters.items():
        if name in taken or takes_any or parameter.default is not parameter.empty:
            continue
        if name not in filled:
            raise error(f"argument '{name}' is missing", where=where)
        taken[name] = filled[name]
    return taken


def _parameters(
    factory: Callable[..., Any], given: Collection[str]
) -> dict[str, inspect.Parameter]:
    """The parameters of a factory that a file may name."""
    made_by = factory.__init__ if inspect.isclass(factory) else factory
    return {
        name: parameter
        for name, parameter in inspect.signature(made_by).parameters.items()
        if name not in _NOT_FOR_FILES and name not in given
    }


def _check_plain(value: Any, where: str, longest: int, error: type[StreamingNetError]) -> None:
    """Raise unless a value is one that a file may hold, and means what it looks like."""
    if not _is_plain(value, longest):
        raise error(
            "not an argument",
            where=where,
            expected=f"a number, a word, true, false, or a list of at most {longest} numbers",
            got=value,
        )
    if isinstance(value, str) and _LIKE_A_NUMBER.fullmatch(value):
        raise error(
            "this is text to YAML, not a number",
            where=where,
            got=value,
            remedy=f"write {value.replace('e', '.0e')}",
        )


def first_line(error: BaseException) -> str:
    """What another library says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _is_plain(value: Any, longest: int) -> bool:
    if isinstance(value, list):
        return len(value) <= longest and all(isinstance(item, int | float) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
