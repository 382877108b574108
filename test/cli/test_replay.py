"""``streaming-net replay``: a realtime run over ROS, with holds and skips, computed again."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml

from networks import TINY, jittery_network, two_groups
from recordings import write_toy_bag
from streaming_net_ros.cli.app import main

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]


@pytest.fixture
def replay(streaming_net):
    return partial(streaming_net, "replay")


def troubled(content, slow):
    """The network with groups that take up to 60 ms of a period of 20, at unseeded random."""
    for group in content["groups"]:
        group["args"]["most_ms"] = 60 if group["name"] in slow else 5
    return {**content, "rate_hz": 50}


TROUBLED = {
    "composed": ([], troubled(jittery_network(), ["memory", "deep"])),
    "processes": (["--processes"], troubled(two_groups(jittery_network()), ["stem", "head"])),
}


@pytest.mark.parametrize("case", TROUBLED)
def test_a_realtime_run_with_holds_and_skips_is_computed_again_bit_for_bit(
    case, write_network, tmp_path, namespace, streaming_net
):
    processes, content = TROUBLED[case]
    write_toy_bag(tmp_path / "bag", frames=60)
    given = [write_network(content), "--bag", tmp_path / "bag"]
    done = streaming_net(
        "run", *given, "--mode", "realtime", "--record", tmp_path / "answers",
        "--ledger", tmp_path / "ledger", "--namespace", namespace, *processes,
    )  # fmt: skip
    assert done.code == 0, done.err
    done = streaming_net(
        "replay", *given, "--ledger", tmp_path / "ledger", "--check", tmp_path / "answers",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["held"] > 10 and told["skipped"] > 10
    assert told["answers"]["drive"] > 50 and set(told["differences"].values()) == {None}


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A network file, a recording, and what a lockstep run of it left."""
    folder = tmp_path_factory.mktemp("lived")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "rate_hz": 20}))
    write_toy_bag(folder / "bag", frames=8)
    given = ["--bag", folder / "bag", "--record", folder / "answers", "--ledger",
             folder / "ledger", "--namespace", "lived"]  # fmt: skip
    assert main(["run", *map(str, [folder / "tiny.yaml", *given])]) == 0
    return folder


def test_a_lockstep_run_can_be_replayed_and_other_answers_are_told(lived, replay, tmp_path):
    given = [lived / "tiny.yaml", "--bag", lived / "bag", "--check", lived / "answers"]
    done = replay(*given, "--ledger", lived / "ledger")
    assert done.code == 0 and "drive: 8 answers: as recorded, bit for bit" in done.out
    lines = (lived / "ledger").read_text().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if '"response"' in line)
    (tmp_path / "shorter").write_text("".join(lines[:last] + lines[last + 1 :]))
    done = replay(*given, "--ledger", tmp_path / "shorter")
    assert done.code == 3 and "7 answers, recorded 8" in done.err


def test_a_ledger_without_its_recording_is_told(lived, replay, tmp_path):
    write_toy_bag(tmp_path / "other", frames=3)
    done = replay(lived / "tiny.yaml", "--bag", tmp_path / "other", "--ledger", lived / "ledger")
    assert done.code == 2 and "an image of the run is not in the recording" in done.err


def test_a_ledger_that_no_run_can_have_written_is_told(lived, replay, tmp_path):
    text = (lived / "ledger").read_text()
    (tmp_path / "changed").write_text(text.replace('"inputs":{"image":', '"inputs":{"head":'))
    done = replay(lived / "tiny.yaml", "--bag", lived / "bag", "--ledger", tmp_path / "changed")
    assert done.code == 2 and "of group 'stem': unknown source" in done.err


def test_a_run_writes_over_no_ledger(lived, streaming_net):
    given = ["--bag", lived / "bag", "--ledger", lived / "ledger"]
    done = streaming_net("run", lived / "tiny.yaml", *given)
    assert done.code == 2 and "will not write over" in done.err
