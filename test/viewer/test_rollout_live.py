"""The rollout view follows the frames: window, cone and known states of a running network."""

import base64
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.network import parse_network, rollout_of
from streaming_net_ros.theory import Direction, response_times
from streaming_net_ros.viewer.rollout_live import (
    Choice,
    RolloutWindow,
    Thumbnails,
    first_choice,
)

SPEC = parse_network(TINY)
ROLLOUT = rollout_of(SPEC)


def seen(node, frame, values):
    return SimpleNamespace(node=node, frame=frame, values=values)


@given(st.integers(0, 10**12), st.integers(2, 24))
def test_the_window_holds_the_newest_image_and_its_full_response(now, back):
    window = RolloutWindow(SPEC, ROLLOUT, back)
    view = window.view(now, first_choice(SPEC, ROLLOUT), {})
    assert view.now == now and now in view.frames
    assert view.first_frame == max(0, now - back)
    assert view.last_frame - now == max(t.full_frames for t in response_times(ROLLOUT).values())


@given(st.integers(10, 10**12))
def test_at_first_the_newest_answer_s_past_is_lit_and_the_newest_image_in_it(now):
    view = RolloutWindow(SPEC, ROLLOUT).view(now, first_choice(SPEC, ROLLOUT), {})
    assert view.cone.direction is Direction.PAST
    assert view.cone.tip == (now + 2, "head")
    assert view.cone.nearest["image"] == now


@given(st.integers(30, 1000), st.integers(1, 5))
def test_a_cone_moves_with_the_frames_unless_it_is_pinned(now, later):
    window, choice = RolloutWindow(SPEC, ROLLOUT), Choice("image", -3)
    assert window.view(now, choice, {}).cone.tip == (now - 3, "image")
    assert window.view(now + later, choice, {}).cone.tip == (now + later - 3, "image")
    pinned = choice.pin(now)
    assert window.view(now + later, pinned, {}).cone.tip == (now - 3, "image")
    assert window.view(now + later, pinned.unpin(), {}).cone.tip == (now + later - 3, "image")


@pytest.mark.parametrize("choice", [Choice("head", 2), Choice("image", 0)])
def test_a_pinned_state_that_is_long_gone_or_of_another_time_lights_nothing(choice):
    window = RolloutWindow(SPEC, ROLLOUT)
    assert window.view(1000, choice.pin(500), {}).cone is None
    assert (
        window.view(20, Choice("image", 0).pin(500), {}).cone is None
    )  # a reset: time began anew


def pixels(address):
    kind, _, text = address.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def test_an_image_s_small_picture_is_the_image():
    image = np.zeros((3, 12, 16), np.uint8)
    image[0] = 200  # red
    (address,) = Thumbnails(SPEC).of([seen("image", 7, image)]).values()
    assert pixels(address).shape == (12, 16, 3)
    assert (pixels(address) == (0, 0, 200)).all()


def test_a_state_is_drawn_once_a_silent_one_not_at_all_and_a_large_one_small():
    thumbnails, values = Thumbnails(SPEC), np.random.default_rng(0).random((8, 300, 400), "f4")
    first = thumbnails.of([seen("stem", 1, values), seen("deep", 1, None)])
    assert list(first) == [(1, "stem")]
    assert pixels(first[1, "stem"]).shape == (68, 92, 3)
    again = thumbnails.of([seen("stem", 1, None), seen("head", 2, np.ones(2, "f4"))])
    assert again[1, "stem"] is first[1, "stem"]
    assert set(again) == {(1, "stem"), (2, "head")}
    thumbnails.clear()
    assert thumbnails.of([seen("stem", 1, None)]) == {}


def test_old_small_pictures_are_forgotten():
    thumbnails, image = Thumbnails(SPEC), np.zeros((3, 2, 2), np.uint8)
    thumbnails.of(seen("image", frame, image) for frame in range(700))
    kept = thumbnails.of([seen("image", frame, None) for frame in range(700)])
    assert {frame for frame, _ in kept} == set(range(100, 700))
