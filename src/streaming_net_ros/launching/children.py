"""The processes of a network as children of this one: ``streaming-net run --processes``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from streaming_net_ros.errors import RunError
from streaming_net_ros.launching.processes import Process
from streaming_net_ros.launching.respawn import BackOff, RespawnPolicy, told_end
from streaming_net_ros.paths import PACKAGE

_STOP_S = 2.0


class Running(Protocol):
    """What `Children` asks of a process that runs: a part of ``subprocess.Popen``."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; may raise ``subprocess.TimeoutExpired``."""


@dataclass
class _Child:
    process: Process
    running: Running
    started_s: float
    back_off: BackOff | None
    due_s: float | None = None  # when it is started again; None while it runs
    restarts: int = 0


def start_process(process: Process, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does.

    Args:
        process: what to start.
        prefix: a command that runs what follows it: ``nice -5``, ``nsenter ...``.
    """
    command = [*prefix, sys.executable, "-m", f"{PACKAGE}.nodes", "--ros-args"]
    command += [*process.ros_arguments(), "-p", f"follow_pid:={os.getpid()}"]
    # A session of its own: Ctrl-C reaches the parent, which ends the children in order.
    return subprocess.Popen(command, start_new_session=True)


class Children:
    """The processes of a list as children of this one; a context manager.

    The children watch their parent (``follow_pid``), so that none outlives a parent that was
    killed. What becomes of a child that dies is decided at the next `check`: without a policy its
    end is an error, with one it is started again.

    Args:
        processes: what to run.
        policy: realtime's: how patiently children are started again; None: not at all.
        tell: called with a line whenever a child has died and when it is started again.
        start: starts one.
        now_s: a clock that never jumps.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        policy: RespawnPolicy | None = None,
        *,
        tell: Callable[[str], None] = lambda line: None,
        start: Callable[[Process], Running] = start_process,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = processes
        self._policy = policy
        self._tell = tell
        self._start = start
        self._now_s = now_s
        self._children: list[_Child] = []

    def __enter__(self) -> Children:
        for process in self._processes:
            back_off = None if self._policy is None else BackOff(process.name, self._policy)
            child = _Child(process, self._start(process), self._now_s(), back_off)
            self._children.append(child)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ask all to end, and see to it that they do."""
        running = [child.running for child in self._children if child.running.poll() is None]
        for one in running:
            one.send_signal(signal.SIGINT)
        end_s = self._now_s() + _STOP_S
        for one in running:
            try:
                one.wait(max(0.0, end_s - self._now_s()))
            except subprocess.TimeoutExpired:
                one.send_signal(signal.SIGKILL)
                one.wait()

    def check(self) -> None:
        """See who has died, and start again who is due. Never waits.

        Raises:
            RunError: a child has died and is not to be started again; it names the process, and
                how it ended.
        """
        for child in self._children:
            if child.due_s is not None:
                if self._now_s() >= child.due_s:
                    self._start_again(child)
            elif (code := child.running.poll()) is not None:
                self._bury(child, code)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by process name, of those that are not waiting to be started again."""
        return {
            child.process.name: child.running.pid
            for child in self._children
            if child.due_s is None
        }

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again, by name; only those that were."""
        return {child.process.name: child.restarts for child in self._children if child.restarts}

    def _bury(self, child: _Child, code: int) -> None:
        name = child.process.name
        if child.back_off is None:
            raise RunError(
                f"the process of '{name}' has ended ({told_end(code)})",
                where=f"pid {child.running.pid}",
                remedy="its own message stands above; start the run again",
            )
        now_s = self._now_s()
        delay_s = child.back_off.delay_s(code, now_s - child.started_s)
        child.due_s = now_s + delay_s
        self._tell(
            f"the process of '{name}' has ended ({told_end(code)}); "
            f"it is started again in {delay_s:g} s"
        )

    def _start_again(self, child: _Child) -> None:
        child.running = self._start(child.process)
        child.started_s, child.due_s = self._now_s(), None
        child.restarts += 1
        self._tell(f"the process of '{child.process.name}' is started again")
