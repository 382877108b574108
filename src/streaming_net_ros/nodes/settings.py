"""The parameters of a container: one table, with type, range, unit and description of each.

All nodes of a process share one frozen `Settings`, read once from the container's parameters.
They are read-only: a network's rate, rollout and mode do not change while it is active.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import Mode
from streaming_net_ros.launching import FRAME_SOURCE


@dataclass(frozen=True)
class Row:
    """One parameter: its default (which fixes the type), unit and meaning, range or choices."""

    default: Any
    text: str
    least: float = -math.inf
    greatest: float = math.inf
    choices: tuple[str, ...] = ()


_TABLE: dict[str, Row] = {
    "network": Row("", "network file (path of a YAML file)"),
    "weights": Row("", "weights file (safetensors); empty: the one that the network file names"),
    "tuning": Row("", "tuning file of streaming-net tune: backend, threads and cores of each "
                  "group; empty: none"),
    "restore": Row("", "folder of a snapshot to go on from (lockstep: bit for bit; realtime: its "
                   "weights); empty: none"),
    "members": Row([""], f"nodes of this process: group names and {FRAME_SOURCE}; empty: all"),
    "rollout": Row("", "streaming, sequential, or a rollout table's path; empty: the file's"),
    "mode": Row("lockstep", "lockstep: no frame is lost, the source waits; realtime: the frame "
                 "grid never waits", choices=("lockstep", "realtime")),
    "rate_hz": Row(0.0, "frames per second (Hz); 0: the network file's", 0, 1e5),
    "transport": Row("auto", "states between processes: auto: in shared memory where both are on "
                     "one host; message: always as messages", choices=("auto", "message")),
    "device": Row("cpu", "torch device of the layers: cpu, cuda, cuda:0"),
    "threads": Row(0, "worker threads; 0: as many as cores, at most one per member", 0, 1024),
    "torch_threads": Row(1, "threads of one torch operation", 1, 1024),
    "window_frames": Row(0, "lockstep: images under way at most (frames); 0: groups + 1", 0, 1e4),
    "queue_frames": Row(1000, "lockstep: images that may wait at the source (frames)", 1, 1e6),
    "deadline_periods": Row(1.0, "realtime: how long after its tick a frame waits for inputs "
                             "(frame periods)", 0, 100),
    "hold_limit_frames": Row(10, "realtime: how long a missing input is held (frames)", 0, 1e6),
    "watchdog_periods": Row(10.0, "realtime: a camera or group that is silent for longer is "
                             "reported (frame periods)", 1, 1e6),
    "max_age_ms": Row(0.0, "realtime: an older control output stops (ms); 0: the network file's "
                       "limits", 0, 1e6),
    "realtime_priority": Row(0, "realtime: priority of the process's threads before all usual "
                              "ones (SCHED_RR); needs rtprio or CAP_SYS_NICE; 0: as the system "
                              "shares cores", 0, 98),
    "debug_topics": Row(True, "offer measured times as topics under debug/"),
    "ledger": Row("", "file to which what was computed from what is appended; empty: none"),
    "seed": Row(0, "draws the weights where there is no weights file", 0, 2**31),
    "autostart": Row(True, "configure and activate without being told to"),
    "follow_pid": Row(0, "end when the process of this id has ended; 0: none", 0, 2**31),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the parameters say, checked. Names, units and meanings as in the table."""

    network: Path
    weights: Path | None = None
    tuning: Path | None = None
    restore: Path | None = None
    members: tuple[str, ...] = ()
    rollout: str | None = None
    mode: Mode = "lockstep"
    rate_hz: float | None = None
    transport: str = "auto"
    device: str = "cpu"
    threads: int = 0
    torch_threads: int = 1
    window_frames: int = 0
    queue_frames: int = 1000
    deadline_periods: float = 1.0
    hold_limit_frames: int = 10
    watchdog_periods: float = 10.0
    max_age_ms: float = 0.0
    realtime_priority: int = 0
    debug_topics: bool = True
    ledger: Path | None = None
    seed: int = 0
    autostart: bool = True
    follow_pid: int = 0

    def worker_count(self, members: int) -> int:
        """Worker threads for so many members: about as many as there are cores."""
        return self.threads or max(1, min(members, len(os.sched_getaffinity(0))))

    def parameters(self) -> dict[str, Any]:
        """The parameters that say the same, as plain values (members are each process's own)."""
        plain: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value != entry.default and entry.name != "members":
                plain[entry.name] = str(value) if isinstance(value, Path) else value
        return plain


def declare_settings(node: Node) -> Settings:
    """Declare every parameter on a node and read what was given.

    Raises:
        ParameterError: a value of the wrong type or out of its range.
    """
    given: dict[str, Any] = {name: declared(node, name, row) for name, row in _TABLE.items()}
    if not given["network"]:
        raise ParameterError(
            "no network file",
            where="parameter network",
            remedy="-p network:=/path/to/network.yaml",
        )
    for name in ("weights", "rollout"):
        given[name] = given[name] or None
    given["network"] = Path(given["network"])
    for name in ("weights", "tuning", "restore", "ledger"):
        given[name] = Path(given[name]) if given[name] else None
    given["members"] = tuple(member for member in given["members"] if member)
    given["rate_hz"] = given["rate_hz"] or None
    return Settings(**given)


def declared(node: Node, name: str, row: Row, *, read_only: bool = True) -> Any:
    """Declare one parameter on a node and read what was given.

    Args:
        node: whose.
        name: of the parameter.
        row: its default, meaning and range.
        read_only: may it be set at the start alone? Otherwise see ``live``.

    Raises:
        ParameterError: a value of the wrong type or out of its range.
    """
    descriptor = ParameterDescriptor(
        name=name, description=row.text, read_only=read_only, dynamic_typing=True
    )
    if row.choices:
        descriptor.additional_constraints = "one of " + ", ".join(row.choices)
    bounded = math.isfinite(row.least)
    if bounded and isinstance(row.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(row.least), to_value=float(row.greatest))
        ]
    elif bounded:
        descriptor.integer_range = [
            IntegerRange(from_value=int(row.least), to_value=int(row.greatest))
        ]
    try:
        value = node.declare_parameter(name, row.default, descriptor).value
    except ParameterException as error:
        overrides = node._parameter_overrides
        value = overrides[name].value if name in overrides else None
        raise ParameterError(
            "value not allowed", where=f"parameter {name}", expected=_expected(row), got=value,
            remedy=row.text,
        ) from error  # fmt: skip
    return checked_value(name, row, value)


def checked_value(name: str, row: Row, value: Any) -> Any:
    """A value that a parameter may take; a whole number will do for a float.

    Raises:
        ParameterError: a value of the wrong type or out of its range.
    """
    if isinstance(row.default, float) and type(value) is int:
        value = float(value)
    fits = type(value) is type(row.default) or (isinstance(row.default, list) and _words(value))
    if fits and isinstance(value, int | float):
        fits = math.isfinite(value) and row.least <= value <= row.greatest
    if fits and row.choices:
        fits = value in row.choices
    if not fits:
        raise ParameterError(
            "value not allowed", where=f"parameter {name}", expected=_expected(row), got=value,
            remedy=row.text,
        )  # fmt: skip
    return value


def _words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _expected(row: Row) -> str:
    if row.choices:
        return "one of " + ", ".join(row.choices)
    kind = "a list of names" if isinstance(row.default, list) else type(row.default).__name__
    if math.isfinite(row.least):
        kind += f" from {row.least:g} to {row.greatest:g}"
    return kind
