"""Latency and cadence over time, out of /diagnostics: once a second, for a quarter of an hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.panels.lines import chart_options, show_lines
from streaming_net_ros.viewer.watch import Watch

Points = list[list[float]]
_RATE_OVER = 3  # diagnostics between which a rate is taken


def build(page: Page) -> None:
    """Build the charts."""
    watch = page.viewer.watch
    groups = [group.name for group in watch.spec.groups]
    outputs = {name: spec.group for name, spec in watch.spec.outputs.items()}

    def key(name: str, members: list[str]) -> Mapping[str, Callable[[], Points]]:
        return {m: lambda m=m: _points(watch, m, name) for m in members}  # type: ignore[misc]

    latency: dict[str, Callable[[], Points]] = {}
    for output, group in outputs.items():
        for what in ("early_p50", "full_p50", "early_p99", "full_p99"):
            name = f"{output} {what.replace('_', ' ')}"
            latency[name] = lambda g=group, k=f"{what}_ms/{output}": _points(watch, g, k)  # type: ignore[misc]
    cadence = {m: lambda m=m: _rates(watch, m) for m in [FRAME_SOURCE, *groups]}
    with ui.element("div").style(
        "display: grid; grid-template-columns: 1fr 1fr; gap: 8px; width: 100%; "
        "height: 100%; grid-auto-rows: minmax(180px, 1fr)"
    ):
        _chart(
            page,
            "From capture to response",
            latency,
            "ms",
            "in realtime: from an image's capture to the publication of its answers",
        )
        _chart(page, "Cadence", cadence, "Hz", "frames per second of each member")
        _chart(page, "Work, median", key("work_p50_ms", groups), "ms", "time in the layers")
        _chart(
            page,
            "Work, 99th percentile",
            key("work_p99_ms", groups),
            "ms",
            "of the last thousand frames",
        )
        _chart(
            page,
            "Age of inputs",
            _ages(watch),
            "ms",
            "in realtime: of the newest image inside a state, when a frame begins",
        )
        _chart(
            page,
            "Holds",
            _held(watch),
            "",
            "in realtime: an older state stood in for an input",
            is_count=True,
        )


def _chart(
    page: Page,
    title: str,
    lines: Mapping[str, Callable[[], Points]],
    unit: str,
    meaning: str,
    *,
    is_count: bool = False,
) -> None:
    with ui.element("div").classes("card").style("display: flex; flex-direction: column"):
        with ui.row().classes("items-center gap-2 no-wrap"):
            ui.label(title).classes("heading")
            ui.label(meaning).classes("pale text-xs")
        chart = ui.echart(chart_options(list(lines), is_time=True, unit=unit, is_count=is_count))
        chart.classes("w-full").style("flex: 1 1 0; min-height: 100px; height: auto")
    page.every(1.0, lambda: show_lines(chart, [points() for points in lines.values()]))


def _points(watch: Watch, member: str, key: str) -> Points:
    return [[round(at_s * 1e3), value] for at_s, value in watch.history(member, key)]


def _rates(watch: Watch, member: str) -> Points:
    line: Any = watch.history(member, "frames")
    return [
        [round(at_s * 1e3), max(0.0, (frames - before) / (at_s - before_s))]
        for (before_s, before), (at_s, frames) in zip(line, line[_RATE_OVER:], strict=False)
        if at_s > before_s
    ]


def _ages(watch: Watch) -> dict[str, Callable[[], Points]]:
    edges = [edge for edge in watch.spec.graph.edges if not edge.is_self_edge]
    return {
        str(e): lambda e=e: _points(watch, e.target, f"age_p50_ms/{e.source}")  # type: ignore[misc]
        for e in edges
    }


def _held(watch: Watch) -> dict[str, Callable[[], Points]]:
    return {
        str(e): lambda e=e: _points(watch, e.target, f"held/{e.source}")  # type: ignore[misc]
        for e in watch.spec.graph.edges
    }
