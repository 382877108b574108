"""builtin_interfaces/Time <-> integer nanoseconds."""

from __future__ import annotations

from typing import Any

_NS = 1_000_000_000


def read_stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a Time (fields ``sec`` and ``nanosec``)."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def write_stamp_ns(stamp: Any, stamp_ns: int) -> None:
    """Put nanoseconds into a Time."""
    stamp.sec, stamp.nanosec = divmod(stamp_ns, _NS)
