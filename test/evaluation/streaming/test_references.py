"""What an output is compared with: forms of a reference, and what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from networks import TINY
from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.streaming.references import find_reference, find_references
from streaming_net_ros.network import parse_network


def spec_of(features=3):
    """The tiny network with a classifier beside its twist."""
    content = copy.deepcopy(TINY)
    content["groups"].append(
        {"name": "scores", "edges": [{"source": "stem", "layers": [
            "Flatten", {"Linear": {"out_features": features}}]}]}
    )  # fmt: skip
    content["outputs"]["label"] = {"group": "scores"}
    return parse_network(content)


class TestForms:
    def test_a_twist_is_found_by_its_fields(self):
        found = find_reference(spec_of(), "/cmd:twist.linear.x,twist.angular.z")
        assert (found.output, found.topic, found.kind) == ("drive", "/cmd", "numbers")
        assert found.names == ("linear.x", "angular.z")
        assert found.answer(torch.tensor([[0.25, 3.0]])).tolist() == [1.0, 0.25]  # clipped to 1

    def test_a_named_twist_takes_other_words_in_its_own_order(self):
        found = find_reference(spec_of(), "drive=/ackermann:drive.steering_angle,drive.speed")
        assert found.names == ("angular.z", "linear.x")
        assert found.fields == ("drive.steering_angle", "drive.speed")

    def test_one_field_for_a_tensor_is_its_class(self):
        found = find_reference(spec_of(), "label=/sign:data")
        assert (found.kind, found.size) == ("class", 3)
        assert found.answer(torch.tensor([[0.1, -3.0, 0.7]])).tolist() == [2.0]

    def test_a_field_for_each_element_compares_numbers(self):
        found = find_reference(spec_of(), "label=/pose:x,y,z")
        assert found.kind == "numbers"
        assert found.answer(torch.tensor([[1.0, 2.0, 4.0]])).tolist() == [1, 2, 4]
        assert find_reference(spec_of(1), "label=/pose:x").kind == "numbers"

    def test_a_map_is_read_in_the_order_of_its_message(self):
        spec = spec_of()
        count = spec.group("deep") and 8 * 6 * 8
        fields = ",".join(f"data[{k}]" for k in range(count))
        found = find_reference(spec, f"features=/map:{fields}")
        state = torch.arange(float(count)).reshape(1, 8, 6, 8)
        assert found.answer(state).tolist() == state[0].permute(1, 2, 0).flatten().tolist()


BAD = {
    "no colon": ("/cmd", "TOPIC:FIELD"),
    "no field": ("/cmd:", "TOPIC:FIELD"),
    "no twist has it": ("/cmd:twist.angular.x", "drive (angular.z, linear.x)"),
    "no such output": ("nope=/cmd:x", "drive, features, label"),
    "too many words for a twist": ("drive=/cmd:a,b,c", "angular.z, linear.x"),
    "neither class nor all elements": ("label=/cmd:a,b", "3 fields or 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_reference_that_does_not_fit_is_refused(case):
    text, hint = BAD[case]
    with pytest.raises(ParameterError) as error:
        find_reference(spec_of(), text)
    assert hint in str(error.value)


def test_two_references_for_one_output_are_refused():
    with pytest.raises(ParameterError, match="two references for output 'drive'"):
        find_references(spec_of(), ["/cmd:twist.angular.z", "drive=/cmd:twist.linear.x"])


@pytest.mark.parametrize("value", [3, -1, 0.5])
def test_what_is_no_class_is_refused_by_value(value):
    reference = find_reference(spec_of(), "label=/sign:data")
    reference.check(np.array([[0], [2], [np.nan]], np.float32), "bag")
    with pytest.raises(BagError, match="integers from 0 to 2") as error:
        reference.check(np.array([[0], [value]], np.float32), "bag")
    assert str(value) in str(error.value) and "bag: /sign: data" in str(error.value)


@pytest.mark.parametrize("text", ["/cmd:twist.angular.z", "label=/sign:data"])
def test_an_answer_that_is_no_number_is_an_error(text):
    reference = find_reference(spec_of(), text)
    with pytest.raises(BagError, match="not a number"):
        reference.answer(torch.full((1, reference.size), torch.nan))
