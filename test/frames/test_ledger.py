"""The file that a run can be computed again from."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames import (
    ResponseLine,
    FrameLine,
    InputLine,
    LedgerWriter,
    RunHead,
    read_ledger,
)

HEAD = RunHead("tiny", "abc", "seed 0", {"image -> stem": 1}, 30.0, "realtime", ("stem",))
LINES = [
    InputLine("image", 4, 123, None, 1),
    InputLine("speed", 4, 123, (0.1, -2.0), 2),
    FrameLine("stem", 5, {"image": 4, "deep": 1}, ("deep",), 2, False, True, 1000, 3),
    ResponseLine("drive", 5, False, 4),
]


def write(path, lines=LINES, head=HEAD):
    with LedgerWriter(path, head) as writer:
        for line in lines:
            writer.write(line)


def test_what_was_written_is_read_in_the_order_of_time(tmp_path):
    write(tmp_path / "one", [LINES[3], LINES[1]])
    write(tmp_path / "two", [LINES[2], LINES[0]], replace(HEAD, members=("deep",)))
    head, lines = read_ledger([tmp_path / "one", tmp_path / "two"])
    assert head == HEAD and lines == LINES


def test_processes_append_to_one_file_without_mixing_lines(tmp_path):
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:]; from test_ledger import *;"
        "write(pathlib.Path(sys.argv[1]), LINES * 500)"
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


@pytest.mark.parametrize(
    "text, hint",
    [
        ("{", "line 2"), ("[]", "line 2"), ("5", "line 2"), ("\x00", "line 2"),
        (line(kind="code"), "'code'"), (line(extra=1), "extra"),
        (json.dumps({"kind": "response"}), "required"),
        (line(frame="5"), "frame"), (line(frame=1.5), "frame"), (line(at_ns=None), "at_ns"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_named(text, hint, tmp_path):
    write(tmp_path / "ledger", [])
    with (tmp_path / "ledger").open("a") as file:
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
