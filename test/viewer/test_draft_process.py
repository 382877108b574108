"""Checks run beside the page: a draft that takes too long ends its process, and nothing else."""

import io
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from streaming_net_ros.cli.new_text import NewNetwork, network_text
from streaming_net_ros.viewer.draft import check_draft
from streaming_net_ros.viewer.draft_process import Checker, serve

TEXT = network_text(NewNetwork("car"))


def test_every_request_has_its_answer_in_order(tmp_path):
    asked = [{"text": text, "file": "car.yaml", "root": str(tmp_path)} for text in (TEXT, "[", "")]
    answers = io.BytesIO()
    serve(io.BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in asked)), answers)
    ready, *told = answers.getvalue().splitlines()
    assert ready == b"ready"
    assert [json.loads(one) for one in told] == [
        check_draft(one["text"], tmp_path, "car.yaml") for one in asked
    ]


# Stands in for the process, which takes seconds to load torch.
QUICK = """
import json, sys, time
print("ready", flush=True)
for line in sys.stdin:
    text = json.loads(line)["text"]
    if text == "slow":
        time.sleep(600)
    if text == "die":
        sys.exit(1)
    print(json.dumps({"error": "", "name": text}), flush=True)
"""


@pytest.fixture
def checker(tmp_path):
    made = Checker(tmp_path, check_s=1.0, command=(sys.executable, "-c", QUICK))
    yield made
    made.close()


def test_one_process_checks_many_drafts(checker):
    assert [checker.check(f"draft{n}", "a.yaml")["name"] for n in range(5)] == [
        f"draft{n}" for n in range(5)
    ]
    assert checker.started == 1


@pytest.mark.parametrize("text", ["slow", "die"])
def test_a_draft_that_takes_too_long_or_breaks_its_process_costs_only_itself(checker, text):
    checker.check("first", "a.yaml")
    assert "takes more than 1 s, or more memory" in checker.check(text, "a.yaml")["error"]
    assert checker.check("next", "a.yaml")["name"] == "next"
    assert checker.started == 2


def test_a_process_that_does_not_start_is_told(tmp_path):
    broken = Checker(tmp_path, command=(sys.executable, "-c", "import sys; sys.exit(1)"))
    assert "does not start" in broken.check("first", "a.yaml")["error"]


def test_closing_ends_a_check_that_is_under_way_and_begins_none(checker):
    checker.check("first", "a.yaml")
    checker._check_s = 60.0
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(checker.check, "slow", "a.yaml")
        while not checker._lock.locked():
            pass
        checker.close()
        assert asked.result(20)["error"]
    assert "does not start" in checker.check("next", "a.yaml")["error"]
    assert checker.started == 1


def test_a_check_that_nobody_ends_is_ended_by_the_system():
    code = (
        "from streaming_net_ros.viewer.draft_process import limit_processor_time as limit\n"
        "limit(0.01)\nwhile True: pass"
    )
    assert subprocess.call([sys.executable, "-c", code], timeout=60) == -signal.SIGXCPU
