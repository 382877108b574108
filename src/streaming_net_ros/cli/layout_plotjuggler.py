"""A layout for PlotJuggler 3: plots and the topics that it subscribes to, as XML that it loads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from xml.etree import ElementTree as Xml

from streaming_net_ros.cli.layout_plots import DIAGNOSTICS, Page, Plot

_STREAMER = "ROS2 Topic Subscriber"
_SHOWN_S = 30
# Okabe and Ito's, told apart by every eye; without black and yellow, which a theme may hide.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#7f7f7f")


def plotjuggler_layout(pages: Sequence[Page]) -> str:
    """The layout of a network: a tab for each page, and the subscriptions of all its curves."""
    root = Xml.Element("root")
    tabs = Xml.SubElement(root, "tabbed_widget", {"name": "Main Window", "parent": "main_window"})
    for page in pages:
        _add_tab(tabs, page)
    Xml.SubElement(tabs, "currentTabIndex", index="0")
    Xml.SubElement(root, "use_relative_time_offset", enabled="1")
    Xml.SubElement(root, "streaming_buffer_size", value=str(_SHOWN_S))
    _add_streamer(root, pages)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_tab(tabs: Xml.Element, page: Page) -> None:
    """The plots of a page one above the other, so that their times stand in line."""
    count = len(page.plots)
    tab = Xml.SubElement(tabs, "Tab", tab_name=page.title, containers="1")
    splitter = Xml.SubElement(
        Xml.SubElement(tab, "Container"),
        "DockSplitter",
        orientation="-",
        count=str(count),
        sizes=";".join([f"{1 / count:.6f}"] * count),
    )
    for plot in page.plots:
        _add_plot(Xml.SubElement(splitter, "DockArea", name=plot.title), plot)


def _add_plot(area: Xml.Element, plot: Plot) -> None:
    drawn = Xml.SubElement(
        area, "plot", mode="TimeSeries", style="Lines", flip_x="false", flip_y="false"
    )
    limits = plot.limits
    bounds = {} if limits is None else {"min": f"{limits[0]:g}", "max": f"{limits[1]:g}"}
    Xml.SubElement(drawn, "limitY", bounds)
    for curve, colour in zip(plot.curves, cycle(_COLOURS), strict=False):
        name = "/".join((curve.topic, *curve.field))
        Xml.SubElement(drawn, "curve", name=name, color=colour)


def _add_streamer(root: Xml.Element, pages: Sequence[Page]) -> None:
    """Subscribes to all; plots over the time of arrival: a camera may have a clock of its own."""
    topics = [c.topic for page in pages for plot in page.plots for c in plot.curves]
    plugin = Xml.SubElement(Xml.SubElement(root, "Plugins"), "plugin", ID=_STREAMER)
    for key, value in (
        ("use_header_stamp", "false"),
        ("discard_large_arrays", "true"),
        ("max_array_size", "100"),
        ("boolean_strings_to_number", "true"),
        ("remove_suffix_from_strings", "true"),
        ("selected_topics", ";".join(dict.fromkeys([*topics, DIAGNOSTICS]))),
    ):
        Xml.SubElement(plugin, key, value=value)
    Xml.SubElement(root, "previouslyLoaded_Streamer", name=_STREAMER)
