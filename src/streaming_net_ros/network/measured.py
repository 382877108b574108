"""What is measured of a network while it runs in realtime, by name.

The one place for these names: the nodes offer a topic ``debug/NAME`` for each, and layouts plot
them. Pure; knows nothing of ROS, nor of how a number is measured (``frames.tally``,
``frames.latency``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streaming_net_ros.network.schema import NetworkSpec

OfGroup = Literal["work_ms", "skipped_frames"]
OfEdge = Literal["hop_ms", "wait_ms", "age_ms", "held_frames", "late_states"]
OfResponse = Literal["early_ms", "full_ms", "held"]
OF_GROUP: tuple[OfGroup, ...] = ("work_ms", "skipped_frames")
OF_EDGE: tuple[OfEdge, ...] = ("hop_ms", "wait_ms", "age_ms", "held_frames", "late_states")
OF_RESPONSE: tuple[OfResponse, ...] = ("early_ms", "full_ms", "held")


@dataclass(frozen=True)
class Measured:
    """One number that is measured again and again.

    Attributes:
        what: one of ``OF_GROUP``, ``OF_EDGE`` or ``OF_RESPONSE``.
        of: whose it is, in words: a group, an edge, an output.
        group: the group that measures it.
    """

    what: str
    of: str
    group: str


def group_name(group: str, what: OfGroup) -> str:
    """Of a group: time in its layers (ms), frames given up so far."""
    return f"group/{group}/{what}"


def edge_name(source: str, group: str, what: OfEdge) -> str:
    """Of the states that a group hears from a source: times (ms), or counts so far."""
    return f"edge/{source}/{group}/{what}"


def response_name(output: str, what: OfResponse) -> str:
    """Of the responses of an output: latencies (ms), or the share of held paths (0 to 1)."""
    return f"response/{output}/{what}"


def measured_names(spec: NetworkSpec, group: str | None = None) -> dict[str, Measured]:
    """Everything that is measured: what it is, by name. A group's own memory is no edge here.

    Args:
        spec: the network.
        group: only what this one measures; None: all.
    """
    found: dict[str, Measured] = {}
    for one in spec.groups:
        if group not in (None, one.name):
            continue
        for which in OF_GROUP:
            found[group_name(one.name, which)] = Measured(which, one.name, one.name)
        teacher = spec.teachers.get(one.name)
        for source in (*(edge.source for edge in one.edges), *filter(None, [teacher])):
            if source != one.name:
                for what in OF_EDGE:
                    told = Measured(what, f"{source} -> {one.name}", one.name)
                    found[edge_name(source, one.name, what)] = told
        for output, given in spec.outputs.items():
            if given.group == one.name:
                for kind in OF_RESPONSE:
                    found[response_name(output, kind)] = Measured(kind, output, one.name)
    return found
