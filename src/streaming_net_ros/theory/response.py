"""Response times: when information from an image reaches an output, and how old it is by then.

Owns first and full responses, and the ages of the images that an output mixes.
Counts frames of a rollout, never seconds. Imported by the command line, the viewer and the ROS
shell, which stamps a response with the newest image that can have influenced it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from streaming_net_ros.theory.rollout import Rollout, without_teaching
from streaming_net_ros.theory.tableau import inference_factor

Delays = frozenset[int]


@dataclass(frozen=True)
class Ages:
    """How old the images from one input are that an output is made of.

    Args:
        delays: frames along each path without a cycle, sorted, without repetition.
        is_recurrent: whether a cycle on the way lets older images influence the output too.
    """

    delays: tuple[int, ...]
    is_recurrent: bool


@dataclass(frozen=True)
class ResponseTimes:
    """When an output answers to the first image.

    Args:
        output: the group that answers.
        first_frames: frames from the image to the first output that it can influence.
        full_frames: frames to the output that every path without a cycle has reached.
        first_step: update steps from the image to the first response, groups firing as soon as
            their inputs exist.
        period_steps: update steps from each response to the next: the inference factor.
        ages: age of the images, by each input that reaches the output.
    """

    output: str
    first_frames: int
    full_frames: int
    first_step: int
    period_steps: int
    ages: Mapping[str, Ages]


def first_frames(rollout: Rollout) -> dict[str, int]:
    """The frame, counted from the first image, at which each node's state first exists.

    It is the smallest total delay of any path from an input; 0 for the inputs.
    """
    return _shortest(rollout, shortest_input_edge=0)


def _shortest(rollout: Rollout, shortest_input_edge: int) -> dict[str, int]:
    """Shortest path from any input; edges out of inputs count at least the given frames."""
    inputs = set(rollout.graph.inputs)
    weighted = nx.DiGraph()
    for (source, target), delay in rollout.delays.items():
        length = max(delay, shortest_input_edge) if source in inputs else delay
        weighted.add_edge(source, target, delay=length)
    frames = nx.multi_source_dijkstra_path_length(weighted, inputs, weight="delay")
    return {node: frames[node] for node in rollout.graph.nodes}


def _first_steps(rollout: Rollout) -> dict[str, int]:
    """Update steps from the first image to each node's first state.

    A node's first state is made of those sources alone that exist by then: edges on paths of the
    smallest total delay. Every group on such a path is one update, so the longest one counts.
    """
    # An image is used in the same update step whether its edge's delay is 0 or 1.
    frames = _shortest(rollout, shortest_input_edge=1)
    inputs = set(rollout.graph.inputs)
    early = nx.DiGraph()
    early.add_nodes_from(rollout.graph.nodes)
    for (source, target), delay in rollout.delays.items():
        length = max(delay, 1) if source in inputs else delay
        if frames[source] + length == frames[target]:
            early.add_edge(source, target)
    steps: dict[str, int] = {}
    for node in nx.topological_sort(early):
        steps[node] = max((steps[source] + 1 for source in early.predecessors(node)), default=0)
    return steps


def ages(rollout: Rollout) -> dict[str, dict[str, Ages]]:
    """For each output and each input that reaches it: the delays of all paths without a cycle.

    A path crosses the strongly connected components one after the other and never comes back,
    so sets of delays are handed on in their order, and only inside a component does it matter
    which nodes a path has used up.
    """
    rollout = without_teaching(rollout)
    graph = rollout.graph
    recurrent = {node for edge in graph.recurrent_edges for node in edge.key}
    crossing = _component_delays(rollout)
    found: dict[str, dict[str, Ages]] = {output: {} for output in graph.outputs}
    for image in graph.inputs:
        reach = _delays_from(rollout, image, crossing)
        for output in graph.outputs:
            if output in reach:
                way = nx.ancestors(graph.digraph, output) | {output}
                way &= nx.descendants(graph.digraph, image)
                delays = tuple(sorted(reach[output]))
                found[output][image] = Ages(delays, not recurrent.isdisjoint(way))
    return found


def response_times(rollout: Rollout) -> dict[str, ResponseTimes]:
    """The response times of every output, in the order of the network's outputs."""
    first = first_frames(rollout)
    steps = _first_steps(rollout)
    factor = inference_factor(rollout)
    return {
        output: ResponseTimes(
            output=output,
            first_frames=first[output],
            full_frames=max(delay for age in by_input.values() for delay in age.delays),
            first_step=steps[output],
            period_steps=factor,
            ages=by_input,
        )
        for output, by_input in ages(rollout).items()
    }


def _component_delays(rollout: Rollout) -> list[dict[str, dict[str, Delays]]]:
    """Per strongly connected component, sources first: delays of paths within, entry to exit."""
    digraph = rollout.graph.digraph
    condensed = nx.condensation(digraph)
    return [
        {entry: _simple_path_delays(rollout, entry, members) for entry in members}
        for number in nx.topological_sort(condensed)
        for members in [condensed.nodes[number]["members"]]
    ]


def _simple_path_delays(rollout: Rollout, entry: str, members: set[str]) -> dict[str, Delays]:
    """Delays of the paths from entry to each member that stay inside and visit no node twice.

    Paths that have used the same nodes and end at the same one are handled together: at worst
    2^n sets of nodes instead of n! paths.
    """
    found: dict[str, set[int]] = {member: set() for member in members}
    ends = {(entry, frozenset([entry])): {0}}
    while ends:
        longer: dict[tuple[str, frozenset[str]], set[int]] = {}
        for (node, used), delays in ends.items():
            found[node] |= delays
            for after in members.intersection(rollout.graph.digraph.successors(node)) - used:
                step = rollout.delay(node, after)
                longer.setdefault((after, used | {after}), set()).update(d + step for d in delays)
        ends = longer
    return {node: frozenset(delays) for node, delays in found.items()}


def _delays_from(
    rollout: Rollout, image: str, crossing: list[dict[str, dict[str, Delays]]]
) -> dict[str, set[int]]:
    """Delays of all paths without a cycle from one input to every node that it reaches."""
    arrived: dict[str, set[int]] = {image: {0}}  # at a node, from outside its component
    reach: dict[str, set[int]] = {}
    for component in crossing:
        for entry in arrived.keys() & component.keys():
            for node, within in component[entry].items():
                total = {before + delay for before in arrived[entry] for delay in within}
                reach.setdefault(node, set()).update(total)
        for node in reach.keys() & component.keys():
            for edge in rollout.graph.edges_out_of(node):
                if edge.target not in component:
                    delay = rollout.delays[edge.key]
                    after = {before + delay for before in reach[node]}
                    arrived.setdefault(edge.target, set()).update(after)
    return reach
