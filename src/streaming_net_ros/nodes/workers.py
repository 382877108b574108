"""The workers of a container: a few threads that run whatever its members can do next.

About as many threads as cores, whatever the number of groups. Members (the frame source and the
layer groups) say what they can do; one lock guards all of their bookkeeping, and is never held
while layers run, messages are made or images are decoded.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

Task = Callable[[], None]
_MAX_WAIT_S = 0.5
_SIM_TIME_POLL_S = 0.002
_HEAVY_NS = 300_000  # a task worth another thread: to wake one takes about a quarter of that
_STUCK_NS = 3_000_000  # a light task that takes so long is disturbed: others wait for it no more
_MOST_TASKS = 64  # that one who helps does before it listens again
_TASKS = 32  # that a member's usual cost is taken from, to twice as many


class Aside(partial[None]):
    """A task that tells nothing of what its member's tasks usually cost."""


class Member(Protocol):
    """What a worker asks of a member. Both are called with the pool's lock held."""

    def next_task(self, now_ns: int) -> Task | None:
        """What can be done now; the worker runs it without the lock."""

    def wake_at_ns(self) -> int | None:
        """When to ask again although nothing has changed, or None."""


def earliest(*times_ns: int | None) -> int | None:
    """The first of several times; None is never."""
    return min((at_ns for at_ns in times_ns if at_ns is not None), default=None)


@dataclass
class _Known:
    """What the pool knows of a member's tasks.

    Attributes:
        cost_ns: what one usually takes, infinite until one was run: the least of the last ones. A
            disturbance makes a task longer and never shorter; most of all the one that two threads
            are to each other when they share tasks that are not worth it.
    """

    cost_ns: float = math.inf
    _least_ns: float = math.inf  # of those that are counted now
    _count: int = 0

    @property
    def is_heavy(self) -> bool:
        """Worth another thread? True as long as nothing is known."""
        return self.cost_ns > _HEAVY_NS

    def add(self, cost_ns: int) -> None:
        self._least_ns = min(cost_ns, self._least_ns)
        self.cost_ns = min(cost_ns, self.cost_ns)
        self._count += 1
        if self._count >= _TASKS:
            self.cost_ns, self._least_ns, self._count = self._least_ns, math.inf, 0


class WorkerPool:
    """Runs the tasks of its members on a fixed number of threads.

    One worker does the light tasks of all members, one after the other; the others are woken for
    heavy ones only. To hand a light task over costs more, in time and in fights for the
    interpreter, than to do it. A thread that brings news may do what follows from them itself;
    heavy tasks are under way at once in as many threads as there are workers, whoever does them.

    Args:
        threads: how many.
        torch_threads: threads of one torch operation, set in each worker.
        now_ns: ROS time.
        on_failure: called from a worker whose task raised; the worker goes on with other tasks.
    """

    def __init__(
        self,
        threads: int,
        torch_threads: int,
        now_ns: Callable[[], int],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.lock = threading.RLock()
        self.now_ns = now_ns
        self.uses_sim_time = False
        self._torch_threads = torch_threads
        self._on_failure = on_failure
        self._changed = threading.Condition(self.lock)
        self._members: dict[Member, _Known] = {}
        # Members that may have something to do, in order, and those that have a deadline.
        self._light: dict[Member, _Known] = {}
        self._heavy: dict[Member, _Known] = {}
        self._wake_at_ns: dict[Member, int] = {}
        self._light_since_ns = math.inf  # when the light task under way began; infinite: none
        self._free = 0  # threads that are awake and will soon look for the next task
        self._helpers = 0  # those of them that bring news and may do heavy tasks
        self._at_heavy = 0  # threads at a heavy task
        self._watched_ns = math.inf  # the deadline that a sleeping worker will wake for
        self._is_stopping = False
        self._of_thread = threading.local()
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True)
            for n in range(threads)
        ]

    @property
    def size(self) -> int:
        """How many heavy tasks are done at once."""
        return len(self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """End the threads after the tasks that they are at, and wait for those who help.

        Returns:
            False if somebody is still at a task.
        """
        end_s = time.monotonic() + timeout_s
        with self.lock:
            self._is_stopping = True
            self._changed.notify_all()
            is_over = self._changed.wait_for(lambda: self._free == self._at_heavy == 0, timeout_s)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end_s - time.monotonic()))
        return is_over and not any(thread.is_alive() for thread in self._threads)

    def add(self, member: Member) -> None:
        """Let a member work."""
        with self.lock:
            self._members[member] = _Known()
            self.wake(member)

    def remove(self, member: Member) -> None:
        """Ask a member no more. A task that it has under way is finished."""
        with self.lock:
            for known in (self._members, self._light, self._heavy, self._wake_at_ns):
                known.pop(member, None)

    def wake(self, member: Member) -> None:
        """Something has changed for a member. Called with the lock held."""
        known = self._members.get(member)
        if known is None:
            return
        if known.is_heavy:
            self._light.pop(member, None)
            self._heavy[member] = known
            # Who helps looks at once, unless it is at a light task.
            looks = self._helpers and math.isinf(self._light_since_ns)
            if not looks and self._at_heavy < len(self._threads):
                self._changed.notify()
        else:
            self._heavy.pop(member, None)
            self._light[member] = known
            if not self._free or self._is_light_overdue():
                self._changed.notify()

    def _is_light_overdue(self) -> bool:
        """Has the worker at the light tasks been at one of them for much longer than they take?"""
        return time.perf_counter_ns() - self._light_since_ns > _STUCK_NS

    @contextmanager
    def helping(self, serve_on: Callable[[], None]) -> Iterator[None]:
        """A thread that brings news does what follows from them itself, and then goes on.

        It must have been prepared for tasks (``prepare_thread``). To wake a worker takes longer
        than a light task.

        Args:
            serve_on: lets others bring the next news; called when these are in.
        """
        with self.lock:
            self._free += 1
            self._helpers += 1
        try:
            yield
        finally:
            serve_on()
            picked, left = self._next_to_help(_MOST_TASKS), _MOST_TASKS
            while picked is not None:
                self._do(*picked, helps=True)
                left -= 1
                picked = self._next_to_help(left)

    def _next_to_help(self, left: int) -> tuple[_Known, Task, bool] | None:
        with self.lock:
            if left and not self._is_stopping and (picked := self._pick()) is not None:
                return self._begin(picked, helps=True)
            self._free -= 1
            self._helpers -= 1
            self._leave_the_rest()
            return None

    def _begin(self, picked: tuple[_Known, Task], helps: bool) -> tuple[_Known, Task, bool]:
        """Lock held: this thread begins a task, which is heavy for it whatever is learned later.

        Another thread may change what is known of the member's cost at any time.
        """
        is_heavy = picked[0].is_heavy
        if is_heavy:
            self._free -= 1
            self._helpers -= helps
            self._at_heavy += 1
        self._leave_the_rest()
        return (*picked, is_heavy)

    def _leave_the_rest(self) -> None:
        """Lock held: this thread has taken what it does now; somebody else is needed for more.

        Whoever sleeps knows nothing of a deadline that was learned of since.
        """
        if self._is_stopping:
            self._changed.notify_all()  # who stops the pool waits for the last one
        elif (self._heavy and self._at_heavy < len(self._threads)) or (
            not self._free and (self._light or self._next_ns() < self._watched_ns)
        ):
            self._changed.notify()

    def prepare_thread(self) -> None:
        """This thread will do tasks; whatever else it does, it does in their mode."""
        torch.set_num_threads(self._torch_threads)  # torch keeps one number for every thread
        # And one mode, which to enter for each task takes time; it lasts as long as it is kept.
        self._of_thread.mode = torch.inference_mode()
        self._of_thread.mode.__enter__()

    def _work(self) -> None:
        self.prepare_thread()
        with self.lock:
            self._free += 1
        while (picked := self._next()) is not None:
            self._do(*picked)

    def _do(self, known: _Known, task: Task, is_heavy: bool, helps: bool = False) -> None:
        begun_ns = time.perf_counter_ns()
        if not is_heavy:
            self._light_since_ns = begun_ns
        try:
            task()
        except Exception as error:  # a worker must outlive any task
            self._on_failure(error)
        if not isinstance(task, Aside):
            known.add(time.perf_counter_ns() - begun_ns)
        if not is_heavy:
            self._light_since_ns = math.inf
            return
        with self.lock:
            self._at_heavy -= 1
            self._free += 1
            self._helpers += helps

    def _next(self) -> tuple[_Known, Task, bool] | None:
        """Wait for a task; None: the pool ends. This thread is among the free ones."""
        with self.lock:
            while self._is_stopping or (picked := self._pick()) is None:
                self._free -= 1
                if self._is_stopping:
                    self._leave_the_rest()
                    return None
                self._changed.wait(self._wait_s())
                self._watched_ns = math.inf
                self._free += 1
            return self._begin(picked, helps=False)

    def _pick(self) -> tuple[_Known, Task] | None:
        """The next task of whoever is ready: a light one, then a heavy one, oldest first."""
        now_ns = self.now_ns()
        if self._wake_at_ns:
            self._wake_due(now_ns)
        # Another worker is at the light tasks, and two would fight; unless it is stuck in one.
        does_light = self._free <= 1 or self._is_light_overdue()
        does_heavy = self._at_heavy < len(self._threads)
        for ready, may_do in ((self._light, does_light), (self._heavy, does_heavy)):
            while ready and may_do:
                member = next(iter(ready))
                known = ready.pop(member)
                try:
                    task = member.next_task(now_ns)
                    wake_at_ns = None if task else member.wake_at_ns()
                except Exception as error:  # told, like a task's: a worker must outlive it
                    self._on_failure(error)
                    continue
                if wake_at_ns is not None:
                    self._wake_at_ns[member] = wake_at_ns
                else:
                    self._wake_at_ns.pop(member, None)
                if task is not None:
                    return known, task
        return None

    def _wake_due(self, now_ns: int) -> None:
        """Those whose deadline has come are ready."""
        for member in [m for m, at_ns in self._wake_at_ns.items() if at_ns <= now_ns]:
            known = self._members[member]
            (self._heavy if known.is_heavy else self._light).setdefault(member, known)

    def _next_ns(self) -> float:
        """The next deadline of any member; infinite if there is none."""
        return min(self._wake_at_ns.values(), default=math.inf)

    def _wait_s(self) -> float:
        """Until the next deadline of any member."""
        self._watched_ns = self._next_ns()
        if math.isinf(self._watched_ns):
            return _MAX_WAIT_S
        if self.uses_sim_time:
            return _SIM_TIME_POLL_S  # ROS time may run at any pace; nothing tells when it jumps
        # What is ready was left to another worker: look again when that one may be stuck.
        least_s = _STUCK_NS / 1e9 if self._light or self._heavy else 0.0
        return min(_MAX_WAIT_S, max(least_s, (self._watched_ns - self.now_ns()) / 1e9))
