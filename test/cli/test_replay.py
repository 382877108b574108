"""``streaming-net replay``: a realtime run over ROS, with holds and skips, computed again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from networks import jittery_network
from recordings import write_toy_bag

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]


def streaming_net(*arguments):
    command = [sys.executable, "-m", "streaming_net_ros.cli.app", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def troubled(write_network):
    """Groups that take up to 60 ms of a period of 20, at unseeded random."""
    content = jittery_network()
    for group in content["groups"]:
        group["args"]["most_ms"] = 60 if group["name"] in ("memory", "deep") else 5
    return write_network({**content, "rate_hz": 50})


@pytest.mark.parametrize("processes", [[], ["--processes"]], ids=["composed", "processes"])
def test_a_realtime_run_with_holds_and_skips_is_computed_again_bit_for_bit(
    processes, troubled, tmp_path, namespace
):
    write_toy_bag(tmp_path / "bag", frames=60)
    given = [troubled, "--bag", tmp_path / "bag"]
    done = streaming_net(
        "run", *given, "--mode", "realtime", "--record", tmp_path / "answers",
        "--ledger", tmp_path / "ledger", "--namespace", namespace, *processes,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = streaming_net("replay", *given, "--ledger", tmp_path / "ledger", "--check",
                         tmp_path / "answers", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["held"] > 10 and told["skipped"] > 10
    assert told["answers"]["drive"] > 50 and set(told["differences"].values()) == {None}


@pytest.fixture
def lived(tiny_path, tmp_path, namespace):
    """A recording and what a run of it left."""
    write_toy_bag(tmp_path / "bag", frames=8)
    done = streaming_net("run", tiny_path, "--bag", tmp_path / "bag", "--record",
                         tmp_path / "answers", "--ledger", tmp_path / "ledger",
                         "--namespace", namespace)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.fixture
def tiny_path(write_network, tiny):
    return write_network({**tiny, "rate_hz": 20})


def test_a_lockstep_run_can_be_replayed_and_other_answers_are_told(lived, tiny_path):
    given = ["replay", tiny_path, "--bag", lived / "bag", "--check", lived / "answers"]
    done = streaming_net(*given, "--ledger", lived / "ledger")
    assert done.returncode == 0 and "drive: 8 answers: as recorded, bit for bit" in done.stdout
    lines = (lived / "ledger").read_text().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if '"response"' in line)
    (lived / "shorter").write_text("".join(lines[:last] + lines[last + 1 :]))
    done = streaming_net(*given, "--ledger", lived / "shorter")
    assert done.returncode == 3 and "7 answers, recorded 8" in done.stderr


def test_a_ledger_without_its_recording_is_told(lived, tiny_path, tmp_path):
    write_toy_bag(tmp_path / "other", frames=3)
    done = streaming_net(
        "replay", tiny_path, "--bag", tmp_path / "other", "--ledger", lived / "ledger"
    )
    assert done.returncode == 2 and "an image of the run is not in the recording" in done.stderr


def test_a_ledger_that_no_run_can_have_written_is_told(lived, tiny_path):
    text = (lived / "ledger").read_text()
    (lived / "changed").write_text(text.replace('"inputs":{"image":', '"inputs":{"head":'))
    done = streaming_net(
        "replay", tiny_path, "--bag", lived / "bag", "--ledger", lived / "changed"
    )
    assert done.returncode == 2 and "of group 'stem': unknown source" in done.stderr


def test_a_run_writes_over_no_ledger(lived, tiny_path):
    done = streaming_net("run", tiny_path, "--bag", lived / "bag", "--ledger", lived / "ledger")
    assert done.returncode == 2 and "will not write over" in done.stderr
