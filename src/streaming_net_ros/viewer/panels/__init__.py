"""The panels of the page, in the order of their tabs. To add one, add a line to `PANELS`.

A panel is a title and a function that is given the visitor's `Page` and builds with NiceGUI inside
the place that it is called in. It is built when it is first opened; what it hands to `page.every`
is done only while it is in front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.panels import (
    change,
    changes,
    charts,
    design,
    live,
    rollout,
    saliency,
    statistics,
)


@dataclass(frozen=True)
class Panel:
    """A tab: a name for addresses (``/?panel=NAME``), a title, and what builds it."""

    name: str
    title: str
    build: Callable[[Page], None]


PANELS = (
    Panel("live", "Live", live.build),
    Panel("rollout", "Rollout", rollout.build),
    Panel("saliency", "Saliency", saliency.build),
    Panel("charts", "Charts", charts.build),
    Panel("statistics", "Statistics", statistics.build),
    Panel("change", "Change", change.build),
    Panel("changes", "Log", changes.build),
    Panel("design", "Design", design.build),
)
