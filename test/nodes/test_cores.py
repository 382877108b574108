"""A lockstep process waits for a free core; in realtime one may go before all usual ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.nodes import container as container_module
from streaming_net_ros.nodes.cores import (
    leave_others_their_cores,
    others_keep_their_cores,
    take_priority,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="not Linux")


def policies_in_a_thread(act):
    """Of a thread that acts, and of one that it starts then."""
    told = []

    def run():
        act()
        told.append(os.sched_getscheduler(0))
        later = threading.Thread(target=lambda: told.append(os.sched_getscheduler(0)))
        later.start()
        later.join()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return told


def test_the_thread_and_those_that_it_starts_wait_and_no_other():
    assert policies_in_a_thread(leave_others_their_cores) == [os.SCHED_BATCH] * 2
    assert policies_in_a_thread(lambda: None) == [os.SCHED_OTHER] * 2


def test_a_system_that_refuses_changes_nothing(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert policies_in_a_thread(leave_others_their_cores) == [os.SCHED_OTHER] * 2


def test_a_policy_that_was_chosen_stays():
    def choose_and_ask():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        leave_others_their_cores()

    assert policies_in_a_thread(choose_and_ask) == [os.SCHED_IDLE] * 2


def test_for_a_while_is_over_with_it():
    told = []

    def for_a_while():
        with others_keep_their_cores():
            told.append(os.sched_getscheduler(0))

    assert policies_in_a_thread(for_a_while) == [os.SCHED_OTHER] * 2
    assert told == [os.SCHED_BATCH]


def test_a_policy_that_was_chosen_stays_behind_it_too():
    def choose_and_run():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with others_keep_their_cores():
            assert os.sched_getscheduler(0) == os.SCHED_IDLE

    assert policies_in_a_thread(choose_and_run) == [os.SCHED_IDLE] * 2


PINNED = """
import os, threading
from streaming_net_ros.nodes.cores import pin_process
core = min(os.sched_getaffinity(0))
go, seen = threading.Event(), []
def work():
    go.wait(); seen.append(os.sched_getaffinity(0))
thread = threading.Thread(target=work); thread.start()
before = os.sched_getaffinity(0)
assert "cannot pin" in pin_process([60000])
assert os.sched_getaffinity(0) == before
assert pin_process([core]) == ""
go.set(); thread.join(); work()
print(seen == [{core}, {core}])
"""


def printed_by(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_thread_of_a_process_is_pinned_and_no_such_core_is_told():
    assert printed_by(PINNED) == "True"


PROCESS = """
import os, threading
from streaming_net_ros.nodes.cores import take_priority

end = threading.Event()
def told():
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    assert {os.sched_getscheduler(t) for t in threads} == {os.SCHED_RR}
    return {t: os.sched_getparam(t).sched_priority for t in threads}

before = threading.Thread(target=end.wait)
before.start()
why_not = take_priority(3) or take_priority(7)
after = threading.Thread(target=end.wait)
after.start()
caller = threading.get_native_id()
expected = {before.native_id: 7, caller: 8, after.native_id: 8}  # of whoever has started it
print(why_not or (told() == told() | expected and set(told().values()) == {7, 8}))
end.set()
"""


def test_all_threads_of_a_process_have_the_priority_and_the_caller_one_more():
    printed = printed_by(PROCESS)
    if "Operation not permitted" in printed:
        pytest.skip(f"this machine does not allow it: {printed}")
    assert printed == "True"


def test_threads_that_appear_meanwhile_are_not_forgotten(monkeypatch):
    usual, wanted = (os.SCHED_OTHER, 0), (os.SCHED_RR, 5)
    policies = {1: usual, 2: usual}

    def set_policy(thread, policy, param):
        policies.setdefault(3, usual)  # one more, of a thread that did not have it yet
        if thread == 2:
            del policies[2]
            raise ProcessLookupError  # it has ended since it was found
        policies[thread] = policy, param.sched_priority

    class Tasks:
        def iterdir(self):
            return [Path(str(thread)) for thread in (*policies, 4)]  # 4 has just ended

    def policy_of(thread):
        if thread not in policies:
            raise ProcessLookupError
        return policies[thread][0]

    monkeypatch.setattr("streaming_net_ros.nodes.cores._THREADS", Tasks())
    monkeypatch.setattr(os, "sched_setscheduler", set_policy)
    monkeypatch.setattr(os, "sched_getscheduler", policy_of)
    monkeypatch.setattr(os, "sched_getparam", lambda thread: os.sched_param(policies[thread][1]))
    assert take_priority(5) == ""
    assert policies == {1: wanted, 3: wanted}


def test_a_system_that_takes_no_priority_and_says_nothing_ends_the_asking(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    assert "some threads never have it" in take_priority(5)


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.ros
def test_a_priority_that_is_not_allowed_is_a_warning_of_every_member(
    monkeypatch, write_network, tiny, namespace
):
    from diagnostic_msgs.msg import DiagnosticArray

    from harness import composed

    path = write_network(tiny)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    heard = []
    with composed(path, namespace, mode="realtime", realtime_priority=7) as (container, robot):
        robot.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)

        def told():
            return [one for array in heard for one in array.status if namespace in one.name]

        def names():
            return {one.name for one in told()}

        assert len(container.members) > 1
        assert robot.host.spin(lambda: len(names()) == len(container.members), 10)
        for one in told():
            assert one.level == b"\x01"
            assert "no real-time priority 7" in one.message and "rtprio" in one.message


@pytest.mark.ros
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mode": "lockstep", "realtime_priority": 7}, "no effect in lockstep"),
        ({"mode": "realtime"}, ""),
    ],
)
def test_nobody_asks_for_a_priority_unless_told_so_and_in_realtime(
    settings, told, monkeypatch, write_network, tiny, namespace
):
    from harness import composed

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with composed(write_network(tiny), namespace, **settings) as (container, _):
        assert len(container.warnings) == bool(told)
        assert told in "".join(container.warnings)


@pytest.mark.ros
@pytest.mark.parametrize("autostart", [True, False])
def test_the_priority_is_taken_once_all_members_are_active_and_by_threads_to_come(
    autostart, monkeypatch, write_network, tiny, namespace
):
    from harness import composed

    taken, given = [], []
    monkeypatch.setattr(
        container_module,
        "take_priority",
        lambda priority: taken.append((priority, threading.get_native_id())) or "",
    )
    monkeypatch.setattr(
        container_module, "give_priority", lambda thread, priority: given.append(priority)
    )
    settings = {"mode": "realtime", "realtime_priority": 7, "autostart": autostart}
    with composed(write_network(tiny), namespace, **settings) as (container, _):
        for transition in () if autostart else ("trigger_configure", "trigger_activate"):
            for member in container.members:
                assert taken == []
                getattr(member, transition)()
        assert taken == [(7, threading.get_native_id())] and container.warnings == []
        assert given == []
        container._prepare_line()
        assert given == [7]
