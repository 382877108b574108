"""Lines between processes of one host: over them rings change hands and notices of states travel.

A sender listens under a name; a hearer connects, says who it is, is given the sender's ring, and
gets a packet for every state from then on. What a hearer says is heard too: so groups tell the
frame source of their progress. The names are abstract Unix sockets: they live in the
network namespace, need no file, and are gone with the process that owns them, however it ended.
So whether two processes share a host is not guessed, it is tried; a line that breaks tells at once
that the other end is gone; and nothing is left to clean up.

What is lent can only be read. Anybody on the host may ask, as anybody may subscribe to a topic
(without DDS security; docs/transports.md).

Threads: a few of its own serve all lines of a process, each line one at a time. What is called
back with a packet may have the line served on by the others before it goes on with what follows
from it: so the thread that brings news can act on them itself, and nobody has to be woken.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from streaming_net_ros.errors import TransportError

_BACKLOG = 64
_MAX_TEXT = 1000
_TIMEOUT_S = 2.0  # a busy process's thread waits for its turn of the interpreter
_WELCOME, _RING_FOLLOWS = b".", b"ring"
Lend = Callable[[], int]  # a new descriptor, closed after it was sent; may raise TransportError
ServeOn = Callable[[], None]  # the line is served by other threads from now on
OnSaid = Callable[[str, bytes, ServeOn], None]  # (who, packet, ...)
OnPacket = Callable[[bytes, ServeOn], None]
OnEnd = Callable[[], None]
OnFailure = Callable[[BaseException], None]


def line_name(domain_id: int, namespace: str, node: str) -> str:
    """The name under which a node's states are to be had; always a valid address."""
    full = f"{domain_id}/{namespace.strip('/')}/{node}"
    return "\0streaming_net_ros." + hashlib.sha256(full.encode()).hexdigest()[:40]


class Outlet:
    """The listening end: everybody who is connected."""

    def __init__(self, lend: Lend | None, on_said: OnSaid | None) -> None:
        self._lend = lend
        self._on_said = on_said
        self._lines: dict[socket.socket, str] = {}  # replaced, never changed: any thread may read
        self._lock = threading.Lock()
        self._has_ended = False
        self.dropped = 0

    @property
    def hearers(self) -> frozenset[str]:
        """Who is connected."""
        return frozenset(self._lines.values())

    @property
    def is_heard(self) -> bool:
        """True if anybody is."""
        return bool(self._lines)

    def has(self, line: socket.socket) -> bool:
        """Is this one of its lines?"""
        return line in self._lines

    def send(self, packet: bytes) -> None:
        """Send a packet to all; one whose queue is full misses it (counted)."""
        for line in self._lines:
            try:
                line.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self.dropped += 1
            except OSError:
                pass  # gone; the serving thread hears of it too

    def admit(self, line: socket.socket, hearer: str) -> bool:
        """Serving thread: somebody asks for the ring. False if it is not served."""
        try:
            descriptors = [] if self._lend is None else [self._lend()]
        except TransportError as error:
            line.send(str(error).encode()[:_MAX_TEXT])
            return False
        try:
            socket.send_fds(line, [_RING_FOLLOWS if descriptors else _WELCOME], descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        with self._lock:
            if not self._has_ended:
                self._lines = {**self._lines, line: hearer}
            return not self._has_ended

    def said(self, line: socket.socket, packet: bytes, serve_on: ServeOn) -> None:
        """Serving thread: a hearer says something."""
        if self._on_said is not None and line in self._lines:
            self._on_said(self._lines[line], packet, serve_on)

    def forget(self, line: socket.socket) -> None:
        """Serving thread: a line has ended."""
        with self._lock:
            self._lines = {other: name for other, name in self._lines.items() if other is not line}

    def end(self) -> list[socket.socket]:
        """Serve nobody any more; the lines that were open."""
        with self._lock:
            self._has_ended = True
            lines, self._lines = list(self._lines), {}
        return lines


class Lines:
    """All lines of one process.

    Args:
        on_failure: called from a serving thread if what it called back raised; it goes on.
        threads: that serve.
        prepare: called in each of them before it serves.

    Raises:
        TransportError: there are no lines on this system.
    """

    def __init__(
        self,
        on_failure: OnFailure,
        threads: int = 1,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        if not (hasattr(select, "epoll") and hasattr(os, "eventfd")):
            raise TransportError("no lines between processes: they need Linux")
        self._on_failure = on_failure
        self._prepare = prepare
        self._thread_count = threads
        self._epoll = select.epoll()
        self._lock = threading.RLock()
        self._listening: dict[Outlet, socket.socket] = {}
        self._served: dict[int, tuple[socket.socket, Callable[[ServeOn], None]]] = {}
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._end, select.EPOLLIN)  # for all threads, and it stays
        self._threads: list[threading.Thread] = []
        self._is_ending = False

    def offer(self, name: str, lend: Lend | None = None, on_said: OnSaid | None = None) -> Outlet:
        """Listen under a name from now on.

        Args:
            name: from ``line_name``.
            lend: gives what is lent to whoever connects; called in a serving thread.
            on_said: is told what they say; called in a serving thread.

        Raises:
            TransportError: the name is taken by another process, or there are no such names.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listening.bind(name)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise TransportError(
                f"no shared memory under this name ({error.strerror})",
                remedy="does another copy of the network run here?",
            ) from None
        outlet = Outlet(lend, on_said)
        self._listening[outlet] = listening
        self._serve(listening, lambda serve_on: self._on_asked(outlet, listening))
        return outlet

    def withdraw(self, outlet: Outlet) -> None:
        """Listen no more and end the outlet's lines."""
        with self._lock:
            if (listening := self._listening.pop(outlet, None)) is not None:
                self._close(listening)
            for line in outlet.end():
                self._close(line)

    def hear(self, line: socket.socket, on_packet: OnPacket, on_end: OnEnd) -> None:
        """Serve a line that ``ask`` gave. Both are called in a serving thread."""
        self._serve(line, lambda serve_on: self._on_packet(line, on_packet, on_end, serve_on))

    def hang_up(self, line: socket.socket) -> None:
        """End a line that is heard. Nothing more is called."""
        with self._lock:
            self._close(line)

    def close(self) -> None:
        """End all lines and the threads; once more does nothing."""
        if self._is_ending:
            return
        self._is_ending = True
        os.eventfd_write(self._end, 1)
        end_s = time.monotonic() + _TIMEOUT_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end_s - time.monotonic()))
        with self._lock:
            for outlet in list(self._listening):
                self.withdraw(outlet)
            for line, _ in list(self._served.values()):
                self._close(line)
            self._epoll.close()
            os.close(self._end)

    # --- the serving threads -----------------------------------------------------------------

    def _serve(self, line: socket.socket, on_ready: Callable[[ServeOn], None]) -> None:
        line.setblocking(False)
        with self._lock:
            self._served[line.fileno()] = line, on_ready
            # One shot: no other thread is told of this line until it is served on.
            self._epoll.register(line, select.EPOLLIN | select.EPOLLONESHOT)
            while len(self._threads) < self._thread_count:
                thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        self._prepare()
        while not self._is_ending:
            for descriptor, _ in self._epoll.poll(maxevents=1):
                if (served := self._served.get(descriptor)) is not None:
                    self._serve_once(descriptor, served)

    def _serve_once(
        self, descriptor: int, served: tuple[socket.socket, Callable[[ServeOn], None]]
    ) -> None:
        is_served = False

        def serve_on() -> None:
            nonlocal is_served
            if is_served:
                return
            is_served = True
            with self._lock:  # unless it has ended: its number may be another line's by now
                if self._served.get(descriptor) is served:
                    self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

        try:
            served[1](serve_on)
        except OSError:
            pass  # it was closed meanwhile
        except Exception as error:  # all other lines are served by this thread too
            self._on_failure(error)
        finally:
            serve_on()

    def _on_asked(self, outlet: Outlet, listening: socket.socket) -> None:
        """Whoever connects is heard when he says something: who does not costs nobody time."""
        line, _ = listening.accept()
        self._serve(line, lambda serve_on: self._on_said(outlet, line, serve_on))

    def _on_said(self, outlet: Outlet, line: socket.socket, serve_on: ServeOn) -> None:
        """A hearer says who he is, then what he has to say; nothing is the end of a line."""
        said = self._received(line)
        if not said:
            outlet.forget(line)
        elif not outlet.has(line):
            is_served = False
            try:
                is_served = outlet.admit(line, said.decode(errors="replace"))
            finally:
                if not is_served:
                    self.hang_up(line)
        else:
            outlet.said(line, said, serve_on)

    def _on_packet(
        self, line: socket.socket, on_packet: OnPacket, on_end: OnEnd, serve_on: ServeOn
    ) -> None:
        if packet := self._received(line):
            on_packet(packet, serve_on)
        else:
            on_end()

    def _received(self, line: socket.socket) -> bytes:
        """The next packet; empty, and the line closed, if the other end is gone."""
        try:
            packet = line.recv(_MAX_TEXT)
        except ConnectionError:
            packet = b""
        if not packet:
            with self._lock:
                self._close(line)
        return packet

    def _close(self, line: Any) -> None:
        served = self._served.get(line.fileno())
        if served is not None and served[0] is line:
            del self._served[line.fileno()]
            self._epoll.unregister(line)
        line.close()


def say(line: socket.socket, packet: bytes) -> bool:
    """Send a packet from a hearer's end; False if it cannot be taken."""
    try:
        line.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def ask(
    name: str, hearer: str, timeout_s: float = _TIMEOUT_S
) -> tuple[socket.socket, int | None] | None:
    """Connect to a sender of this host.

    Args:
        name: of the sender's line.
        hearer: who asks.
        timeout_s: how long a sender that does not answer is waited for.

    Returns:
        The line and a descriptor of what is lent, if anything is, both for the caller to close;
        None if nobody on this host listens under that name.

    Raises:
        TransportError: the sender cannot lend its ring, and why.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(timeout_s)
    descriptors: list[int] = []
    try:
        line.connect(name)
        line.send(hearer.encode())
        text, descriptors, _, _ = socket.recv_fds(line, _MAX_TEXT, 1)
    except (ConnectionError, FileNotFoundError):
        text = b""  # nobody, or it has just ended
    except OSError as error:
        line.close()
        raise TransportError(f"shared memory was asked for in vain ({error})") from None
    if text in (_WELCOME, _RING_FOLLOWS)[: 1 + bool(descriptors)]:
        return line, descriptors[0] if descriptors else None
    line.close()
    for descriptor in descriptors:
        os.close(descriptor)
    if text == _RING_FOLLOWS:
        raise TransportError(
            "the shared memory was lent and did not arrive",
            remedy="this process may open more files: ulimit -n",
        )
    if text:
        raise TransportError(text.decode(errors="replace"))
    return None
