"""What colours the graph: work time, rate, holds or age, out of the diagnostics of the members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.theory import EdgeKey
from streaming_net_ros.viewer.graph_picture import Look, Tint
from streaming_net_ros.viewer.watch import Watch

MODES = {"work": "work time", "rate": "rate", "holds": "holds", "age": "age"}
_RECENT = 10  # seconds of holds, at one diagnostics a second
_ERROR = 2


def look_of(watch: Watch, mode: str, looked_at: list[str]) -> Look:
    """How the graph looks in a mode.

    Args:
        watch: whose diagnostics.
        mode: one of `MODES`.
        looked_at: nodes whose states are on the page.
    """
    groups = [group.name for group in watch.spec.groups]
    nodes: dict[str, Tint] = {}
    edges: dict[EdgeKey, Tint] = {}
    if watch.is_present:
        nodes = {g: _lesioned(watch, g, g, _NODE[mode](watch, g)) for g in groups}
        for edge in watch.spec.graph.edges:
            tint = _edge(watch, mode, edge.source, edge.target)
            edges[edge.key] = _lesioned(watch, edge.target, f"edge {edge}", tint)
    statuses = {name: watch.status(name) for name in [FRAME_SOURCE, *groups]}
    troubled = [name for name, told in statuses.items() if told and told.level >= _ERROR]
    return Look(nodes, edges, looked_at, troubled)


def recent(watch: Watch, member: str, key: str) -> float:
    """By how much a count has grown in the last seconds."""
    line = watch.history(member, key)[-_RECENT:]
    return line[-1][1] - line[0][1] if line else 0.0


def _lesioned(watch: Watch, group: str, place: str, tint: Tint) -> Tint:
    """The tint of a place that its group says is held or silenced."""
    told = watch.status(group)
    said = set() if told is None else set(told.text.split("; "))
    for word in ("held", "silenced"):
        if f"{place} is {word}" in said:
            return replace(tint, is_lesioned=True, text=word)
    return tint


def _work(watch: Watch, group: str) -> Tint:
    told = watch.status(group)
    work_ms = None if told is None else told.number("work_p50_ms")
    if work_ms is None:
        return Tint()
    statuses = [watch.status(other.name) for other in watch.spec.groups]
    slowest_ms = max(one.number("work_p50_ms") or 0.0 for one in statuses if one is not None)
    return Tint(work_ms / max(slowest_ms, 1e-9), f"{work_ms:.2f} ms")


def _rate(watch: Watch, group: str) -> Tint:
    told = watch.status(group)
    line = watch.history(group, "frames")[-4:]
    if told is None or len(line) < 2 or line[-1][0] <= line[0][0]:
        return Tint()
    rate_hz = (line[-1][1] - line[0][1]) / (line[-1][0] - line[0][0])
    target_hz = told.number("target_hz") or watch.grid.rate_hz
    return Tint(rate_hz / target_hz, f"{max(0.0, rate_hz):.1f} Hz")


def _holds(watch: Watch, group: str) -> Tint:
    sources = [edge.source for edge in watch.spec.graph.edges_into(group)]
    held = sum(recent(watch, group, f"held/{source}") for source in sources)
    frames = recent(watch, group, "frames")
    share = held / max(1.0, frames * len(sources))
    return Tint(share, f"{held:.0f} held") if watch.status(group) else Tint()


def _age(watch: Watch, group: str) -> Tint:
    sources = [edge.source for edge in watch.spec.graph.edges_into(group)]
    told = watch.status(group)
    ages = [told.number(f"age_p50_ms/{source}") for source in sources] if told else []
    known = [age for age in ages if age is not None]
    return _aged(watch, max(known)) if known else Tint()


def _aged(watch: Watch, age_ms: float) -> Tint:
    periods = age_ms / (watch.grid.period_ns / 1e6)
    return Tint(periods / 10, f"{age_ms:.0f} ms")


def _edge(watch: Watch, mode: str, source: str, target: str) -> Tint:
    told = watch.status(target)
    if told is None or source == target:
        return Tint()
    transport = told.values.get(f"transport/{source}", "")
    if mode == "holds":
        held = recent(watch, target, f"held/{source}")
        share = held / max(1.0, recent(watch, target, "frames"))
        return Tint(share, f"{held:.0f} held in {_RECENT} s")
    age_ms = told.number(f"age_p50_ms/{source}")
    if mode == "age" and age_ms is not None:
        return _aged(watch, age_ms)
    return Tint(None, transport)


_NODE: dict[str, Callable[[Watch, str], Tint]] = {
    "work": _work, "rate": _rate, "holds": _holds, "age": _age,
}  # fmt: skip
