"""Answers over time: early and full response to each image, side by side."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from streaming_net_ros.theory import ResponseTimes, response_times
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.panels.lines import chart_options, show_lines
from streaming_net_ros.viewer.timeline import Pair, pairs

_FRAMES = 300
_MOST = 64  # elements of a tensor that may be chosen


def build(page: Page) -> None:
    """Build the answers."""
    viewer = page.viewer
    times = response_times(viewer.rollout)
    outputs = list(viewer.spec.outputs)
    with (
        ui.element("div")
        .classes("card w-full")
        .style("display: flex; flex-direction: column; flex: 1 1 0; min-height: 0")
    ):
        with ui.row().classes("w-full items-center gap-2 no-wrap"):
            ui.label("Response").classes("heading")
            output = ui.select(outputs, value=outputs[0]).props("dense borderless options-dense")
            element = ui.select(_elements(page, outputs[0]), value=0).props(
                "dense borderless options-dense"
            )
            ui.space()
            told = ui.label().classes("pale text-xs")
        chart = ui.echart(chart_options(["early", "full"])).classes("w-full")
        chart.style("flex: 1 1 0; min-height: 120px; height: auto")
        table = ui.html(sanitize=False).classes("w-full num")

    def choose() -> None:
        element.set_options(_elements(page, output.value), value=0)
        draw()

    def draw() -> None:
        group = viewer.spec.outputs[output.value].group
        found = pairs(viewer.watch.responses(output.value)[-_FRAMES:], times[group])
        told.text = _told(page, output.value, times[group])
        show_lines(chart, _lines(found, element.value or 0))
        table.content = _table(found, element.value or 0, times[group])

    output.on_value_change(choose)
    element.on_value_change(draw)
    page.every(0.5, draw)


def _elements(page: Page, output: str) -> dict[int, str]:
    """What can be plotted: a twist's fields, or a tensor's numbers."""
    spec = page.viewer.spec.outputs[output]
    if spec.publish == "twist":
        return dict(enumerate(spec.fields))
    count = page.viewer.watch.formats[spec.group].numbers
    return {number: f"[{number}]" for number in range(min(_MOST, count))}


def _told(page: Page, output: str, times: ResponseTimes) -> str:
    if not page.viewer.watch.is_shown(output):
        return "too large to hear every one: look at its group's state"
    return f"early after {times.first_frames} frames, full after {times.full_frames}"


def _lines(found: list[Pair], element: int) -> list[list[Any]]:
    newest = found[-1].frame if found else 0  # frames of realtime have eleven digits
    found = [pair for pair in found if pair.frame > newest - _FRAMES]
    early = [
        [pair.frame - newest, pair.early[element]] for pair in found if element < len(pair.early)
    ]
    full = [
        [pair.frame - newest, pair.full[element]]
        for pair in found
        if pair.full is not None and element < len(pair.full)
    ]
    return [early, full]


def _table(found: list[Pair], element: int, times: ResponseTimes) -> str:
    """The newest images and their answers, with when each came."""
    rows = []
    for pair in found[-6:][::-1]:
        full, later = "&hellip;", ""
        if pair.full is not None and element < len(pair.full):
            full = f"{pair.full[element]:+.3f}"
            later = "" if pair.full_ms is None else f"{pair.full_ms:.0f} ms"
        if element < len(pair.early):
            soon = "" if pair.early_ms is None else f"{pair.early_ms:.0f} ms"
            rows.append(
                f"<tr><td>{Page.told_frame(pair.frame)}</td><td>{pair.early[element]:+.3f}</td>"
                f"<td class='pale'>+{times.first_frames} {soon}</td><td>{full}</td>"
                f"<td class='pale'>+{times.full_frames} {later}</td></tr>"
            )
    head = "".join(f"<td>{name}</td>" for name in ("image", "early", "after", "full", "after"))
    return f"<table class='w-full'><tr class='pale'>{head}</tr>{''.join(rows)}</table>"
