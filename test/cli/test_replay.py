"""``streaming-net replay``: a realtime run over ROS, with holds and skips, computed again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import yaml

from networks import TINY, jittery_network
from recordings import write_toy_bag
from streaming_net_ros.cli.app import main

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]


def streaming_net(*arguments):
    command = [sys.executable, "-m", "streaming_net_ros.cli.app", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def replay(capsys):
    """Runs the verb in this process: (exit code, what it said)."""
    threads = torch.get_num_threads()

    def run(*arguments):
        code = main(["replay", *map(str, arguments)])
        return code, capsys.readouterr()

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def troubled(write_network):
    """Groups that take up to 60 ms of a period of 20, at unseeded random."""
    content = jittery_network()
    for group in content["groups"]:
        group["args"]["most_ms"] = 60 if group["name"] in ("memory", "deep") else 5
    return write_network({**content, "rate_hz": 50})


@pytest.mark.parametrize("processes", [[], ["--processes"]], ids=["composed", "processes"])
def test_a_realtime_run_with_holds_and_skips_is_computed_again_bit_for_bit(
    processes, troubled, tmp_path, namespace, replay
):
    write_toy_bag(tmp_path / "bag", frames=60)
    given = [troubled, "--bag", tmp_path / "bag"]
    done = streaming_net(
        "run", *given, "--mode", "realtime", "--record", tmp_path / "answers",
        "--ledger", tmp_path / "ledger", "--namespace", namespace, *processes,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    code, said = replay(
        *given, "--ledger", tmp_path / "ledger", "--check", tmp_path / "answers", "--json"
    )
    assert code == 0, said.err
    told = json.loads(said.out)
    assert told["held"] > 10 and told["skipped"] > 10
    assert told["answers"]["drive"] > 50 and set(told["differences"].values()) == {None}


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A network file, a recording, and what a lockstep run of it left."""
    folder = tmp_path_factory.mktemp("lived")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "rate_hz": 20}))
    write_toy_bag(folder / "bag", frames=8)
    done = streaming_net(
        "run", folder / "tiny.yaml", "--bag", folder / "bag", "--record", folder / "answers",
        "--ledger", folder / "ledger", "--namespace", "lived",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_a_lockstep_run_can_be_replayed_and_other_answers_are_told(lived, replay, tmp_path):
    given = [lived / "tiny.yaml", "--bag", lived / "bag", "--check", lived / "answers"]
    code, said = replay(*given, "--ledger", lived / "ledger")
    assert code == 0 and "drive: 8 answers: as recorded, bit for bit" in said.out
    lines = (lived / "ledger").read_text().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if '"response"' in line)
    (tmp_path / "shorter").write_text("".join(lines[:last] + lines[last + 1 :]))
    code, said = replay(*given, "--ledger", tmp_path / "shorter")
    assert code == 3 and "7 answers, recorded 8" in said.err


def test_a_ledger_without_its_recording_is_told(lived, replay, tmp_path):
    write_toy_bag(tmp_path / "other", frames=3)
    code, said = replay(
        lived / "tiny.yaml", "--bag", tmp_path / "other", "--ledger", lived / "ledger"
    )
    assert code == 2 and "an image of the run is not in the recording" in said.err


def test_a_ledger_that_no_run_can_have_written_is_told(lived, replay, tmp_path):
    text = (lived / "ledger").read_text()
    (tmp_path / "changed").write_text(text.replace('"inputs":{"image":', '"inputs":{"head":'))
    code, said = replay(
        lived / "tiny.yaml", "--bag", lived / "bag", "--ledger", tmp_path / "changed"
    )
    assert code == 2 and "of group 'stem': unknown source" in said.err


def test_a_run_writes_over_no_ledger(lived, capsys):
    given = ["--bag", str(lived / "bag"), "--ledger", str(lived / "ledger")]
    assert main(["run", str(lived / "tiny.yaml"), *given]) == 2
    assert "will not write over" in capsys.readouterr().err
