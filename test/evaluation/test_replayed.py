"""A run from its ledger and its recording, and what was recorded of it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings import IMAGE, TWIST, raw_image, twist, write_toy_bag
from streaming_net_ros.errors import BagError, LedgerError
from streaming_net_ros.evaluation import BagWriter
from streaming_net_ros.evaluation.bags import Recording
from streaming_net_ros.evaluation.replayed import (
    Answers,
    first_difference,
    image_recordings,
    recorded_answers,
    replay_run,
    safe_values,
)
from streaming_net_ros.frames.ledger import LedgerWriter, ResponseLine, read_ledger
from streaming_net_ros.network import OutputSpec, run_head
from troubled import GRID, SENSED_NETWORK, TINY_NETWORK, captured_at, image, lived

FRAMES = 8
HEAD = run_head(SENSED_NETWORK.spec, SENSED_NETWORK.rollout, GRID, "realtime", weights=None)
SAFE = np.array([0.0, 0.5])


def camera(frames):
    stamps = [captured_at(frame) for frame in range(frames)]
    images = np.concatenate([image(stamp).numpy() for stamp in stamps])
    return {"image": Recording(np.array(stamps, dtype=np.int64), images, "bag")}


def replayed(head, lines, frames=FRAMES):
    return replay_run(SENSED_NETWORK, head, lines, camera(frames), weights=None)


def test_every_response_that_left_is_an_answer():
    made, lines = lived(
        [0.3, 2.5], [False, False, True], SENSED_NETWORK, 20, kept_back=range(9, 14)
    )
    told = []
    done = replay_run(SENSED_NETWORK, HEAD, lines, camera(20), weights=None,
                      on_frame=lambda n, total: told.append((n, total)))  # fmt: skip
    responses = [line for line in lines if isinstance(line, ResponseLine)]
    assert done.kept_back == sum(not line.has_left for line in responses) > 0
    assert told[-1] == (done.frames, done.frames)
    for output, group in (("drive", "head"), ("features", "deep")):
        left = [made[group, r.frame] for r in responses if r.output == output and r.has_left]
        assert done.answers[output].stamps_ns.tolist() == [stamp_ns for _, stamp_ns in left]
    drive = np.stack([made["head", r.frame][0].numpy()[0]
                      for r in responses if r.output == "drive" and r.has_left])  # fmt: skip
    assert np.array_equal(done.answers["drive"].values, drive.astype(np.float64))


def test_an_image_that_is_not_in_the_recording_is_told():
    _, lines = lived([0.1], [False], SENSED_NETWORK, FRAMES)
    with pytest.raises(BagError, match="an image of the run is not in the recording"):
        replayed(HEAD, lines, FRAMES - 3)


def test_drawn_weights_are_those_of_the_seed():
    with pytest.raises(LedgerError, match="another weights"):
        replayed(replace(HEAD, seed=1), [])


# --- what no run has written -----------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The lines of a good ledger as JSON, and a file to write others to."""
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    _, lines = lived([0.3, 1.5], [False, False, True], SENSED_NETWORK, FRAMES, broken=(4,))
    with LedgerWriter(path, HEAD) as writer:
        for line in lines:
            writer.write(line)
    assert replayed(*read_ledger([path])).frames > 20
    return [json.loads(text) for text in path.read_text().splitlines()], path


values = st.one_of(
    st.integers(-3, 12), st.integers(-(1 << 70), 1 << 70), st.booleans(), st.none(),
    st.floats(), st.sampled_from(["image", "speed", "stem", "memory", "head", "drive", "", "\0"]),
    st.just([]), st.lists(st.sampled_from(["stem", "image"])), st.just({}),
    st.dictionaries(st.sampled_from(["stem", "image", "memory", "x"]), st.integers(-2, 12)),
)  # fmt: skip


def places(value, place=()):
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


def changed(data, lines):
    """A random change: of a value, of a key, or of whole lines."""
    lines = copy.deepcopy(lines)
    what = data.draw(st.sampled_from(["value", "value", "value", "key", "lose", "again", "swap"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    if what == "lose":
        del lines[at]
    elif what == "again":
        lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
    elif what == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        *way, key = data.draw(st.sampled_from(list(places(lines[at]))))
        inside = lines[at]
        for part in way:
            inside = inside[part]
        if what == "key":
            del inside[key]
        else:
            inside[key] = data.draw(values)
    return lines


def compute(path):
    """A result, or one of the errors that may be."""
    try:
        replayed(*read_ledger([path]))
    except (LedgerError, BagError) as error:
        assert error.where and error.what


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_ledger_gives_a_result_or_one_clear_error(good, data):
    lines, path = good
    for _ in range(data.draw(st.integers(1, 2))):
        lines = changed(data, lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    compute(path)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(max_size=3))
def test_damaged_bytes_give_a_result_or_one_clear_error(good, at, bytes_):
    lines, path = good
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    at %= len(text)
    path.write_bytes(text[:at] + bytes_ + text[at + 2 :])
    compute(path)


# --- what was recorded -----------------------------------------------------------------------


def answers(*given_):
    return Answers(
        np.array([stamp_ns for stamp_ns, _ in given_], dtype=np.int64),
        np.array([value for _, value in given_], dtype=np.float64).reshape(-1, 2),
    )


ONE, TWO = (1, (0.1, 0.5)), (2, (0.2, 0.5))
SAFE_AT_2, SAFE_AT_9 = (2, (0.0, 0.5)), (9, (0.0, 0.5))


@pytest.mark.parametrize(
    "computed, recorded, difference",
    [
        ([ONE, TWO], [ONE, TWO], None),
        ([ONE, TWO], [ONE, SAFE_AT_9, TWO], None),
        ([ONE, TWO], [SAFE_AT_9, ONE, TWO, SAFE_AT_9], None),
        ([ONE, SAFE_AT_2], [ONE, SAFE_AT_2], None),  # an answer may equal the safe command
        ([ONE, SAFE_AT_2], [ONE, SAFE_AT_9, SAFE_AT_2], None),
        ([ONE, SAFE_AT_2], [ONE], "2 answers, recorded 1"),
        ([ONE, TWO], [ONE, SAFE_AT_2], "answer 1: "),
        ([ONE], [ONE, TWO], "1 answers, recorded 2"),
        ([ONE, TWO], [TWO], "answer 0 is stamped 1 ns, recorded 2 ns"),
        ([], [SAFE_AT_9], None),
    ],
)
def test_safe_commands_are_no_difference_and_equal_answers_are_compared(
    computed, recorded, difference
):
    found = first_difference(answers(*computed), answers(*recorded), SAFE)
    assert found is None if difference is None else found.startswith(difference)


def test_without_a_safe_command_every_message_is_an_answer():
    assert first_difference(answers(ONE), answers(ONE, SAFE_AT_9)) is not None


def test_a_bit_is_a_difference():
    ours, theirs = answers((1, (0.0, 1.0))), answers((1, (-0.0, 1.0)))
    assert first_difference(ours, theirs).startswith("answer 0: ")


def spec(**more):
    fields = {"angular.z": 0, "linear.x": 1}
    return OutputSpec(group="head", publish="twist", fields=fields, **more)


def test_all_recorded_answers_are_read_safe_commands_among_them(tmp_path):
    guarded = spec(safe={"linear.x": 0.5, "angular.z": 0.0}, max_age_ms=100)
    with BagWriter(tmp_path / "bag") as writer:
        for stamp_ns, steering in ((1, 0.25), (2, 0.0)):
            writer.write("/net/response/drive", TWIST, stamp_ns, twist(stamp_ns, steering))
    read = recorded_answers(tmp_path / "bag", "drive", guarded)
    assert read.stamps_ns.tolist() == [1, 2]
    assert read.values.tolist() == [[0.25, 0.5], [0.0, 0.5]]
    assert safe_values(guarded).tolist() == [0.0, 0.5] and safe_values(spec()) is None


def test_a_recording_of_something_else_is_told(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/net/response/drive", TWIST, 1, twist(1, 0.0))
        for name, size in (("sizes", 2), ("sizes", 4)):
            pixels = np.zeros((size, 4, 3), dtype=np.uint8)
            writer.write(f"/net/response/{name}", IMAGE, size, raw_image(size, pixels))
    with pytest.raises(BagError, match="no responses of output 'steer'"):
        recorded_answers(tmp_path / "bag", "steer", spec())
    with pytest.raises(BagError, match=r"expected one topic .* of sensor_msgs/msg/Image"):
        recorded_answers(tmp_path / "bag", "drive", OutputSpec(group="head"))
    with pytest.raises(BagError, match="several sizes"):
        recorded_answers(tmp_path / "bag", "sizes", OutputSpec(group="head"))


def test_images_come_from_the_recording(tmp_path):
    write_toy_bag(tmp_path / "bag", frames=3)
    images = image_recordings(TINY_NETWORK, Path(tmp_path / "bag"), None)
    assert images["image"].images.shape == (3, 3, 12, 16)
    assert torch.from_numpy(images["image"].images).dtype == torch.uint8
