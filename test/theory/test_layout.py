"""Nodes and lines of a network in a picture keep apart."""

from __future__ import annotations

from itertools import pairwise

import pytest

from strategies import POSTER, cifar_dsr
from streaming_net_ros.theory.layout import BOX_HEIGHT, LANE, lay_out


@pytest.mark.parametrize("graph", [POSTER, *map(cifar_dsr, range(7))], ids=lambda g: g.name)
def test_no_two_nodes_or_lanes_of_the_picture_overlap(graph):
    layout = lay_out(graph)
    columns = {}
    for slot, (x, y) in layout.place.items():
        columns.setdefault(x, []).append((y, slot))
    for column in columns.values():
        ordered = sorted(column, key=lambda item: item[0])
        for (low, one), (high, other) in pairwise(ordered):
            boxes = isinstance(one, str) + isinstance(other, str)
            assert high - low > (0.5 * LANE, BOX_HEIGHT / 2 + 0.1, BOX_HEIGHT + 0.2)[boxes]
    for edge in graph.edges:
        if edge.key not in layout.feedback:
            assert layout.layer[edge.source] < layout.layer[edge.target]
