"""A trial is one child at a time; its address and its end are told, and it ends when asked."""

import sys
import time

import pytest

from streaming_net_ros.viewer.children import TOKEN_VARIABLE
from streaming_net_ros.viewer.trial import Trial

SERVES = """
import signal, sys
print("warming up")
print("/car_trial at http://127.0.0.1:4711/?token=t", flush=True)
signal.pause()
"""
FAILS = "import sys; print('error: no such thing', file=sys.stderr); sys.exit(2)"


@pytest.fixture
def started(tmp_path):
    trials = []

    def start(script, host=""):
        trials.append(Trial("t", host, (sys.executable, "-c", script)))
        assert trials[-1].start(tmp_path / "car.yaml", "car")
        return trials[-1]

    yield start
    for trial in trials:
        trial.stop()


def until(holds):
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_trial_tells_its_address_and_ends_when_it_is_asked(started, tmp_path):
    trial = started(SERVES)
    until(lambda: trial.address)
    assert trial.address == "http://127.0.0.1:4711/?token=t"
    assert (trial.is_running, trial.told) == (True, "car drives")
    assert not trial.start(tmp_path / "other.yaml", "other")
    trial.stop()
    assert (trial.is_running, trial.address, trial.told) == (False, "", "car has ended")
    trial.stop()


def test_why_a_trial_failed_is_told(started):
    trial = started(FAILS)
    until(lambda: not trial.is_running and "no such thing" in trial.told)
    assert trial.told == "car has ended: error: no such thing"


def test_a_trial_is_started_with_a_namespace_of_its_own_and_follows_this_process(started):
    trial = started("import sys; print('error', sys.argv[1:]); sys.exit(1)", "::1")
    until(lambda: "argv" not in trial.told and "error" in trial.told)
    for word in ("car.yaml", "--simulate", "'car_trial'", "--follow-pid", "'--host', '::1'"):
        assert word in trial.told


def test_the_token_is_not_on_the_command_line_that_others_can_read(started):
    script = f"import os, sys; print('error', os.environ['{TOKEN_VARIABLE}'], sys.argv)"
    trial = started(script + "; sys.exit(1)")
    until(lambda: "error t [" in trial.told)
    assert "'t'" not in trial.told and "--token" not in trial.told


@pytest.mark.parametrize(
    "host, address, port",
    [
        ("127.0.0.1", "http://127.0.0.1:4711/?token=t", 4711),
        ("::1", "http://127.0.0.1:4711/?token=t", 4711),
        ("localhost", "http://127.0.0.1:4711/?token=t", 4711),
        ("0.0.0.0", "http://robot:4711/?token=t", None),
    ],
)
def test_the_link_leads_to_the_trial_from_where_the_visitor_is(started, host, address, port):
    trial = started(SERVES, host)
    assert trial.seen_from("robot") == ("", None) or trial.address
    until(lambda: trial.address)
    assert trial.seen_from("robot") == (address, port)


def test_nothing_is_told_before_anything_is_started():
    assert Trial("t").told == "nothing is started"
