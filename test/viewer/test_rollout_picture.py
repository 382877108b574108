"""The rollout view: a cell for every state, lit exactly where the cone is."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import network, rollouts
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import (
    Edge,
    NetworkGraph,
    first_frames,
    future_cone,
    past_cone,
    streaming,
)
from streaming_net_ros.viewer.rollout_picture import draw_rollout
from streaming_net_ros.viewer.rollout_view import MAX_COLUMNS, RolloutView, row_order, summary

SVG = "{http://www.w3.org/2000/svg}"
PILOT = streaming(network("image>stem stem>deep deep>deep deep>head stem>head", name="pilot"))


def cells(text):
    """(frame, node) -> classes of every cell of a picture."""
    found = {}
    for group in ElementTree.fromstring(text).iter(f"{SVG}g"):
        if "data-node" in group.attrib:
            key = int(group.get("data-frame")), group.get("data-node")
            assert key not in found
            found[key] = set(group.get("class").split())
    return found


def having(text, mark):
    return {key for key, marks in cells(text).items() if mark in marks}


def lines(text, mark):
    return [
        path for path in ElementTree.fromstring(text).iter(f"{SVG}path")
        if mark in path.get("class").split()
    ]  # fmt: skip


@given(rollouts(), st.integers(0, 5), st.integers(0, 6), st.data())
def test_every_state_is_a_cell_and_lit_exactly_where_the_cone_has_it(rollout, first, more, data):
    last = first + more
    node = data.draw(st.sampled_from(rollout.graph.nodes))
    make = data.draw(st.sampled_from([past_cone, future_cone]))
    ends = (last, first) if make is past_cone else (first, last)
    cone = make(rollout, node, *ends)
    text = draw_rollout(RolloutView(rollout, first, last, cone=cone))
    exists = first_frames(rollout)
    window = {(t, name) for t in range(first, last + 1) for name in rollout.graph.nodes}
    assert set(cells(text)) == window
    assert having(text, "none") == {(t, name) for t, name in window if t < exists[name]}
    assert having(text, "lit") == {(t, name) for t, name in cone.members if t >= exists[name]}
    assert having(text, "tip") == {cone.tip}


@given(rollouts(), st.integers(0, 6))
def test_every_edge_is_drawn_from_every_state_that_exists_to_its_hearer(rollout, last):
    text = draw_rollout(RolloutView(rollout, 0, last))
    exists = first_frames(rollout)
    expected = sum(
        max(0, last - delay - exists[source] + 1) for (source, _), delay in rollout.delays.items()
    )
    assert len(lines(text, "edge")) == expected
    assert lines(text, "lit") == []


def test_a_cone_lights_its_edges_and_no_others():
    cone = past_cone(PILOT, "head", 6, 3)
    text = draw_rollout(RolloutView(PILOT, 3, 8, cone=cone))
    assert len(lines(text, "lit")) == 8  # 2 into head, 3 into what it hears, 3 more below
    assert len(list(ElementTree.fromstring(text).iter(f"{SVG}circle"))) == 3 + 1  # and the key's


def test_what_has_not_happened_is_hollow_and_frames_count_from_now():
    text = draw_rollout(RolloutView(PILOT, 98, 102, now=100))
    # A group is ahead of the newest image by its shortest path: it computes at once.
    lead = {"image": 0, "stem": 1, "deep": 2, "head": 2}
    later = {(t, node) for node, ahead in lead.items() for t in range(101 + ahead, 103)}
    assert having(text, "later") == later
    shown = [t.text for t in ElementTree.fromstring(text).iter(f"{SVG}text") if t.get("class")]
    assert shown[:5] == ["-2", "-1", "now", "+1", "+2"]


def test_a_group_that_repeats_its_state_is_marked_and_hears_nothing():
    def computes(group, frame):
        return group != "deep" or frame % 2 == 0

    text = draw_rollout(RolloutView(PILOT, 10, 13, computes=computes))
    assert having(text, "repeated") == {(11, "deep"), (13, "deep")}
    assert len(lines(text, "edge")) == 5 * 3 - 2 * 2


def test_a_known_state_is_shown_in_its_cell():
    view = RolloutView(PILOT, 0, 3, thumbnails={(2, "stem"): "data:image/png;base64,AAAA"})
    text = draw_rollout(view)
    assert having(text, "seen") == {(2, "stem")}
    (image,) = ElementTree.fromstring(text).iter(f"{SVG}image")
    assert image.get("href") == "data:image/png;base64,AAAA"


def test_inputs_and_outputs_can_be_chosen_and_nothing_else():
    view = RolloutView(PILOT, 0, 1, outputs={"drive": "head", "seen": "stem"})
    assert {node for _, node in having(draw_rollout(view), "choice")} == {"image", "head", "stem"}


def test_a_file_of_its_own_has_plain_colours():
    view = RolloutView(PILOT, 0, 4, now=2, cone=past_cone(PILOT, "head", 4))
    text = draw_rollout(view, is_file=True)
    assert "var(" not in text and "color-mix" not in text
    assert cells(text) == cells(draw_rollout(view))


def test_names_cannot_break_out_of_the_picture():
    hostile = '<script>alert("&\'")</script>'
    rollout = streaming(NetworkGraph((Edge("image", hostile), Edge(hostile, "head"))))
    view = RolloutView(
        rollout, 0, 2, outputs={"<b>": "head"}, thumbnails={(1, hostile): 'x"><script>'}
    )
    text = draw_rollout(view)
    assert "<script" not in text and "<b>" not in text
    assert (1, hostile) in cells(text)


def test_rows_go_from_inputs_to_outputs_whatever_leads_back():
    graph = network("image>stem stem>deep deep>head head>stem stem>head")
    assert row_order(graph) == ("image", "stem", "deep", "head")


@pytest.mark.parametrize("last", [-1, MAX_COLUMNS])
def test_a_view_has_some_columns_and_not_too_many(last):
    with pytest.raises(ParameterError, match=f"bad number of frames: expected 1 to {MAX_COLUMNS}"):
        RolloutView(PILOT, 0, last)


def test_the_cone_is_told_in_a_sentence():
    outputs = {"drive": "head"}
    past = past_cone(PILOT, "head", 12, 5)
    view = RolloutView(PILOT, 5, 14, now=10, cone=past, outputs=outputs)
    assert summary(view, 50.0) == (
        "head is made of 6 frames of image in this window, the newest 2 frames (100 ms) before"
    )
    future = future_cone(PILOT, "image", 10, 14)
    view = RolloutView(PILOT, 5, 14, now=10, cone=future, outputs=outputs)
    assert summary(view, 50.0) == "a frame of image first reaches drive after 2 frames (100 ms)"
    near = future_cone(PILOT, "image", 10, 11)
    view = RolloutView(PILOT, 5, 11, now=10, cone=near, outputs=outputs)
    assert summary(view, 50.0) == "image reaches no output within this window"
    assert summary(RolloutView(PILOT, 5, 11), 50.0) == ""
