"""The back-off, as pure numbers: no clock, no process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.launching import BackOff, RespawnPolicy

KILLED = -9
CRASHED = 1


def delays(policy, lives_s, code=KILLED):
    back_off = BackOff("stem", policy)
    return [back_off.delay_s(code, lived_s) for lived_s in lives_s]


def test_early_ends_in_a_row_double_the_delay_up_to_the_longest():
    policy = RespawnPolicy(0.5, 8.0, settled_s=30, most_early_ends=100)
    assert delays(policy, [1] * 7) == [0.5, 1, 2, 4, 8, 8, 8]


def test_a_long_life_sets_the_delay_back():
    policy = RespawnPolicy(0.5, 8.0, settled_s=30)
    assert delays(policy, [1, 1, 1, 31, 1, 31, 31]) == [0.5, 1, 2, 0.5, 1, 0.5, 0.5]


def test_a_crash_loop_ends_with_an_error_that_names_the_process_and_its_end():
    back_off = BackOff("stem", RespawnPolicy(most_early_ends=3))
    assert [back_off.delay_s(CRASHED, 1.0) for _ in range(2)] == [0.5, 1.0]
    with pytest.raises(RunError, match=r"'stem' has ended 3 times in a row .*exit code 1"):
        back_off.delay_s(CRASHED, 1.0)


@pytest.mark.parametrize("code", [2, 3])
def test_who_refuses_its_input_is_not_started_again_however_long_it_lived(code):
    for lived_s in (0.1, 1e6):
        with pytest.raises(RunError, match=rf"'stem' refuses to run \(exit code {code}\)"):
            BackOff("stem", RespawnPolicy()).delay_s(code, lived_s)


@pytest.mark.parametrize(
    ("code", "told"), [(-11, "killed by SIGSEGV"), (-40, "killed by signal 40"), (1, "code 1")]
)
def test_the_error_tells_how_the_process_ended(code, told):
    with pytest.raises(RunError, match=told):
        BackOff("stem", RespawnPolicy(most_early_ends=1)).delay_s(code, 0.0)


@given(st.lists(st.floats(0, 100)), st.sampled_from([KILLED, CRASHED, 0]))
def test_delays_stay_within_the_policy_and_ends_in_a_row_are_bounded(lives_s, code):
    policy = RespawnPolicy(0.5, 8.0, settled_s=30, most_early_ends=6)
    back_off, early = BackOff("stem", policy), 0
    for lived_s in lives_s:
        early = early + 1 if lived_s < policy.settled_s else 0
        try:
            assert policy.first_delay_s <= back_off.delay_s(code, lived_s) <= 8.0
        except RunError:
            assert early >= policy.most_early_ends - 1
            return
        assert early < policy.most_early_ends


@pytest.mark.parametrize(
    "wrong", [{"first_delay_s": -1}, {"longest_delay_s": -1}, {"settled_s": -1},
              {"most_early_ends": 0}]
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ParameterError, match="respawn policy"):
        RespawnPolicy(**wrong)
