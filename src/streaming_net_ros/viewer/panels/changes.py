"""The log: every change that the network told of, with the first frame for which it holds."""

from __future__ import annotations

import time

from nicegui import ui

from streaming_net_ros.viewer.page import Page

_SHOWN = 200


def build(page: Page) -> None:
    """Build the log."""
    watch = page.viewer.watch
    with ui.element("div").classes("card w-full"):
        ui.label("Changes while this viewer ran, newest first").classes("heading")
        columns = [
            {"name": key, "label": label, "field": key, "align": "left", "classes": "num"}
            for key, label in (("at", "at"), ("frame", "from frame"), ("node", "node"),
                               ("parameter", "what"), ("value", "value"))
        ]  # fmt: skip
        table = ui.table(columns=columns, rows=[], row_key="number").props("dense flat")
        table.props("hide-no-data")
        none_yet = ui.label("no change yet").classes("pale text-xs")
        table.classes("w-full")

    def draw() -> None:
        told = watch.changes()[-_SHOWN:][::-1]
        rows = [
            {
                "number": one.number,
                "at": time.strftime("%H:%M:%S", time.localtime(one.at_s)),
                "frame": Page.told_frame(one.frame),
                "node": one.node,
                "parameter": one.parameter,
                "value": one.value,
            }
            for one in told
        ]
        if rows != table.rows:
            table.rows = rows
            none_yet.set_visibility(not rows)

    page.every(0.5, draw)
