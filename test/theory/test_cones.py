"""Light cones, against brute force, against each other, and against the response times."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import MNIST_S, POSTER, graphs, network, rollouts
from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory import (
    Direction,
    Edge,
    NetworkGraph,
    first_frames,
    future_cone,
    hybrid,
    light_cone,
    past_cone,
    response_times,
    sequential,
    shortest_delay,
    streaming,
)

FRAMES = st.integers(0, 6)


@st.composite
def periods(draw, rollout):
    """In which frames groups compute: some every n-th only."""
    given_to = st.dictionaries(st.sampled_from(rollout.graph.groups), st.integers(1, 3))
    every = draw(given_to)
    return lambda group, frame: frame % every.get(group, 1) == 0


@given(rollouts(), FRAMES, FRAMES, st.data())
def test_a_past_cone_holds_a_state_exactly_if_that_state_s_future_cone_holds_its_tip(
    rollout, first, more, data
):
    last = first + more
    computes = data.draw(periods(rollout))
    node, image = (data.draw(st.sampled_from(rollout.graph.nodes)) for _ in range(2))
    past = past_cone(rollout, node, last, first, computes)
    future = future_cone(rollout, image, first, last, computes)
    assert ((first, image) in past) == ((last, node) in future)


@given(rollouts(), FRAMES)
def test_a_future_cone_of_an_image_reaches_every_output_at_its_first_response(rollout, frame):
    last = frame + max(t.full_frames for t in response_times(rollout).values())
    cones = [future_cone(rollout, image, frame, last) for image in rollout.graph.inputs]
    for output, times in response_times(rollout).items():
        arrivals = [cone.nearest[output] for cone in cones if output in cone.nearest]
        assert min(arrivals) == frame + times.first_frames


@given(rollouts(), FRAMES)
def test_every_age_of_an_output_lies_in_its_past_cone(rollout, more):
    for output, times in response_times(rollout).items():
        last = times.full_frames + more
        cone = past_cone(rollout, output, last)
        for image, age in times.ages.items():
            assert {last - delay for delay in age.delays} <= set(cone.frames_of(image))
            assert cone.nearest[image] == last - min(age.delays)


@given(rollouts(), FRAMES, FRAMES, st.data())
def test_the_nearest_member_is_the_end_of_the_shortest_path(rollout, frame, more, data):
    node = data.draw(st.sampled_from(rollout.graph.nodes))
    weighted = nx.DiGraph((u, v, {"delay": d}) for (u, v), d in rollout.delays.items())
    ways = nx.single_source_dijkstra_path_length(weighted, node, weight="delay")
    for other in rollout.graph.nodes:
        assert shortest_delay(rollout, node, other) == ways.get(other)
    cone = future_cone(rollout, node, frame, frame + more)
    assert cone.nearest == {v: frame + way for v, way in ways.items() if way <= more}
    assert cone.arrivals <= cone.members
    back = nx.single_source_dijkstra_path_length(weighted.reverse(), node, weight="delay")
    cone = past_cone(rollout, node, frame + more, frame)
    assert cone.nearest == {u: frame + more - way for u, way in back.items() if way <= more}


@given(graphs(max_groups=3), FRAMES, st.data())
def test_a_state_that_is_repeated_has_the_past_of_the_one_before(graph, frame, data):
    rollout = streaming(graph)
    node = data.draw(st.sampled_from(graph.groups))
    computes = lambda group, now: group != node or now != frame + 1  # noqa: E731
    repeated = past_cone(rollout, node, frame + 1, 0, computes)
    assert repeated.members == past_cone(rollout, node, frame, 0, computes).members | {
        (frame + 1, node)
    }


def window_cone(rollout, output, last_frame, frames):
    """Brute force: ancestors in the rollout window, drawn edge by edge."""
    window = nx.DiGraph()
    first = max(0, last_frame - frames)
    window.add_node((last_frame, output))
    for frame in range(first, last_frame + 1):
        for (source, target), delay in rollout.delays.items():
            if frame - delay >= first:
                window.add_edge((frame - delay, source), (frame, target))
    return nx.ancestors(window, (last_frame, output)) | {(last_frame, output)}


@given(rollouts(), st.integers(0, 6), st.integers(0, 6), st.data())
def test_the_light_cone_is_all_that_reaches_the_output(rollout, last_frame, frames, data):
    output = data.draw(st.sampled_from(rollout.graph.nodes))
    found = light_cone(rollout, output, last_frame, frames)
    assert found == window_cone(rollout, output, last_frame, frames)


def test_the_light_cone_of_a_skip_network():
    cone = light_cone(streaming(MNIST_S), "out", 9, 3)
    assert cone == {(9, "out"), (8, "h2"), (8, "h1"), (7, "h1"), (7, "image"), (6, "image")}


def test_a_light_cone_needs_a_known_node_and_whole_frames():
    rollout = streaming(POSTER)
    with pytest.raises(RolloutError, match="no such node in poster: expected one of u, v, w"):
        light_cone(rollout, "x", 3, 3)
    with pytest.raises(RolloutError, match="bad last_frame"):
        light_cone(rollout, "w", -1, 3)
    with pytest.raises(RolloutError, match="bad number of frames"):
        light_cone(rollout, "w", 3, -1)


def test_cones_of_a_skip_network_under_three_rollouts():
    graph = network("image>stem stem>deep deep>head stem>head")
    future = future_cone(streaming(graph), "image", 10, 14)
    assert future.direction is Direction.FUTURE and future.tip == (10, "image")
    assert future.members == {
        (10, "image"),
        (11, "stem"),
        (12, "deep"),
        (12, "head"),
        (13, "head"),
    }
    assert future.nearest == {"image": 10, "stem": 11, "deep": 12, "head": 12}
    assert future.arrivals == {(11, "stem"), (12, "deep"), (12, "head")}
    assert future.frames_of("head") == (12, 13)
    within = future_cone(sequential(graph), "image", 10, 14)
    assert within.members == {(10, node) for node in graph.nodes}
    late = hybrid(graph, {("deep", "head"): 3}, "sequential")
    assert past_cone(late, "head", 10).frames_of("image") == (7, 10)


def test_a_memory_hears_of_every_image_before():
    rollout = streaming(network("image>memory memory>memory"))
    assert past_cone(rollout, "memory", 5).frames_of("image") == (0, 1, 2, 3, 4)
    assert future_cone(rollout, "image", 2, 5).frames_of("memory") == (3, 4, 5)


def test_a_cone_needs_a_known_node_and_a_window():
    rollout = streaming(POSTER)
    with pytest.raises(RolloutError, match="no such node in poster: expected one of u, v, w"):
        future_cone(rollout, "x", 3, 3)
    with pytest.raises(RolloutError, match="no such node in poster"):
        past_cone(rollout, "x", 3)
    with pytest.raises(RolloutError, match="no such node in poster"):
        shortest_delay(rollout, "u", "x")
    with pytest.raises(RolloutError, match="bad first_frame"):
        future_cone(rollout, "u", -1, 3)
    with pytest.raises(RolloutError, match="bad last_frame"):
        past_cone(rollout, "w", 2.5)
    with pytest.raises(RolloutError, match="window without frames: expected a last frame from 4"):
        future_cone(rollout, "u", 4, 3)


def test_who_only_teaches_influences_nothing():
    edges = (Edge("image", "stem"), Edge("stem", "head"), Edge("label", "head", teaches=True))
    rollout = streaming(NetworkGraph(edges))
    assert past_cone(rollout, "head", 5).members == {(5, "head"), (4, "stem"), (3, "image")}
    assert future_cone(rollout, "label", 2, 5).members == {(2, "label")}
    assert shortest_delay(rollout, "label", "head") is None


def test_a_first_state_is_where_the_first_images_first_arrive():
    rollout = streaming(MNIST_S)
    assert future_cone(rollout, "image", 0, 5).nearest == first_frames(rollout)
