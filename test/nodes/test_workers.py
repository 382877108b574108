"""Workers: every task once, light ones by one thread, heavy ones by several, deadlines kept."""

from __future__ import annotations

import math
import queue
import threading
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import wait_until
from streaming_net_ros.nodes import workers
from streaming_net_ros.nodes.workers import WorkerPool


def serve_on():
    """Nobody else brings news here."""


WAIT_S = 20  # for what must happen; nothing waits so long where the laws hold
HEAVY_NS, LIGHT_NS = 10**9, 1000


class Clock:
    """ROS time, set by hand."""

    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns


class Worked:
    """A member with a queue of tasks, as groups have frames."""

    def __init__(self, pool, cost_ns=None):
        self.pool, self.tasks, self.wake_ns, self.asked = pool, [], None, 0
        pool.add(self)
        if cost_ns is not None:  # as if it had worked for long
            self.cost(cost_ns)

    def cost(self, cost_ns):
        known = self.pool._members[self]
        known.cost_ns = cost_ns
        known.add = lambda took_ns: None  # it does not change, however busy this machine is

    def next_task(self, now_ns):
        self.asked += 1
        if self.wake_ns is not None and now_ns >= self.wake_ns:
            self.wake_ns = None
            return self.due
        return self.tasks.pop(0) if self.tasks else None

    def wake_at_ns(self):
        return self.wake_ns

    def give(self, *tasks):
        with self.pool.lock:
            self.tasks += tasks
            self.pool.wake(self)

    def then_wake(self, task):
        """The task, after which the member is ready again, as members do it."""

        def run():
            task()
            with self.pool.lock:
                self.pool.wake(self)

        return run


@contextmanager
def a_pool(threads, now_ns=None, failures=None):
    errors = [] if failures is None else failures
    pool = WorkerPool(threads, 1, now_ns or Clock(), errors.append)
    try:
        yield pool
    finally:
        assert pool.stop(WAIT_S)
    assert failures is not None or not errors


def is_idle(pool):
    """All threads are waiting, and nothing is ready."""
    with pool.lock:
        return pool._free == 0 and not (pool._light or pool._heavy)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([None, LIGHT_NS, HEAVY_NS]), st.integers(0, 8)), max_size=6
    ),
    st.booleans(),
)
def test_every_task_is_run_exactly_once_whatever_tasks_cost(threads, plan, helps):
    with a_pool(threads) as pool:
        pool.start()
        members = [Worked(pool, cost_ns) for cost_ns, _ in plan]
        runs = [[] for _ in plan]
        for at, (_, count) in enumerate(plan):
            member = members[at]
            for number in range(count):
                done = member.then_wake(lambda at=at, number=number: runs[at].append(number))
                if helps and number % 2:
                    with pool.helping(serve_on):
                        member.give(done)
                else:
                    member.give(done)
        assert wait_until(lambda: [len(run) for run in runs] == [count for _, count in plan])
        assert [sorted(run) for run in runs] == [list(range(count)) for _, count in plan]
        assert wait_until(lambda: is_idle(pool))


def test_light_tasks_are_never_run_by_two_threads_while_one_is_at_them():
    with a_pool(3) as pool:
        pool.start()
        members = [Worked(pool, LIGHT_NS) for _ in range(4)]
        assert wait_until(lambda: is_idle(pool))
        at_it, most, done = [], [], queue.Queue()

        def task():
            at_it.append(threading.current_thread())
            most.append(len(at_it))
            for _ in range(100):
                pass
            at_it.pop()
            done.put(threading.current_thread())

        for _ in range(50):
            for member in members:
                member.give(member.then_wake(task))
        for _ in range(200):
            done.get(timeout=WAIT_S)
        assert max(most) == 1


def test_one_that_comes_from_a_heavy_task_leaves_the_light_ones_to_who_is_at_them():
    with a_pool(2) as pool:
        pool.start()
        steps = {name: (threading.Event(), threading.Event()) for name in ("heavy", "light")}
        for name, cost_ns in (("heavy", HEAVY_NS), ("light", LIGHT_NS)):
            begun, over = steps[name]
            Worked(pool, cost_ns).give(lambda b=begun, o=over: b.set() or o.wait(WAIT_S))
            assert begun.wait(WAIT_S)
        done, other = threading.Event(), Worked(pool, LIGHT_NS)
        other.give(done.set)
        steps["heavy"][1].set()
        assert wait_until(lambda: len(pool._changed._waiters) == 1)  # it sleeps, and took nothing
        assert not done.is_set()
        steps["light"][1].set()
        assert done.wait(WAIT_S)


def test_heavy_tasks_are_run_by_as_many_threads_as_there_are():
    with a_pool(3) as pool:
        pool.start()
        together = threading.Barrier(3)
        for cost_ns in (HEAVY_NS, HEAVY_NS, math.inf):  # who is not known may be heavy
            member = Worked(pool, cost_ns)
            member.give(lambda: together.wait(WAIT_S))
        assert wait_until(lambda: is_idle(pool) and not together.broken)


def test_a_light_task_is_run_while_all_others_are_busy():
    with a_pool(2) as pool:
        pool.start()
        begun, over, done = threading.Event(), threading.Event(), threading.Event()
        heavy, light = Worked(pool, HEAVY_NS), Worked(pool, LIGHT_NS)
        heavy.give(lambda: begun.set() or over.wait(WAIT_S))
        assert begun.wait(WAIT_S)
        light.give(done.set)
        assert done.wait(WAIT_S) and not over.is_set()
        over.set()


def test_one_that_helps_while_others_listen_does_heavy_tasks_too_and_wakes_nobody():
    with a_pool(2) as pool:
        pool.start()
        ran, did = queue.Queue(), []
        members = [Worked(pool, cost_ns) for cost_ns in (HEAVY_NS, LIGHT_NS)]
        assert wait_until(lambda: is_idle(pool))
        with pool.helping(lambda: did.append("serve on")):
            for member in members:
                member.give(lambda: ran.put((threading.current_thread().name, list(did))))
        us = threading.current_thread().name
        # Others bring the next news while this one is at the tasks.
        assert [ran.get(timeout=WAIT_S) for _ in members] == [(us, ["serve on"])] * 2
        assert is_idle(pool)


def test_heavy_tasks_that_one_who_helps_cannot_do_as_well_are_done_by_workers():
    with a_pool(2) as pool:
        pool.start()
        together = threading.Barrier(2)
        members = [Worked(pool, HEAVY_NS) for _ in range(2)]
        assert wait_until(lambda: is_idle(pool))
        with pool.helping(serve_on):
            for member in members:
                member.give(lambda: together.wait(WAIT_S))
        assert wait_until(lambda: is_idle(pool) and pool._at_heavy == 0)
        assert not together.broken


def test_a_heavy_task_does_not_wait_for_one_who_helps_and_is_at_a_light_one():
    with a_pool(2) as pool:
        pool.start()
        light, heavy = Worked(pool, LIGHT_NS), Worked(pool, HEAVY_NS)
        assert wait_until(lambda: is_idle(pool))
        done = threading.Event()

        def publish():
            heavy.give(done.set)  # it comes while this one is at it
            assert done.wait(WAIT_S)

        with pool.helping(serve_on):
            light.give(publish)
        assert done.is_set()


def test_one_that_helps_listens_again_however_much_there_is_to_do():
    with a_pool(1) as pool:
        pool.start()
        member, done = Worked(pool, LIGHT_NS), []
        assert wait_until(lambda: is_idle(pool))
        us = threading.current_thread()

        def task():
            done.append(threading.current_thread() is us)
            if len(done) < 500:
                member.give(task)

        with pool.helping(serve_on):
            member.give(task)
        assert sum(done) <= workers._MOST_TASKS
        assert wait_until(lambda: len(done) == 500)  # the worker has gone on


def test_no_more_heavy_tasks_are_under_way_than_there_are_workers_whoever_does_them():
    with a_pool(2) as pool:
        pool.start()
        at_it, most, over = [], [], threading.Event()

        def task():
            at_it.append(None)
            most.append(len(at_it))
            over.wait(0.001)
            at_it.pop()

        def bring(member):
            for _ in range(20):
                with pool.helping(serve_on):
                    member.give(member.then_wake(task))

        members = [Worked(pool, HEAVY_NS) for _ in range(4)]
        threads = [threading.Thread(target=bring, args=(member,)) for member in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert wait_until(lambda: len(most) == 80 and is_idle(pool))
        assert max(most) <= 2 and pool._helpers == pool._at_heavy == 0


def test_one_that_helps_does_them_though_the_news_were_bad():
    with a_pool(1) as pool:
        light, done = Worked(pool, LIGHT_NS), []
        with pytest.raises(KeyError), pool.helping(serve_on):
            light.give(lambda: done.append(None))
            raise KeyError
        assert done == [None] and pool._free == 0


def test_one_that_helps_does_nothing_for_a_pool_that_ends():
    with a_pool(1) as pool:
        light = Worked(pool, LIGHT_NS)
        pool.stop()
        with pool.helping(serve_on):
            light.give(lambda: pytest.fail("a task after the end"))
        assert pool._free == 0


# --- deadlines --------------------------------------------------------------------------------


def real_ns():
    import time

    return time.monotonic_ns()


def test_a_deadline_is_kept_while_all_other_workers_are_busy():
    with a_pool(2, real_ns) as pool:
        pool.start()
        begun, over, met = threading.Event(), threading.Event(), threading.Event()
        heavy, waiting = Worked(pool, HEAVY_NS), Worked(pool, LIGHT_NS)
        waiting.due = met.set
        heavy.give(lambda: begun.set() or over.wait(WAIT_S))
        assert begun.wait(WAIT_S)
        waiting.wake_ns = real_ns() + 10_000_000
        waiting.give()
        assert met.wait(WAIT_S) and not over.is_set()
        over.set()


@pytest.mark.parametrize("uses_sim_time", [False, True])
@pytest.mark.parametrize("helps", [False, True])
def test_a_deadline_that_is_set_while_all_sleep_wakes_one_in_time(
    helps, uses_sim_time, monkeypatch
):
    """Also if it was one that helps who learned of it: he goes, and all others sleep."""
    monkeypatch.setattr(workers, "_MAX_WAIT_S", 10 * WAIT_S)  # who oversleeps is late for ever
    with a_pool(1, real_ns) as pool:
        pool.uses_sim_time = uses_sim_time
        pool.start()
        met, waiting = threading.Event(), Worked(pool, LIGHT_NS)
        waiting.due = met.set
        assert wait_until(lambda: is_idle(pool) and waiting.asked > 0)
        waiting.wake_ns = real_ns() + 10_000_000
        if helps:
            with pool.helping(serve_on):
                waiting.give()
        else:
            waiting.give()
        assert met.wait(WAIT_S)
        with pool.lock:
            pool._changed.notify_all()


def test_a_deadline_is_kept_though_the_one_who_watched_over_it_is_at_another_task(monkeypatch):
    """Who sleeps knows only of the deadlines from before: he is woken when nobody else watches."""
    monkeypatch.setattr(workers, "_MAX_WAIT_S", 10 * WAIT_S)  # who oversleeps is late for ever
    with a_pool(2, real_ns) as pool:
        pool.start()
        first, second = Worked(pool, HEAVY_NS), Worked(pool, HEAVY_NS)
        met, over = threading.Event(), threading.Event()
        first.due, second.due = lambda: over.wait(WAIT_S), met.set
        assert wait_until(lambda: is_idle(pool))
        with pool.helping(serve_on):
            first.wake_ns = real_ns() + 10_000_000
            second.wake_ns = first.wake_ns + 10_000_000
            first.give()
            second.give()
        assert met.wait(WAIT_S) and not over.is_set()
        over.set()
        assert wait_until(lambda: pool._at_heavy == 0)
        with pool.lock:
            pool._changed.notify_all()


def test_a_deadline_counts_by_the_clock_of_the_pool():
    clock = Clock()
    with a_pool(1, clock) as pool:
        pool.uses_sim_time = True
        pool.start()
        met, waiting = threading.Event(), Worked(pool, LIGHT_NS)
        waiting.due, waiting.wake_ns = met.set, 10**15
        waiting.give()
        asked = wait_until(lambda: is_idle(pool)) and waiting.asked
        assert not met.is_set()
        clock.ns = 10**15
        assert met.wait(WAIT_S) and waiting.asked == asked + 1


# --- threads ----------------------------------------------------------------------------------


def test_whoever_does_tasks_does_them_in_inference_mode_on_so_many_torch_threads():
    """Grad mode and thread count are a thread's own: its tasks rely on them."""
    before, done = torch.get_num_threads(), queue.Queue()

    def task():
        done.put((torch.is_inference_mode_enabled(), torch.get_num_threads()))

    with a_pool(1) as pool:
        pool.start()
        member = Worked(pool)
        for _ in range(2):  # the first task leaves the thread as it was
            member.give(member.then_wake(task))
            assert done.get(timeout=WAIT_S) == (True, 1)

        def help_out():
            pool.prepare_thread()
            for _ in range(2):
                with pool.helping(serve_on):
                    member.cost(LIGHT_NS)
                    member.give(member.then_wake(task))

        helps = threading.Thread(target=help_out)
        helps.start()
        for _ in range(2):
            assert done.get(timeout=WAIT_S) == (True, 1)
        helps.join(WAIT_S)
    assert torch.get_num_threads() == before and not torch.is_inference_mode_enabled()


# --- bookkeeping ------------------------------------------------------------------------------


def test_a_cost_that_changes_while_its_worker_begins_leaves_the_count_right():
    """Two threads may be at one member: what one learns, the other must not count by."""
    with a_pool(1) as pool:
        member, done = Worked(pool, HEAVY_NS), threading.Event()
        known, pick = pool._members[member], pool._next

        def then_it_is_light():
            picked = pick()
            if picked is not None:
                known.cost_ns = LIGHT_NS
            return picked

        pool._next = then_it_is_light
        pool.start()
        member.give(done.set)
        assert done.wait(WAIT_S)
        assert wait_until(lambda: is_idle(pool))


def test_what_a_task_raises_is_told_and_the_worker_goes_on():
    failures = []
    with a_pool(1, failures=failures) as pool:
        pool.start()
        done, member = threading.Event(), Worked(pool)
        member.give(member.then_wake(lambda: None), lambda: 1 // 0)
        assert wait_until(lambda: failures)
        member.give(done.set)
        assert done.wait(WAIT_S)
    assert isinstance(failures[0], ZeroDivisionError)


def test_one_that_is_removed_is_asked_no_more():
    with a_pool(1) as pool:
        pool.start()
        member = Worked(pool)
        assert wait_until(lambda: is_idle(pool))
        pool.remove(member)
        asked = member.asked
        member.give(lambda: pytest.fail("a task of one that was removed"))
        assert wait_until(lambda: is_idle(pool)) and member.asked == asked


def test_stop_ends_all_threads_and_says_if_one_is_still_at_a_task():
    over, begun = threading.Event(), threading.Event()
    pool = WorkerPool(3, 1, Clock(), lambda error: None)
    pool.start()
    Worked(pool).give(lambda: begun.set() or over.wait(WAIT_S))
    assert begun.wait(WAIT_S)
    assert not pool.stop(timeout_s=0.0)
    over.set()
    assert pool.stop(WAIT_S)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_stop_waits_for_one_who_helps():
    pool = WorkerPool(1, 1, Clock(), lambda error: None)
    pool.start()
    member, over, begun = Worked(pool, HEAVY_NS), threading.Event(), threading.Event()
    assert wait_until(lambda: is_idle(pool))

    def help_out():
        with pool.helping(serve_on):
            member.give(lambda: begun.set() or over.wait(WAIT_S))

    helps = threading.Thread(target=help_out)
    helps.start()
    assert begun.wait(WAIT_S)
    assert not pool.stop(timeout_s=0.0)
    over.set()
    assert pool.stop(WAIT_S)
    helps.join(WAIT_S)


def test_a_usual_cost_is_the_least_of_the_last_tasks():
    pool = WorkerPool(1, 1, Clock(), lambda error: None)
    member = Worked(pool)
    known = pool._members[member]
    assert known.is_heavy  # nothing is known
    known.add(LIGHT_NS)
    assert not known.is_heavy
    for _ in range(workers._TASKS):
        known.add(workers._HEAVY_NS * 10)  # disturbed, however often and badly, by other threads
    for _ in range(5 * workers._TASKS):
        known.add(workers._HEAVY_NS * 10)
        if known.is_heavy:
            break
    assert known.is_heavy  # it has become so
    known.add(LIGHT_NS)
    assert not known.is_heavy


def test_members_whose_tasks_disturb_each_other_become_light_again():
    """Two threads that share light tasks make them long: that must not keep them apart."""
    pool = WorkerPool(2, 1, Clock(), lambda error: None)
    known = pool._members[Worked(pool)]
    for number in range(10 * workers._TASKS):
        known.add(LIGHT_NS if number % 20 == 7 else workers._HEAVY_NS * 3)
        assert known.is_heavy is (number < 7)
