"""``/diagnostics``: the health of a container's members as standard messages.

Nothing that goes wrong is silent: a held input, a skipped frame, a refused message or a missing
peer is a value here, and sets the level.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from streaming_net_ros.frames import Spread

if TYPE_CHECKING:
    from streaming_net_ros.nodes.member import MemberNode


@dataclass
class Health:
    """What a member says of itself: values, and what is not right."""

    values: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def told_spread(what: str, spread: Spread, of: str = "") -> dict[str, str]:
    """Values of a measured time: ``work_p50_ms``, or ``hop_p50_ms/SOURCE``."""
    behind = f"/{of}" if of else ""
    return {f"{what}_{name}{behind}": f"{value:.3f}" for name, value in spread.told().items()}


def diagnostic_array(members: Iterable[MemberNode], stamp: Any) -> DiagnosticArray:
    """One status for every active member."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    array.status = [_status(member) for member in members if member.is_active]
    return array


def _status(member: MemberNode) -> DiagnosticStatus:
    health = member.health()
    level, text = DiagnosticStatus.OK, "running"
    if health.errors or health.warnings:
        level = DiagnosticStatus.ERROR if health.errors else DiagnosticStatus.WARN
        text = "; ".join(health.errors + health.warnings)
    return DiagnosticStatus(
        level=level,
        name=f"{member.get_fully_qualified_name()[1:]}: streaming",
        message=text,
        hardware_id=socket.gethostname(),
        values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
    )
