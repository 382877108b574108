"""Numbers in and out of messages by dotted field names: ``twist.linear.x``, ``position[0]``.

Plain attribute access along the message's own fields; nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streaming_net_ros.errors import StateError

_STEP = re.compile(r"^([a-z][a-z0-9_]*)(?:\[(\d{1,6})\])?$")


def read_fields(message: Any, fields: Sequence[str], where: str) -> list[float]:
    """The numbers under some fields of a message.

    Args:
        message: any ROS message, from rclpy or rosbags.
        fields: dotted names, each of one number.
        where: the topic, for errors.

    Raises:
        StateError: the message has no such field, or it is not a number.
    """
    return [_read(message, field, where) for field in fields]


def write_field(message: Any, field: str, value: float) -> None:
    """Put a number under a dotted field of a message."""
    *path, last = field.split(".")
    for step in path:
        message = getattr(message, step)
    setattr(message, last, value)


def _read(message: Any, field: str, where: str) -> float:
    value = message
    for step in field.split("."):
        match = _STEP.match(step)
        names = getattr(value, "get_fields_and_field_types", None)
        known = list(names()) if names else list(getattr(value, "__dataclass_fields__", ()))
        known = [name for name in known if not name.startswith("_")]
        if match is None or match.group(1) not in known:
            raise StateError(
                f"no field '{step}' in the message",
                where=f"{where}: {field}",
                expected=f"one of {', '.join(known)}" if known else "a message",
            )
        value = getattr(value, match.group(1))
        if match.group(2) is not None:
            if not hasattr(value, "__len__") or int(match.group(2)) >= len(value):
                raise StateError("no such element", where=f"{where}: {field}", got=step)
            value = value[int(match.group(2))]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise StateError(
            "field is not a number", where=f"{where}: {field}", got=type(value).__name__
        ) from None
