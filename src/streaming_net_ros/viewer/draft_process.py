"""Checks of drafts in a process of their own, with a limit in time and memory.

Whatever is typed, or sent, the page goes on: the process that checks is ended and begun anew when
it takes too long. One process to a viewer, begun with the first draft; it ends with its parent,
in the middle of a check too. No NiceGUI.

Threads: one check at a time. `check` is called from one thread that stays until the viewer ends:
the process ends with the thread that began it. `close` may be called from any.
"""

from __future__ import annotations

import json
import math
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from streaming_net_ros.viewer.children import ending_with_parent
from streaming_net_ros.viewer.draft import Draft, check_draft, no_draft

CHECK_S = 8.0
_START_S = 60.0  # loading torch on a busy machine
_MEMORY_BYTES = 2 << 30  # of addresses, besides what torch has taken when it is loaded
_UNKNOWN_BYTES = 6 << 30  # where nobody tells what it has taken


class Checker:
    """Checks drafts.

    Args:
        root: the folder that files named by a draft lie in.
        check_s: how long one check may take (s).
        command: the process: for tests.

    Attributes:
        started: how many processes there were.
    """

    def __init__(
        self, root: Path, check_s: float = CHECK_S, command: tuple[str, ...] = ()
    ) -> None:
        self._root = root
        self._check_s = check_s
        self._command = command or (sys.executable, "-m", __name__)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._beginning = threading.Lock()  # none is begun while, or after, it is closed
        self._is_closed = False
        self.started = 0

    def check(self, text: str, file: str) -> Draft:
        """The outcome for a text, or that it took too long."""
        with self._lock:
            process = self._running()
            if process is None:
                return no_draft("the process that checks drafts does not start")
            request = json.dumps({"text": text, "file": file, "root": str(self._root)})
            try:
                answer = self._asked(process, request, self._check_s)
            except OSError:
                answer = None
            if answer is None:
                self._end()
                return no_draft(
                    f"this takes more than {self._check_s:g} s, or more memory than there is, to "
                    "check: too large a network for this page"
                )
            draft: Draft = json.loads(answer)
            return draft

    def close(self) -> None:
        """End the process, if there is one, and check nothing more. Waits for no check."""
        with self._beginning:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.kill()  # the check that is under way ends with it
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._process is None or self._process.poll() is not None:
            self._end()
            with self._beginning:
                if self._is_closed:
                    return None
                self._process = self._begun()
            if self._line(self._process, _START_S) is None:
                self._end()
        return self._process

    def _begun(self) -> subprocess.Popen[bytes]:
        self.started += 1
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
            preexec_fn=ending_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
        )  # fmt: skip

    def _asked(
        self, process: subprocess.Popen[bytes], request: str, limit_s: float
    ) -> bytes | None:
        assert process.stdin is not None
        process.stdin.write(request.encode() + b"\n")
        process.stdin.flush()
        return self._line(process, limit_s)

    @staticmethod
    def _line(process: subprocess.Popen[bytes], limit_s: float) -> bytes | None:
        """The next line that the process says; None if it says none in time."""
        assert process.stdout is not None
        until_s, said = time.monotonic() + limit_s, bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, until_s - time.monotonic())):
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                said += chunk
                if not chunk:
                    return None
                if said.endswith(b"\n"):
                    return bytes(said)
        return None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def serve(
    requests: IO[bytes], answers: IO[bytes], before: Callable[[], None] = lambda: None
) -> None:
    """Answer requests, a line of JSON each, until there are no more.

    Args:
        requests: read.
        answers: written, a line of JSON each.
        before: called before each check.
    """
    answers.write(b"ready\n")
    answers.flush()
    for line in requests:
        asked = json.loads(line)
        before()
        try:
            draft = check_draft(asked["text"], Path(asked["root"]), asked["file"])
        except MemoryError:
            draft = no_draft("too large a network for this page")
        answers.write(json.dumps(draft).encode() + b"\n")
        answers.flush()


def limit_processor_time(seconds: float = CHECK_S) -> None:
    """Let this process compute so long from now on, then end it, whoever still waits for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))


def _taken_bytes() -> int:
    """Addresses of this process now: torch built for a GPU takes many times those of another."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return _UNKNOWN_BYTES
    return pages * resource.getpagesize()


def main() -> None:
    """The process: requests on stdin, answers on stdout."""
    most = _MEMORY_BYTES + _taken_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.nice(5)
    serve(sys.stdin.buffer, sys.stdout.buffer, limit_processor_time)


if __name__ == "__main__":
    main()
