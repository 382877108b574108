"""The workers of a container: a few threads that run whatever its members can do next.

About as many threads as cores, whatever the number of groups. Members (the frame source and the
layer groups) say what they can do; one lock guards all of their bookkeeping, and is never held
while layers run, messages are made or images are decoded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import torch

Task = Callable[[], None]
_MAX_WAIT_S = 0.5
_SIM_TIME_POLL_S = 0.002


class Member(Protocol):
    """What a worker asks of a member. Both are called with the pool's lock held."""

    def next_task(self, now_ns: int) -> Task | None:
        """What can be done now; the worker runs it without the lock."""

    def wake_at_ns(self) -> int | None:
        """When to ask again although nothing has changed, or None."""


class WorkerPool:
    """Runs the tasks of its members on a fixed number of threads.

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
        self.lock = threading.Condition()
        self.now_ns = now_ns
        self.uses_sim_time = False
        self._torch_threads = torch_threads
        self._on_failure = on_failure
        self._members: list[Member] = []
        self._ready: dict[Member, None] = {}  # members that may have something to do, in order
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """End the threads after the tasks that they are at. False if one is still at it."""
        with self.lock:
            self._is_stopping = True
            self.lock.notify_all()
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def add(self, member: Member) -> None:
        """Let a member work."""
        with self.lock:
            self._members.append(member)
            self.wake(member)

    def remove(self, member: Member) -> None:
        """Ask a member no more. A task that it has under way is finished."""
        with self.lock:
            if member in self._members:
                self._members.remove(member)
            self._ready.pop(member, None)

    def wake(self, member: Member) -> None:
        """Something has changed for a member. Called with the lock held."""
        self._ready[member] = None
        self.lock.notify()

    def _work(self) -> None:
        torch.set_num_threads(self._torch_threads)
        while True:
            with self.lock:
                while (task := self._pick()) is None:
                    if self._is_stopping:
                        return
                    self.lock.wait(self._wait_s())
                if self._is_stopping:
                    return
            try:
                task()
            except Exception as error:  # a worker must outlive any task
                self._on_failure(error)

    def _pick(self) -> Task | None:
        """The next task. A member that had one is asked again, after the others."""
        now_ns = self.now_ns()
        for member in self._members:
            wake_at_ns = member.wake_at_ns()
            if wake_at_ns is not None and wake_at_ns <= now_ns:
                self._ready.setdefault(member)
        for member in list(self._ready):
            del self._ready[member]
            if member not in self._members:
                continue
            task = member.next_task(now_ns)
            if task is not None:
                self._ready[member] = None
                if len(self._ready) > 1:
                    self.lock.notify()
                return task
        return None

    def _wait_s(self) -> float:
        """Until the next deadline of any member."""
        wake_at = [at for member in self._members if (at := member.wake_at_ns()) is not None]
        if not wake_at:
            return _MAX_WAIT_S
        if self.uses_sim_time:
            return _SIM_TIME_POLL_S  # ROS time may run at any pace; nothing tells when it jumps
        return min(_MAX_WAIT_S, max(0.0, (min(wake_at) - self.now_ns()) / 1e9))
