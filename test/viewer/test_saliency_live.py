"""Saliency of a running network: images in a row, one gradient for all, told in pictures."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.network import (
    Question,
    Saliency,
    StreamingNetwork,
    parse_network,
    rollout_of,
    saliency,
    save_weights,
)
from streaming_net_ros.viewer import bursts, saliency_live
from streaming_net_ros.viewer.bursts import InputRow, Row
from streaming_net_ros.viewer.saliency_live import IMAGES, Salience
from streaming_net_ros.viewer.saliency_picture import heat_over, saliency_html
from streaming_net_ros.wire import StateFormat

SPEC = parse_network(TINY)
STEER = Question("drive", 0, "image")


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 6))
def test_a_whole_row_has_every_frame_up_to_the_newest(frames, count):
    row = InputRow(("image",))
    for frame in frames:
        row.add("image", frame, np.full((1,), frame))
    tail = frames[-count:]
    is_whole = len(tail) == count and tail == list(range(tail[0], tail[0] + count))
    found = row.whole(count)
    assert (found is not None) == is_whole
    if found is not None:
        assert found.newest_frame == tail[-1]
        assert found.states["image"][:, 0].tolist() == tail


def test_a_row_of_two_inputs_ends_where_both_have_come_to():
    row = InputRow(("left", "right"))
    for frame in range(5):
        row.add("left", frame, np.array([frame]))
    assert row.whole(2) is None
    for frame in range(1, 4):
        row.add("right", frame, np.array([10 * frame]))
    found = row.whole(2)
    assert found.newest_frame == 3
    assert {n: v[:, 0].tolist() for n, v in found.states.items()} == {
        "left": [2, 3], "right": [20, 30]
    }  # fmt: skip


def test_pages_that_need_fewer_frames_take_the_end_of_a_longer_row():
    row = Row(9, {"image": np.arange(5)})
    assert row.last(2).states["image"].tolist() == [3, 4]
    assert row.last(2).newest_frame == 9
    assert row.last(6) is None


def test_a_silent_frame_begins_a_row_anew():
    row = InputRow(("image",))
    for frame, values in ((0, np.ones(1)), (1, None), (2, np.ones(1))):
        row.add("image", frame, values)
    assert row.whole(2) is None and row.whole(1).newest_frame == 2


@pytest.fixture(scope="module")
def row():
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 12, 16), dtype=np.uint8)
    return Row(40, {"image": images})


def test_an_answer_is_that_of_the_network_with_its_weights(tmp_path, row):
    path = tmp_path / "tiny.safetensors"
    network = StreamingNetwork(SPEC, seed=9).eval()
    save_weights(network, path)
    found = Salience(SPEC, rollout_of(SPEC), path).answer(STEER, row)
    right = saliency(network, STEER, {"image": torch.from_numpy(row.states["image"])}, 40)
    assert torch.equal(found.saliency.gradient, right.gradient)
    assert found.images is row.states["image"]


def test_twenty_pages_with_one_question_cost_one_gradient(monkeypatch, row):
    asked = []
    monkeypatch.setattr(
        saliency_live, "saliency", lambda *given: asked.append(given) or saliency(*given)
    )
    salience = Salience(SPEC, rollout_of(SPEC), None)
    answers = [salience.answer(STEER, row) for _ in range(20)]
    assert len(asked) == 1 and all(one is answers[0] for one in answers)
    salience.answer(STEER, Row(41, row.states))
    assert len(asked) == 2


def test_the_same_frames_after_a_reset_are_asked_about_anew(row):
    salience = Salience(SPEC, rollout_of(SPEC), None)
    others = {"image": 255 - row.states["image"]}
    first = salience.answer(STEER, Row(40, row.states, number=1))
    again = salience.answer(STEER, Row(40, others, number=2))
    assert again.images is others["image"] and again is not first


def test_of_very_many_questions_not_all_are_remembered(monkeypatch):
    monkeypatch.setattr(saliency_live, "_QUESTIONS", 3)
    salience = Salience(SPEC, rollout_of(SPEC), None)
    for element in range(5):
        salience.needed(Question("features", element, "image"))
    assert len(salience._needed) == 3


def test_a_row_that_is_old_is_forgotten_and_each_has_its_number(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(bursts.time, "monotonic", lambda: now_s[0])
    link = SimpleNamespace(post=lambda work: None)
    form = StateFormat("image", (1,), "float32")
    heard = bursts.Bursts(link, {"image": form}, FrameGrid(10))
    told = SimpleNamespace(payload=np.zeros(1, np.float32), stamp_ns=0)
    monkeypatch.setattr(bursts, "read_state", lambda message, form: told)
    assert heard.ask(1) is None
    heard._on_state("image", None)
    first = heard.ask(1)
    heard._on_state("image", None)
    assert first.newest_frame == heard.ask(1).newest_frame == 0
    assert heard.ask(1).number == first.number + 1
    now_s[0] += bursts.STALE_S + 1
    assert heard.ask(1) is None


def test_a_memory_is_asked_about_as_many_images_as_the_limit_allows():
    salience = Salience(SPEC, rollout_of(SPEC), None)
    assert salience.needed(STEER) == salience.most == IMAGES
    assert salience.cameras == ["image"]
    assert salience.fields("drive") == {0: "angular.z", 1: "linear.x"}
    assert salience.fields("features") == {}
    with pytest.raises(ParameterError, match="no such element"):
        salience.needed(Question("drive", 7, "image"))


def test_where_there_is_no_heat_the_image_is_grey_and_where_it_is_hot_it_glows():
    image = np.full((3, 2, 2), 100, np.uint8)
    heat = np.array([[0.0, 1.0], [0.25, 0.0]])
    pixels = heat_over(image, heat)
    assert pixels.shape == (2, 2, 4)
    assert pixels[0, 0].tolist() == [75, 75, 75, 255]
    assert int(pixels[0, 1, 0]) > int(pixels[1, 0, 0]) > 75


def test_the_page_shows_every_image_with_its_share_and_nothing_of_a_name_as_markup():
    gradient = torch.zeros(3, 1, 2, 2)
    gradient[0], gradient[2] = 1.0, 3.0
    found = Saliency((7, 8, 9), 11, -0.5, gradient)
    html = saliency_html(found, np.zeros((3, 1, 2, 2), np.uint8), "<b>drive</b> [0]")
    assert re.findall(r"<figcaption>(-?\w+: [\w<]+(?: %)?)<", html) == [
        "-2: 25 %", "-1: none", "newest: 75 %"
    ]  # fmt: skip
    assert "&lt;b&gt;drive&lt;/b&gt; [0] = -0.500, 2 frames later" in html
    assert html.count("data:image/png;base64,") == 5
