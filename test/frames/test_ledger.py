"""The file that a run can be computed again from."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.ledger import (
    RESTART,
    ChangeLine,
    FrameLine,
    InputLine,
    LedgerWriter,
    ResponseLine,
    RunHead,
    Tuned,
    read_ledger,
)

HEAD = RunHead("tiny", "abc", "seed 0", {"image -> stem": 1}, 30.0, "realtime", ("stem",))
LINES = [
    InputLine("image", 4, 123, 123, None, 1),
    InputLine("speed", 4, 120, 123, (0.1, -2.0), 2),
    FrameLine("stem", 5, {"image": 4, "deep": 1}, ("deep",), 2, False, True, 1000, 3,
              {"image": 5}, {"image": 7, "deep": -9}),
    ResponseLine("drive", 5, False, 4),
]  # fmt: skip


def write(path, lines=LINES, head=HEAD):
    with LedgerWriter(path, head) as writer:
        for line in lines:
            writer.write(line)


def test_files_of_several_hosts_are_merged_by_time(tmp_path):
    write(tmp_path / "one", [LINES[0], LINES[3]], replace(HEAD, members=("head",), seed=3))
    write(tmp_path / "two", LINES[1:3], replace(HEAD, members=("deep",), torch_threads=2))
    head, lines = read_ledger([tmp_path / "one", tmp_path / "two"])
    assert head == HEAD and (head.members, head.seed, head.torch_threads) == (("head",), 3, 1)
    assert lines == LINES


def test_a_process_that_was_started_again_is_told_where_its_lines_go_on(tmp_path):
    write(tmp_path / "one", LINES)
    write(
        tmp_path / "one", [], replace(HEAD, members=("head",))
    )  # another one, for the first time
    write(tmp_path / "one", [replace(LINES[2], at_ns=9)])
    _, lines = read_ledger([tmp_path / "one"])
    restart = ChangeLine("stem", 0, RESTART, "", 4)
    assert lines == [*LINES, restart, replace(LINES[2], at_ns=9)]


def test_what_computed_the_groups_is_gathered_from_all_processes(tmp_path):
    stem, head = {"stem": Tuned("compile", 1)}, {"head": Tuned("eager", 2)}
    write(tmp_path / "one", [], HEAD)
    write(tmp_path / "one", LINES, replace(HEAD, tuned=stem))
    write(tmp_path / "two", [], replace(HEAD, members=("head",), tuned=head))
    write(tmp_path / "two", [], replace(HEAD, members=("head",), tuned=head))  # started again
    told, lines = read_ledger([tmp_path / "one", tmp_path / "two"])
    assert told.tuned == stem | head and lines == LINES
    write(tmp_path / "two", [], replace(HEAD, tuned={"head": Tuned("openvino", 2)}))
    with pytest.raises(LedgerError, match=r"two: line 3: group 'head' was computed in two ways"):
        read_ledger([tmp_path / "one", tmp_path / "two"])


def test_a_ledger_of_before_there_was_tuning_is_read(tmp_path):
    content = asdict(HEAD)
    del content["tuned"]
    (tmp_path / "old").write_text(json.dumps(content) + "\n")
    assert read_ledger([tmp_path / "old"]) == (HEAD, [])


def test_a_clock_that_is_set_back_reorders_nothing(tmp_path):
    jumped = [
        replace(line, at_ns=at_ns) for line, at_ns in zip(LINES, (50, 60, 7, 70), strict=True)
    ]
    write(tmp_path / "one", jumped)
    assert read_ledger([tmp_path / "one"])[1] == jumped
    other = [ResponseLine("drive", frame, True, at_ns) for frame, at_ns in ((1, 55), (2, 65))]
    write(tmp_path / "two", other)
    merged = [jumped[0], other[0], jumped[1], jumped[2], other[1], jumped[3]]
    assert read_ledger([tmp_path / "one", tmp_path / "two"])[1] == merged


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_the_ledger_and_not_the_run():
    told = []
    with LedgerWriter(Path("/dev/full"), HEAD, told.append) as writer:
        for line in LINES:
            writer.write(line)
    assert told == [writer.failure] and "No space left on device" in writer.failure


@pytest.fixture
def small_writes(monkeypatch):
    """os.write takes a few bytes at a time, and so many in all."""
    taken, most, real = [0], [1 << 60], os.write

    def write_some(file, data):
        if taken[0] >= most[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken[0] += len(data[:7])
        return real(file, data[:7])

    monkeypatch.setattr(os, "write", write_some)
    return most


def test_a_line_that_is_taken_in_parts_is_completed(small_writes, tmp_path):
    write(tmp_path / "ledger")
    assert read_ledger([tmp_path / "ledger"])[1] == LINES


def test_a_line_that_is_taken_in_part_is_the_last(small_writes, tmp_path):
    told = []
    writer = LedgerWriter(tmp_path / "ledger", HEAD, told.append)
    small_writes[0] = (tmp_path / "ledger").stat().st_size + 20
    for line in LINES:
        writer.write(line)
    small_writes[0] = 1 << 60  # there is space again, but the ledger has a gap
    writer.write(LINES[0])
    assert told == [writer.failure] and len(told) == 1
    assert read_ledger([tmp_path / "ledger"])[1] == []


def test_processes_append_to_one_file_without_mixing_lines(tmp_path):
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:]; from test_ledger import *;"
        "write(pathlib.Path(sys.argv[1]), LINES * 500, replace(HEAD, members=()))"
    )
    folder = str(__import__("pathlib").Path(__file__).parent)
    command = [sys.executable, "-c", code, str(tmp_path / "ledger"), folder, *sys.path]
    for child in [subprocess.Popen(command) for _ in range(3)]:
        assert child.wait(60) == 0
    assert len(read_ledger([tmp_path / "ledger"])[1]) == 3 * 500 * len(LINES)


def test_a_line_at_which_a_process_was_killed_is_left_out(tmp_path):
    write(tmp_path / "ledger")
    text = (tmp_path / "ledger").read_text()
    (tmp_path / "ledger").write_text(text[:-20])
    assert read_ledger([tmp_path / "ledger"])[1] == LINES[:-1]


def line(**changes):
    return json.dumps({"kind": "response", "output": "a", "frame": 1, "has_left": True, "at_ns": 1}
                      | changes)  # fmt: skip


def fed(**changes):
    return json.dumps({"kind": "input", "name": "a", "frame": 1, "captured_ns": 1, "image_ns": 1,
                       "values": [1.0], "at_ns": 1} | changes)  # fmt: skip


def head(**changes):
    return json.dumps({"kind": "run", "network": "a", "fingerprint": "", "weights": "",
                       "delays": {}, "rate_hz": 30, "mode": "realtime"} | changes)  # fmt: skip


@pytest.mark.parametrize(
    "text, hint",
    [
        ("{", "line 2"), ("[]", "line 2"), ("5", "line 2"), ("\x00", "line 2"), ("\xff", "line 2"),
        ("[" * 100_000, "line 2"), (line(kind="code"), "'code'"), (line(extra=1), "extra"),
        (json.dumps({"kind": "response"}), "required"), (line(kind="answer"), "'answer'"),
        (line(frame="5"), "frame"), (line(frame=1.5), "frame"), (line(at_ns=None), "at_ns"),
        (line(frame=-1), "frame"), (line(frame=1 << 63), "frame"), (line(at_ns=-1), "at_ns"),
        (fed(captured_ns=1 << 63), "captured_ns"), (fed(image_ns=-(1 << 70)), "image_ns"),
        (fed(values=[float("nan")]), "values"), (fed(values=[1e39]), "values"),
        (head(rate_hz=0), "rate_hz"), (head(rate_hz=float("inf")), "rate_hz"),
        (head(torch_threads=0), "torch_threads"), (head(torch_threads=10**6), "torch_threads"),
        (head(seed=-1), "seed"), (head(mode="slow"), "mode"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_named(text, hint, tmp_path):
    write(tmp_path / "ledger", [])
    with (tmp_path / "ledger").open("a", encoding="latin-1") as file:
        file.write(text + "\n")
    with pytest.raises(LedgerError, match="line 2") as told:
        read_ledger([tmp_path / "ledger"])
    assert hint in str(told.value)


def test_ledgers_of_two_runs_are_not_mixed(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two", head=replace(HEAD, weights="seed 1"))
    with pytest.raises(LedgerError, match="another run"):
        read_ledger([tmp_path / "one", tmp_path / "two"])


def test_a_file_that_is_no_ledger_is_told(tmp_path):
    with pytest.raises(LedgerError, match="cannot read"):
        read_ledger([tmp_path / "none"])
    (tmp_path / "empty").touch()
    with pytest.raises(LedgerError, match="no ledger"):
        read_ledger([tmp_path / "empty"])
    with pytest.raises(LedgerError, match="cannot write"):
        write(tmp_path / "empty" / "ledger")
