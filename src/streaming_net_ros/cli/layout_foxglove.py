"""A layout for Foxglove: cameras, diagnostics and plots, as JSON that it imports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streaming_net_ros.cli.layout_plots import DIAGNOSTICS, Page, Plot

_SHOWN_S = 30
_TITLE = "foxglovePanelTitle"


def foxglove_layout(pages: Sequence[Page], cameras: Sequence[str]) -> str:
    """The layout of a network.

    Args:
        pages: become tabs; cameras and diagnostics stand beside the first one.
        cameras: absolute image topics.
    """
    images = {
        f"Image!camera{number}": {_TITLE: topic, "imageMode": {"imageTopic": topic}}
        for number, topic in enumerate(cameras)
    }
    summary = {
        "DiagnosticSummary!all": {
            _TITLE: "diagnostics",
            "topicToRender": DIAGNOSTICS,
            "minLevel": 0,
            "pinnedIds": [],
            "hardwareIdFilter": "",
            "sortByLevel": True,
        }
    }
    panels: dict[str, Any] = {**images, **summary}
    tabs: list[dict[str, Any]] = []
    for page in pages:
        plots = {f"Plot!{plot.key}": _plot(plot) for plot in page.plots}
        tree = _stacked(list(plots))
        if not tabs:
            tree = _split("row", _stacked([*images, *summary]), tree, 38)
        panels |= plots
        tabs.append({"title": page.title, "layout": tree})
    panels["Tab!pages"] = {"activeTabIdx": 0, "tabs": tabs}
    layout = {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": "Tab!pages",
    }
    return json.dumps(layout, indent=2) + "\n"


def _plot(plot: Plot) -> dict[str, Any]:
    """A plot over the time of arrival: a camera may have a clock of its own."""
    curves = [
        {
            "value": f"{curve.topic}.{'.'.join(curve.field)}",
            "label": curve.label,
            "enabled": True,
            "timestampMethod": "receiveTime",
            "showLine": True,
        }
        for curve in plot.curves
    ]
    # A path that is a number is drawn as a horizontal line.
    lines = [
        {"value": f"{value:g}", "label": label, "enabled": True, "timestampMethod": "receiveTime"}
        for value, label in plot.lines
    ]
    panel: dict[str, Any] = {
        _TITLE: plot.title,
        "paths": curves + lines,
        "xAxisVal": "timestamp",
        "isSynced": True,
        "followingViewWidth": _SHOWN_S,
        "showLegend": True,
        "legendDisplay": "left",
        "showPlotValuesInLegend": True,
        "showXAxisLabels": True,
        "showYAxisLabels": True,
    }
    if plot.limits is not None:
        panel["minYValue"], panel["maxYValue"] = plot.limits
    return panel


def _stacked(panels: Sequence[str]) -> Any:
    """Panels one above the other, equally high."""
    if len(panels) == 1:
        return panels[0]
    return _split("column", panels[0], _stacked(panels[1:]), round(100 / len(panels), 2))


def _split(direction: str, first: Any, second: Any, percentage: float) -> dict[str, Any]:
    return {
        "direction": direction,
        "first": first,
        "second": second,
        "splitPercentage": percentage,
    }
