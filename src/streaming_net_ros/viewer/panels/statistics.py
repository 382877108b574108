"""Statistics of states, as they come, and of the weights in the weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nicegui import run, ui
from numpy.typing import NDArray

from streaming_net_ros.viewer.page import Page

_COLUMNS = ("mean", "deviation", "least", "greatest", "zeros", "not finite")


def build(page: Page) -> None:
    """Build the tables. While this panel is in front, every state is looked at."""
    watch = page.viewer.watch
    with ui.row().classes("w-full gap-2 no-wrap items-stretch"):
        with ui.element("div").classes("card").style("flex: 1 1 0; min-width: 0"):
            ui.label("States, newest").classes("heading")
            states = _table("node", "frame")
        with ui.element("div").classes("card").style("flex: 1 1 0; min-width: 0"):
            path = page.viewer.weights
            where = "no weights file: drawn by chance" if path is None else str(path)
            ui.label(f"Weights: {where}").classes("heading").style("text-transform: none")
            weights = _table("tensor", "")

    def count() -> None:
        rows = []
        for node in watch.formats:
            seen = watch.state(node)
            shape = "\u00d7".join(map(str, watch.formats[node].shape))
            row = {
                "name": node,
                "shape": shape,
                "frame": "" if seen is None else Page.told_frame(seen.frame),
            }
            values = None if seen is None else seen.values
            rows.append(row if values is None else row | summary(values))
        states.rows = rows

    async def read() -> None:
        if path is not None:
            weights.rows = await run.io_bound(weight_rows, path) or []

    page.every(1.0, count)
    ui.timer(0.1, read, once=True)


def summary(values: NDArray[Any]) -> dict[str, str]:
    """Mean, deviation, range, share of zeros, and how many numbers are not finite."""
    numbers = np.asarray(values, np.float64)
    is_finite = np.isfinite(numbers)
    finite = numbers[is_finite]
    if not finite.size:
        return dict.fromkeys(_COLUMNS, "-") | {"not finite": str(numbers.size)}
    told = (finite.mean(), finite.std(), finite.min(), finite.max())
    said = dict(zip(_COLUMNS, (f"{value:+.4f}" for value in told), strict=False))
    said["zeros"] = f"{np.mean(finite == 0):.1%}"
    said["not finite"] = str(int((~is_finite).sum()))
    return said


def weight_rows(path: Path) -> list[dict[str, str]]:
    """A row for each tensor of a weights file; empty if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return [
                {"name": name, "shape": "\u00d7".join(map(str, tensor.shape)), **summary(tensor)}
                for name in file.keys()  # noqa: SIM118 - the file is no mapping
                for tensor in [file.get_tensor(name)]
            ]
    except (OSError, SafetensorError):
        return []


def _table(first: str, second: str) -> ui.table:
    names = [first, "shape", *([second] if second else []), *_COLUMNS]
    keys = ["name", "shape", *([second] if second else []), *_COLUMNS]
    columns = [
        {
            "name": key,
            "label": name,
            "field": key,
            "align": "left" if key == "name" else "right",
            "classes": "" if key == "name" else "num",
        }
        for key, name in zip(keys, names, strict=True)
    ]
    return ui.table(columns=columns, rows=[], row_key="name").classes("w-full").props("dense flat")
