"""``/diagnostics``: the health of a container's members as standard messages.

Nothing that goes wrong is silent: a held input, a skipped frame, a refused message or a missing
peer is a value here, and sets the level.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from streaming_net_ros.frames import Arrival, EdgeTally, FrameTally, Mailbox, Spread

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


def tell_tally(health: Health, tally: FrameTally) -> None:
    """Adds what happened to a group's frames."""
    cadence = tally.cadence()
    health.values |= {
        "frames": str(cadence.frames),
        "rate_hz": f"{cadence.rate_hz:.2f}",
        **told_spread("work", tally.work),
        "over_budget": str(cadence.over_budget),
        "skipped": str(cadence.skipped),
        "late": str(cadence.late),
        "duplicates": str(cadence.duplicates),
        "silent": str(tally.silent),
    }
    for count, what in (
        (cadence.held, "inputs held"),
        (cadence.absent, "inputs absent beyond the hold limit"),
        (cadence.skipped, "frames skipped"),
    ):
        if count:
            health.warnings.append(f"{count} {what}")
    if tally.not_finite:
        health.errors.append(f"{tally.not_finite} states NaN or infinite, stopped here")


def tell_mailbox(health: Health, mailbox: Mailbox[Any]) -> None:
    """Adds whom a group waits for, and what time did to it."""
    health.values |= {
        "silences": str(mailbox.silences),
        "clock_jumps": str(mailbox.jumps),
        "waits_for": ", ".join(mailbox.missing()),
        "behind": ", ".join(mailbox.behind()),
    }
    if mailbox.jumps:
        health.warnings.append(f"the clock has jumped back {mailbox.jumps} times")


def tell_edge(health: Health, source: str, edge: EdgeTally) -> None:
    """Adds what came from a source, and when."""
    late = edge.arrivals[Arrival.LATE]
    for what, count in (("held", edge.held), ("absent", edge.absent), ("late", late)):
        if count:
            health.values[f"{what}/{source}"] = str(count)
    for what, spread in (("hop", edge.hop), ("wait", edge.wait), ("age", edge.age)):
        if spread.count:
            health.values.update(told_spread(what, spread, source))
    if edge.arrivals[Arrival.FUTURE]:
        health.errors.append(
            f"{edge.arrivals[Arrival.FUTURE]} states of '{source}' came from the future: the "
            "hosts' clocks disagree, or time jumped back"
        )


def diagnostic_array(
    members: Iterable[MemberNode], stamp: Any, warnings: Sequence[str] = ()
) -> DiagnosticArray:
    """One status for every active member.

    Args:
        members: of one process.
        stamp: of the array.
        warnings: what is not right with the process as a whole.
    """
    array = DiagnosticArray()
    array.header.stamp = stamp
    array.status = [_status(member, warnings) for member in members if member.is_active]
    return array


def _status(member: MemberNode, warnings: Sequence[str]) -> DiagnosticStatus:
    health = member.health()
    health.warnings += warnings
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
