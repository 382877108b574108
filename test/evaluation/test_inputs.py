"""What a recording gives a network: which message is whose frame's."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from networks import TINY
from recordings import (
    IMAGE,
    PERIOD_NS,
    START_NS,
    TWIST,
    raw_image,
    toy_drive,
    twist,
    write_toy_bag,
)
from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation import BagWriter, open_bag
from streaming_net_ros.evaluation.inputs import read_inputs
from streaming_net_ros.network import parse_network


def spec_with_speed():
    content = copy.deepcopy(TINY)
    content["inputs"]["speed"] = {
        "type": "vector", "topic_type": TWIST, "fields": ["twist.linear.x", "twist.angular.z"]
    }  # fmt: skip
    content["groups"][3]["edges"].append(
        {"source": "speed", "layers": [{"Linear": {"out_features": 2}}]}
    )
    return parse_network(content)


def test_images_are_those_of_the_bag_in_the_networks_size(tmp_path):
    path = write_toy_bag(tmp_path / "toy", 8)
    inputs = read_inputs(path, parse_network(TINY))
    with open_bag(path) as bag:
        recording = bag.images("/image", "rgb", 12, 16)
    assert np.array_equal(inputs.states["image"], recording.images)
    assert inputs.captured_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(8)]
    assert inputs.topics == {"image": "/image"} and inputs.period_ns == PERIOD_NS


def test_a_further_input_gives_the_newest_message_not_after_the_capture(tmp_path):
    pictures, _ = toy_drive(6)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(6):
            stamp_ns = START_NS + k * PERIOD_NS
            writer.write("/image", IMAGE, stamp_ns, raw_image(stamp_ns, pictures[k]))
        for k, offset_ms in enumerate((10, 60, 61, 140, 150)):
            stamp_ns = START_NS + offset_ms * 1_000_000
            writer.write("/speed", TWIST, stamp_ns, twist(stamp_ns, 0.0, throttle=float(k)))
    inputs = read_inputs(tmp_path / "bag", spec_with_speed())
    # At 0 ms all are later: the first one. At 150 ms the one stamped 150 counts.
    assert inputs.states["speed"][:, 0].tolist() == [0, 0, 2, 4, 4, 4]


def test_one_of_several_topics_must_be_named(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/image", IMAGE, START_NS, raw_image(START_NS, toy_drive(1)[0][0]))
        for topic in ("/a", "/b"):
            writer.write(topic, TWIST, START_NS, twist(START_NS, 0.5))
    with pytest.raises(BagError, match="which topic is the input 'speed'") as error:
        read_inputs(tmp_path / "bag", spec_with_speed())
    assert "--topic speed=TOPIC" in str(error.value) and "/b" in str(error.value)
    inputs = read_inputs(tmp_path / "bag", spec_with_speed(), named={"speed": "/b"})
    assert inputs.topics["speed"] == "/b"


def test_a_topic_for_an_unknown_input_is_refused(tmp_path):
    path = write_toy_bag(tmp_path / "toy", 2)
    with pytest.raises(ParameterError, match="no such input") as error:
        read_inputs(path, parse_network(TINY), named={"imgae": "/image"})
    assert "imgae" in str(error.value)
