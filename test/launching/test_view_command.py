"""The page beside a launched network: one command, made of the launch arguments."""

from __future__ import annotations

import os

from streaming_net_ros.launching.actions import view_command

NONE = {"namespace": "", "rollout": "", "rate_hz": "", "weights": "", "view_arguments": ""}


def test_the_page_looks_at_the_network_that_is_launched_and_ends_with_launch():
    command = view_command("/a/pilot.yaml", NONE, "pilot")
    assert command[-6:] == [
        "view", "/a/pilot.yaml", "--namespace", "pilot", "--follow-pid", str(os.getpid())
    ]  # fmt: skip


def test_what_was_said_of_the_network_is_said_to_its_page():
    given = {
        "namespace": "robot",
        "rollout": "sequential",
        "rate_hz": "15",
        "weights": "w.safetensors",
        "view_arguments": "--host 0.0.0.0 --token 'a b'",
    }
    command = view_command("n.yaml", given, "n")
    told = dict(zip(command[5::2], command[6::2], strict=True))
    assert told == {
        "--namespace": "robot", "--rollout": "sequential", "--rate-hz": "15",
        "--weights": "w.safetensors", "--follow-pid": str(os.getpid()), "--host": "0.0.0.0",
        "--token": "a b",
    }  # fmt: skip
