"""What a training tells: values that come back from JSON as they were."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.training import Step, Validation


@given(
    st.integers(1, 10**6),
    st.lists(st.lists(st.floats(0, 9, width=32), min_size=2, max_size=2), min_size=1),
    st.floats(),
)
def test_a_validation_comes_back_from_json(step, errors, score):
    one = Validation(step, {"a/b": np.array(errors, np.float32)}, {"a/b": ("x", "y")}, score)
    other = Validation.from_json(json.loads(json.dumps(one.to_json())))
    assert (other.step, other.columns) == (one.step, one.columns)
    assert other.score == score or math.isnan(score)
    assert np.array_equal(other.errors["a/b"], one.errors["a/b"])


def test_a_validation_tells_of_the_first_and_the_last_response():
    errors = np.array([[0.5, 0.25], [0.3, 0.2], [0.125, 0.1]], np.float32)
    one = Validation(7, {"main/drive": errors}, {"main/drive": ("angular.z", "linear.x")}, 1.0)
    assert str(one) == (
        "step 7: drive angular.z 0.500 at the first response, 0.125 after 3; "
        "drive linear.x 0.250 at the first response, 0.100 after 3"
    )


def test_a_steps_loss_is_the_sum_of_its_learners():
    assert Step(1, {"a": 0.5, "b": 0.25}, {}, {}).loss == 0.75
    assert Step(1, {}, {}, {}).loss == 0
