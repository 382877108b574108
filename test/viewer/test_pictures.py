"""States as pictures: what is drawn is what the numbers say, and no request can ask for more."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.pictures import (
    COLOURS,
    KINDS,
    MOST_TILES,
    Options,
    draw,
    kind_of,
    parse_channels,
    parse_options,
    png,
    span,
)

MAPS = np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)


def opened(pixels):
    file = np.frombuffer(png(pixels), np.uint8)
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


@pytest.mark.parametrize("kind", ["auto", *KINDS])
@settings(max_examples=40)
@given(
    state=arrays.arrays(
        np.float32,
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
            st.tuples(st.integers(1, 40)),
        ),
        elements=st.floats(width=32),
    ),
    colours=st.sampled_from(COLOURS),
)
def test_every_state_is_drawn_whatever_its_numbers(kind, state, colours):
    with np.errstate(over="ignore"):
        pixels = draw(state, Options(kind, colours=colours))
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4


def test_the_file_holds_the_pixels():
    for kind in ("tiles", "histogram"):
        pixels = draw(MAPS, Options(kind))
        assert np.array_equal(opened(pixels), pixels)


def test_a_tile_is_a_channel_in_the_order_of_channels():
    pixels = draw(MAPS, Options("tiles", colours="gray", low=0, high=59))
    tile = pixels[: 3 * 9, : 5 * 9, 0]
    assert np.array_equal(tile[::9, ::9], (MAPS[0] * (255 / 59)).astype(np.uint8))
    assert pixels[..., 3].min() == 0  # between tiles nothing is drawn


def test_chosen_channels_alone_are_drawn():
    chosen = draw(MAPS, Options("tiles", (2,), "gray"))
    assert np.array_equal(chosen, draw(MAPS[2:3], Options("tiles", colours="gray")))


@pytest.mark.parametrize("kind, over", [("mean", np.mean), ("max", np.max)])
def test_mean_and_max_are_over_channels(kind, over):
    pixels = draw(MAPS, Options(kind, colours="gray", low=0, high=255))
    one = over(MAPS, 0, keepdims=True)
    assert np.array_equal(pixels, draw(one, Options(kind, colours="gray", low=0, high=255)))
    assert len(np.unique(pixels[..., 0])) > 10


def test_a_camera_image_is_shown_as_it_was_fed():
    image = np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)
    assert np.array_equal(draw(image, Options())[..., :3], image.transpose(1, 2, 0))
    grey = draw(image[:1], Options())
    assert np.array_equal(grey[..., 0], image[0]) and np.array_equal(grey[..., 1], image[0])


def test_a_fixed_range_makes_two_pictures_comparable():
    fixed = Options("mean", low=0, high=100)
    assert not np.array_equal(draw(MAPS, fixed), draw(2 * MAPS, fixed))
    free = Options("mean")
    assert np.array_equal(draw(MAPS, free), draw(2 * MAPS, free))


def test_one_bright_number_does_not_darken_all_others():
    state = np.linspace(0, 1, 1000).reshape(1, 25, 40)
    lone = state.copy()
    lone[0, -1, -1] = 1000
    one, other = (
        draw(s, Options("mean", colours="gray"))[..., 0].astype(int) for s in (state, lone)
    )
    assert np.abs(one - other).max() <= 2


def test_signed_colours_have_zero_in_their_middle():
    pixels = draw(np.array([[[-1.0, 0.0, 3.0]]]), Options("mean", colours="RdBu_r"))
    low, zero, high = pixels[0].astype(int)
    assert np.ptp(zero[:3]) < 8  # nearly white
    assert low[2] > low[0] and high[0] > high[2]  # blue, red


def test_bars_rise_from_zero():
    pixels = draw(np.array([1.0, -1.0]), Options())
    rows, columns, _ = pixels.shape
    is_drawn = pixels[..., 3] > 0
    assert is_drawn[: rows // 2, columns // 4].all()
    assert not is_drawn[: rows // 2 - 1, 3 * columns // 4].any()


def test_a_map_that_cannot_be_drawn_as_asked_is_drawn_as_it_can():
    assert kind_of((64,), "tiles") == "bars" and kind_of((8, 4, 4), "bars") == "tiles"
    assert kind_of((3, 4, 4)) == "camera" and kind_of((8, 4, 4)) == "tiles"


def test_the_span_of_a_state_leaves_out_what_is_not_finite():
    assert span(np.array([1.0, np.nan, -2.0, np.inf])) == (-2.0, 1.0)
    assert span(np.array([np.nan])) == (0.0, 0.0)


@given(
    st.builds(
        Options,
        st.sampled_from(["auto", *KINDS]),
        st.lists(st.integers(0, 999), max_size=9).map(tuple),
        st.sampled_from(COLOURS),
    )
)
def test_options_survive_the_query_of_a_request(options):
    said = dict(part.split("=") for part in options.query().split("&"))
    assert parse_options(said) == options


def test_channels_are_said_in_ranges():
    assert parse_channels("0-3, 7") == (0, 1, 2, 3, 7) and parse_channels("") == ()


HOSTILE = [
    {"as": "exec"},
    {"as": "../../etc/passwd"},
    {"colours": "jet; import os"},
    {"channels": "-1"},
    {"channels": "0-999999999"},
    {"channels": "\u0663"},
    {"channels": ",".join(["0-63"] * 100)},
    {"channels": "1e3"},
    {"low": "nan", "high": "1"},
    {"low": "1", "high": "0"},
    {"low": "1"},
    {"low": "inf", "high": "inf"},
    {"low": "x", "high": "1"},
    {"unknown": "1"},
]


@pytest.mark.parametrize("query", HOSTILE, ids=str)
def test_a_hostile_query_is_refused_in_one_line(query):
    with pytest.raises(ParameterError) as error:
        parse_options(query)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_channel_that_the_state_does_not_have_is_refused():
    with pytest.raises(ParameterError, match="below 4"):
        draw(MAPS, Options("tiles", (4,)))


def test_of_very_many_channels_not_all_are_drawn():
    many = np.zeros((1000, 48, 48), np.float32)
    assert draw(many, Options()).shape[0] < 48 * MOST_TILES
