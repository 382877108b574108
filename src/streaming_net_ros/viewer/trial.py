"""A trial: a network that is being designed, driving the simulated car beside the one looked at.

Starts ``streaming-net view FILE --simulate`` as a child, with a page and a namespace of its own,
and ends it. One at a time. The child follows this process: none is left behind. No NiceGUI.

Threads: every method may be called from any, but `start` from one that stays: the
child ends with the thread that began it. None waits for the child, but `stop`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from streaming_net_ros.paths import PACKAGE
from streaming_net_ros.viewer.children import TOKEN_VARIABLE, ending_with_parent

_STOP_S = 8.0
_TAIL = 12
_ADDRESS = re.compile(r"(http://\S+)")


@dataclass
class _Child:
    process: subprocess.Popen[str]
    network: str
    address: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))


class Trial:
    """At most one child that runs.

    Args:
        token: opens its page's controls.
        host: at which its page is served, as the viewer's own.
        command: what is started, before the file: for tests.
    """

    def __init__(self, token: str, host: str = "", command: tuple[str, ...] = ()) -> None:
        self._token = token
        self._host = host or "127.0.0.1"
        self._command = command or (sys.executable, "-m", f"{PACKAGE}.cli.app", "view")
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def start(self, path: Path, name: str) -> bool:
        """Start a network file; False if another trial runs.

        Args:
            path: the file.
            name: of the network; its namespace is told apart from that of one that runs already.
        """
        with self._lock:
            if self.is_running:
                return False
            process = subprocess.Popen(
                [*self._command, str(path), "--simulate", "--mode", "realtime",
                 "--namespace", f"{name}_trial", "--port", "0", "--host", self._host,
                 "--follow-pid", str(os.getpid())],
                env={**os.environ, TOKEN_VARIABLE: self._token},  # others can read the command
                preexec_fn=ending_with_parent(signal.SIGINT),  # noqa: PLW1509 - one system call
                cwd=path.parent, text=True, errors="replace", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            child = self._child = _Child(process, name)
            assert process.stdout is not None
            threading.Thread(target=_listen, args=(child, process.stdout), daemon=True).start()
            return True

    def stop(self) -> None:
        """End the trial, and see that it ends. Waits some seconds."""
        with self._lock:
            child = self._child
            if child is None or child.process.poll() is not None:
                return
            child.process.send_signal(signal.SIGINT)
            try:
                child.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    @property
    def is_running(self) -> bool:
        """Whether a trial runs, or starts."""
        return self._child is not None and self._child.process.poll() is None

    @property
    def address(self) -> str:
        """Of its page, token included; empty until it is served."""
        return self._child.address if self._child is not None and self.is_running else ""

    def seen_from(self, hostname: str) -> tuple[str, int | None]:
        """Its address for a visitor, and the port that has to be forwarded to reach it.

        Args:
            hostname: under which the visitor reached the viewer's own page.

        Returns:
            the address, empty until it is served; the port only where the page is served to this
            machine alone, so that a visitor from elsewhere came through a forwarded port.
        """
        parts = urlsplit(self.address)
        if parts.port is None:
            return "", None
        if _is_loopback(self._host):
            return self.address, parts.port
        name = f"[{hostname}]" if ":" in hostname else hostname
        return urlunsplit(parts._replace(netloc=f"{name}:{parts.port}")), None

    @property
    def told(self) -> str:
        """How it stands, in a line."""
        child = self._child
        if child is None:
            return "nothing is started"
        code = child.process.poll()
        if code is None:
            return f"{child.network} drives" if child.address else f"{child.network} starts"
        if code in (0, -signal.SIGINT, 130):
            return f"{child.network} has ended"
        errors = [line for line in child.tail if "rror" in line]
        last = (errors or list(child.tail) or [f"exit code {code}"])[-1]
        return f"{child.network} has ended: {last}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(child: _Child, said: IO[str]) -> None:
    """Keep the last lines and the address; to the end, so that the child never waits."""
    for line in said:
        text = line.strip()
        if text:
            child.tail.append(text[:300])
        found = _ADDRESS.search(text)
        if found and not child.address:
            child.address = found.group(1)
