"""Range checks of this room's parameters.

Owns the one sentence a bad number gets. Knows no geometry; every module here imports it.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

from streaming_net_ros.errors import ParameterError


def check_between(where: str, name: str, value: float, low: float, high: float) -> None:
    """A finite number in ``[low, high]``.

    Raises:
        ParameterError: not a number, not finite, or outside the range.
    """
    if not _is_number(value) or not low <= value <= high:
        raise ParameterError(
            f"{name} is out of its range",
            where=where,
            expected=f"a number from {low:g} to {high:g}",
            got=value,
        )


def check_above(where: str, name: str, value: float, low: float = 0.0) -> None:
    """A finite number greater than ``low``.

    Raises:
        ParameterError: not a number, not finite, or not greater than ``low``.
    """
    if not _is_number(value) or value <= low:
        raise ParameterError(
            f"{name} is out of its range",
            where=where,
            expected=f"a number greater than {low:g}",
            got=value,
        )


def check_count(where: str, name: str, value: int, low: int) -> None:
    """A whole number of at least ``low``.

    Raises:
        ParameterError: not an integer, or smaller than ``low``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise ParameterError(
            f"{name} is out of its range",
            where=where,
            expected=f"a whole number of at least {low}",
            got=value,
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)
