"""Where the nodes of a network lie in a picture, and how the lines of its edges run.

Owns places only, in inches, y upwards, so that a picture grows with its network and nothing is
squeezed. Does not know what is drawn there, nor with what: neither colours nor texts. Imported by
the picture of a plan and by the viewer's page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import networkx as nx

from streaming_net_ros.theory.graph import EdgeKey, NetworkGraph

CHARACTER = 0.088  # of the node names' font
BOX_HEIGHT = 0.32
LANE = 0.3  # between the lines of two long edges

Point = tuple[float, float]

Lane = tuple[EdgeKey, int]
"""Where an edge passes a layer: the edge, and the layer's column."""

Slot = str | Lane
"""What has a place in a layer: a node, or a lane."""


@dataclass(frozen=True)
class Line:
    """A line of straight pieces and cubic curves.

    Args:
        points: its points, the controls of curves among them.
        codes: of each point, as matplotlib's paths have them: 1 begins, 2 is straight, 4 belongs
            to a curve, of which three follow each other.
    """

    points: tuple[Point, ...]
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Where the network is drawn, y upwards.

    Args:
        layer: column of each node: the longest way from an input, feedback left out.
        place: centre of each node and lane.
        lanes: what each edge passes on its way, left to right.
        feedback: the edges that lead back.
        box: width of a node.
    """

    layer: Mapping[str, int]
    place: Mapping[Slot, Point]
    lanes: Mapping[EdgeKey, list[Lane]]
    feedback: frozenset[EdgeKey]
    box: float


def lay_out(graph: NetworkGraph) -> Layout:
    """Layers from left to right, each ordered so that few edges cross."""
    layer, feedback = _layers(graph)
    lanes: dict[EdgeKey, list[Lane]] = {}
    columns: list[list[Slot]] = [[] for _ in range(max(layer.values()) + 1)]
    for node in graph.nodes:
        columns[layer[node]].append(node)
    for edge in graph.edges:
        if not edge.is_self_edge:
            low, high = sorted((layer[edge.source], layer[edge.target]))
            # An edge that leads back also needs a lane beside its own two ends.
            passed = range(low, high + 1) if edge.key in feedback else range(low + 1, high)
            lanes[edge.key] = [(edge.key, number) for number in passed]
            for number in passed:
                columns[number].append((edge.key, number))
    near = _neighbours(lanes, feedback)
    _order(columns, near, feedback)
    height = _heights(columns, near, {e.source for e in graph.edges if e.is_self_edge})
    box = max(0.6, max(map(len, graph.nodes)) * CHARACTER + 0.2)
    pitch = box + (0.8 if len(columns) <= 14 else 0.55)
    place = {
        slot: (number * pitch, height[slot])
        for number, column in enumerate(columns)
        for slot in column
    }
    return Layout(layer, place, lanes, feedback, box)


def _layers(graph: NetworkGraph) -> tuple[dict[str, int], frozenset[EdgeKey]]:
    """The column of each node, and the edges that lead back: against the shortest way in."""
    away = dict.fromkeys(graph.inputs, 0)
    for source, target in nx.edge_bfs(graph.digraph, graph.inputs):
        away.setdefault(target, away[source] + 1)
    order = {node: (away[node], number) for number, node in enumerate(graph.nodes)}
    back = frozenset(e.key for e in graph.recurrent_edges if order[e.source] >= order[e.target])
    forward = nx.DiGraph()
    forward.add_nodes_from(graph.nodes)
    forward.add_edges_from(edge.key for edge in graph.edges if edge.key not in back)
    layer: dict[str, int] = {}
    for node in nx.lexicographical_topological_sort(forward, key=order.__getitem__):
        layer[node] = 1 + max((layer[before] for before in forward.predecessors(node)), default=-1)
    return layer, back


def _neighbours(
    lanes: Mapping[EdgeKey, list[Lane]], feedback: Iterable[EdgeKey]
) -> dict[Slot, list[Slot]]:
    near: dict[Slot, list[Slot]] = {}
    for key, passed in lanes.items():
        ends = key[::-1] if key in feedback else key
        way: list[Slot] = [ends[0], *passed, ends[1]]
        for one, other in pairwise(way):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    return near


def _order(
    columns: list[list[Slot]], near: Mapping[Slot, list[Slot]], feedback: frozenset[EdgeKey]
) -> None:
    """Sort every column by the middle of its neighbours, to and fro; what leads back is lowest."""
    for sweep in range(8):
        numbers = range(len(columns))
        for number in numbers if sweep % 2 == 0 else reversed(numbers):
            beside = [n for n in (number - 1, number + 1) if n in numbers]
            rank = {
                slot: (index + 0.5) / len(columns[n])
                for n in beside
                for index, slot in enumerate(columns[n])
            }

            def middle(slot: Slot, rank: dict[Slot, float] = rank) -> tuple[bool, float]:
                known = [rank[other] for other in near.get(slot, ()) if other in rank]
                is_back = not isinstance(slot, str) and slot[0] in feedback
                return is_back, sum(known) / len(known) if known else 0.5

            columns[number].sort(key=middle)


def _heights(
    columns: list[list[Slot]], near: Mapping[Slot, list[Slot]], loops: set[str]
) -> dict[Slot, float]:
    """The y of every slot: near its neighbours, in its column's order, never too close."""
    column_of = {slot: number for number, column in enumerate(columns) for slot in column}
    height = dict.fromkeys(column_of, 0.0)
    for _ in range(40):
        for column in columns:
            wanted = [fmean(height[other] for other in near.get(slot, [slot])) for slot in column]
            _set_apart(column, wanted, loops, height)
    for column in columns:  # at last straighten what is nearly level
        wanted = []
        for slot in column:
            levels = [
                height[other] for other in near.get(slot, ()) if column_of[other] < column_of[slot]
            ]
            level = min(levels, key=lambda y: abs(y - height[slot]), default=height[slot])
            wanted.append(level if abs(level - height[slot]) < LANE / 2 else height[slot])
        _set_apart(column, wanted, loops, height)
    return height


def _set_apart(
    column: list[Slot], wanted: list[float], loops: set[str], height: dict[Slot, float]
) -> None:
    """Set the heights of a column as near to the wanted ones as its order and room allow."""
    offsets = [0.0]
    for upper, lower in pairwise(column):
        offsets.append(offsets[-1] + _room(upper) + _room(lower, is_looped=lower in loops))
    free = [y + offset for y, offset in zip(wanted, offsets, strict=True)]
    for slot, y, offset in zip(column, _falling(free), offsets, strict=True):
        height[slot] = y - offset


def _room(slot: Slot, *, is_looped: bool = False) -> float:
    """What a node or lane needs on one side; above a node there may be its loop."""
    if not isinstance(slot, str):
        return LANE / 2
    return 0.52 if is_looped else 0.38


def _falling(values: list[float]) -> list[float]:
    """The nearest values (least squares) that never rise: pool adjacent violators."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and fmean(pools[-2]) < fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return [fmean(pool) for pool in pools for _ in pool]


def route(layout: Layout, key: EdgeKey) -> tuple[Line, list[Point]]:
    """The line of an edge, and places where its delay may stand, the best one first."""
    half = layout.box / 2
    (x, y), (end_x, end_y) = layout.place[key[0]], layout.place[key[1]]
    if key[0] == key[1]:
        top = y + BOX_HEIGHT / 2
        points = [(x + 0.13, top), (x + 0.3, top + 0.36), (x - 0.3, top + 0.36), (x - 0.13, top)]
        return Line(tuple(points), (1, 4, 4, 4)), [(x, top + 0.27)]
    back = key in layout.feedback
    lanes = [layout.place[slot] for slot in layout.lanes[key]]
    step = -half if back else half
    start, end = (x + half, y), (end_x - half, end_y)
    points, codes = [start], [1]
    for lane_x, lane_y in lanes[::-1] if back else lanes:
        _bend(points, codes, (lane_x - step, lane_y))
        points.append((lane_x + step, lane_y))
        codes.append(2)
    _bend(points, codes, end)
    if lanes:
        middle = lanes[len(lanes) // 2]
        return Line(tuple(points), tuple(codes)), [middle]
    spots = [
        (
            x + half + (end[0] - start[0]) * (1.5 * t * (1 - t) + t**3),
            y + (end_y - y) * (3 * t**2 - 2 * t**3),
        )
        for t in (0.5, 0.4, 0.6, 0.3, 0.7)
    ]
    return Line(tuple(points), tuple(codes)), spots


def _bend(points: list[Point], codes: list[int], end: Point) -> None:
    """Lead the line on to a point in the next layer; or around the end of a node to its lane."""
    (x, y), (end_x, end_y) = points[-1], end
    if abs(end_x - x) < 1e-6:
        bulge = min(0.4, 0.12 + 0.2 * abs(end_y - y)) * (1 if len(points) == 1 else -1)
        points += [(x + bulge, y), (x + bulge, end_y), end]
    else:
        points += [((x + end_x) / 2, y), ((x + end_x) / 2, end_y), end]
    codes += [4, 4, 4]
