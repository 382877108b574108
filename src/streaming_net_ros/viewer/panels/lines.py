"""Line charts of one look: neutral on dark and on light, sent as data only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

COLOURS = ["#d99a1c", "#26a69a", "#5c8fd6", "#cc79a7", "#8794a0", "#e5533d", "#9ccc65", "#ab8ad8"]
_PALE = "#8794a0"
_FAINT = "rgba(135,148,160,.18)"


def chart_options(
    names: Sequence[str],
    across: str = "",
    *,
    is_time: bool = False,
    unit: str = "",
    is_count: bool = False,
) -> dict[str, Any]:
    """The options of a line chart.

    Args:
        names: of its lines.
        across: what the axis below means.
        is_time: the axis below is milliseconds since the epoch.
        unit: of the values.
        is_count: the values are whole numbers from zero on.
    """
    text = {"color": _PALE, "fontSize": 10}
    axis = {"axisLabel": text, "nameTextStyle": text, "axisLine": {"lineStyle": {"color": _PALE}}}
    whole = {"minInterval": 1, "min": 0, "scale": False} if is_count else {"scale": True}
    return {
        "animation": False,
        "color": COLOURS,
        "grid": {"left": 46, "right": 12, "top": 30, "bottom": 22},
        "legend": {"top": 1, "left": 56, "right": 12, "padding": [4, 0], "itemHeight": 8,
                   "itemWidth": 8, "textStyle": {**text, "lineHeight": 16},
                   "type": "scroll", "icon": "circle"},
        "tooltip": {"trigger": "axis", "confine": True, "textStyle": {"fontSize": 11}},
        "xAxis": {**axis, "type": "time" if is_time else "value", "scale": True, "name": across,
                  "nameLocation": "middle", "nameGap": 14, "min": "dataMin", "max": "dataMax",
                  "splitLine": {"show": False},
                  "axisLabel": {**text, "showMinLabel": False, "hideOverlap": True}},
        "yAxis": {**axis, "type": "value", **whole, "name": unit,
                  "splitLine": {"lineStyle": {"color": _FAINT}}, "splitNumber": 4,
                  "axisLine": {"show": False}},
        "series": [
            {"name": name, "type": "line", "showSymbol": False, "data": [],
             "lineStyle": {"width": 1.4}}
            for name in names
        ],
    }  # fmt: skip


def show_lines(chart: ui.echart, lines: Sequence[Sequence[Any]]) -> None:
    """Give a chart its lines' points."""
    rounded = [[[x, None if y is None else round(y, 4)] for x, y in line] for line in lines]
    chart.run_chart_method("setOption", {"series": [{"data": line} for line in rounded]})
