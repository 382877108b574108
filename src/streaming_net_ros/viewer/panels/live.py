"""The first panel: graph above, answers and state views below."""

from __future__ import annotations

from nicegui import ui

from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.panels import graph, responses, states


def build(page: Page) -> None:
    """Build the panel."""
    with ui.column().classes("w-full gap-2 no-wrap").style("height: 100%"):
        with ui.element("div").classes("card w-full").style("flex: 0 0 auto"):
            graph.build(page)
        with ui.row().classes("w-full gap-2 no-wrap").style("flex: 1 1 0; min-height: 380px"):
            with ui.column().classes("gap-2").style("flex: 0 0 36%; min-width: 0; height: 100%"):
                responses.build(page)
            with ui.element("div").style("flex: 1 1 0; min-width: 0; height: 100%"):
                states.build(page)
