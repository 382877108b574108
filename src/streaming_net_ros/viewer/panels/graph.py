"""The graph: groups and edges, coloured by work time, rate, holds or age. A click looks at it."""

from __future__ import annotations

from nicegui import events, ui

from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.viewer.graph_picture import graph_svg
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.tints import MODES, look_of
from streaming_net_ros.viewer.watch import Watch

_MOST_TROUBLES = 6
_CLICK = (
    "(e) => { const node = e.target.closest('[data-node]'); if (node) emit(node.dataset.node) }"
)
_MEANING = {
    "work": "median time in the layers, against the slowest group",
    "rate": "frames per second, against the target",
    "holds": "inputs that an older state stood in for, in the last 10 s",
    "age": "age of the newest image inside, when a frame begins: to ten periods",
}


def build(page: Page) -> None:
    """Build the graph."""
    viewer = page.viewer
    with ui.row().classes("w-full items-center gap-2 no-wrap"):
        ui.label("Network").classes("heading")
        mode = ui.toggle(MODES, value="work").props("dense flat size=sm no-caps")
        meaning = ui.label().classes("pale text-xs")
        ui.space()
        ui.element("div").classes("ramp").style(
            "width: 110px; height: 8px; border-radius: 4px;"
            "background: linear-gradient(90deg, #440154, #3b528b, #21918c, #5ec962, #fde725)"
        )
    drawn = ui.html(sanitize=False).classes("w-full")
    trouble = ui.label().classes("text-xs").style("color: var(--warn); max-height: 3em")

    def draw() -> None:
        look = look_of(viewer.watch, mode.value, page.looked_at)
        drawn.content = graph_svg(viewer.spec.graph, viewer.rollout, viewer.layout, look)
        meaning.text = _MEANING[mode.value]
        trouble.text = ";  ".join(_troubles(viewer.watch))

    def clicked(event: events.GenericEventArguments) -> None:
        if isinstance(event.args, str):
            page.look_at(event.args)
            draw()

    drawn.on("click", clicked, js_handler=_CLICK)
    mode.on_value_change(draw)
    page.every(1.0, draw)


def _troubles(watch: Watch) -> list[str]:
    """What members say is not as usual, a line each; not all of very many."""
    members = [FRAME_SOURCE, *(group.name for group in watch.spec.groups)]
    told = [(name, watch.status(name)) for name in members]
    said = [f"{name}: {one.text}" for name, one in told if one is not None and one.level]
    return said[:_MOST_TROUBLES] if watch.is_present else []
