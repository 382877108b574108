"""The graph as SVG: every node and edge is there, and colours mean what diagnostics say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from strategies import POSTER, cifar_dsr
from streaming_net_ros.theory import streaming
from streaming_net_ros.theory.layout import lay_out
from streaming_net_ros.viewer.graph_picture import Look, Tint, graph_svg, ramp


def drawn(graph, look=None):
    svg = graph_svg(graph, streaming(graph), lay_out(graph), look or Look())
    return ET.fromstring(svg)


@pytest.mark.parametrize("graph", [POSTER, *map(cifar_dsr, range(7))], ids=lambda g: g.name)
def test_every_node_and_every_edge_is_drawn_within_the_picture(graph):
    svg = drawn(graph)
    nodes = [group.get("data-node") for group in svg.iter("g")]
    assert sorted(nodes) == sorted(graph.nodes)
    told = [title.text for title in svg.iter("title")]
    assert [text.partition(":")[0] for text in told] == [str(edge) for edge in graph.edges]
    _, _, width, height = map(float, svg.get("viewBox").split())
    for box in svg.iter("rect"):
        left, top = float(box.get("x")), float(box.get("y"))
        assert left >= 0 and left + float(box.get("width")) <= width
        assert top >= 0 and top + float(box.get("height")) <= height


def test_a_node_has_the_colour_of_its_share_and_tells_its_number():
    graph = POSTER
    node = graph.groups[0]
    svg = drawn(graph, Look({node: Tint(0.5, "1.25 ms")}, looked_at=[node], troubled=[node]))
    (group,) = (g for g in svg.iter("g") if g.get("data-node") == node)
    assert ramp(0.5) in group.find("rect").get("style")
    assert "looked" in group.get("class") and "var(--bad)" in group.find("rect").get("style")
    assert "1.25 ms" in [text.text for text in group.iter("text")]


def test_a_lesion_is_drawn_broken():
    edge = POSTER.edges[0]
    svg = drawn(POSTER, Look(edges={edge.key: Tint(0.5, "silenced", is_lesioned=True)}))
    lines = {path.find("title").text.partition(":")[0]: path for path in svg.iter("path")}
    broken = [name for name, path in lines.items() if "lesioned" in path.get("class")]
    assert broken == [str(edge)] and "silenced" in lines[str(edge)].find("title").text


def test_colours_end_where_shares_end():
    assert ramp(-1) == ramp(0) and ramp(7) == ramp(1) and ramp(0) != ramp(1)
