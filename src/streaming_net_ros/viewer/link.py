"""One ROS node on a thread of its own, and a way to have things done there.

Everything of ROS happens on that thread: subscriptions come and go, clients call, answers arrive.
The page's event loop only posts work and reads values. Knows nothing of what is looked at or
changed; ``watch`` and ``control`` do. No NiceGUI.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from rclpy.node import Node

from streaming_net_ros.errors import RunError, StreamingNetError
from streaming_net_ros.nodes.host import Host

_SPIN_S = 0.05
_START_S = 20.0
_TICK_S = 0.1

Work = Callable[[Node], None]


class Link:
    """The viewer's node in a network's namespace; a context manager.

    Args:
        namespace: of the network, with or without the leading slash.

    Attributes:
        namespace: with the leading slash.

    Raises:
        RunError: rclpy did not come up (when entered).
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = "/" + namespace.strip("/")
        self._work: deque[Work] = deque()
        self._ticks: list[Work] = []
        self._endings: list[Callable[[], None]] = []
        self._is_ending = False
        self._is_up = threading.Event()
        self._failure: BaseException | None = None
        self._host: Host | None = None
        self._thread = threading.Thread(target=self._run, name="viewer ros", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        if not self._is_up.wait(_START_S) or self._failure is not None:
            if isinstance(self._failure, StreamingNetError):
                raise self._failure
            raise RunError(
                "the viewer's ROS node did not come up",
                where=f"namespace {self.namespace}",
                got=self._failure,
                remedy="check ROS_DOMAIN_ID and the middleware",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ending = True
        self._thread.join(5.0)

    def post(self, work: Work) -> None:
        """Have something done on the ROS thread, soon. Any thread."""
        self._work.append(work)
        if self._host is not None:
            self._host.executor.create_task(_wake)

    def tick(self, work: Work) -> None:
        """Have something done there again and again, ten times a second. Before it is entered."""
        self._ticks.append(work)

    def on_end(self, work: Callable[[], None]) -> None:
        """Have something done when the ROS thread ends, by itself or not. Before it is entered."""
        self._endings.append(work)

    def _run(self) -> None:
        try:
            self._live()
        finally:
            for work in self._endings:
                work()

    def _live(self) -> None:
        try:
            arguments = ["--ros-args", "-r", f"__ns:={self.namespace}"]
            with Host(arguments, handles_signals=False) as host:
                node = Node(
                    f"viewer_{os.getpid()}", context=host.context, start_parameter_services=False
                )
                host.add(node)
                self._host = host
                self._is_up.set()
                self._serve(host, node)
                self._host = None
        except Exception as error:  # told to whoever enters
            self._failure = error
            self._is_up.set()

    def _serve(self, host: Host, node: Node) -> None:
        next_tick_s = 0.0
        while not self._is_ending:
            while self._work:
                self._do(self._work.popleft(), node)
            if time.monotonic() >= next_tick_s:
                next_tick_s = time.monotonic() + _TICK_S
                for work in self._ticks:
                    self._do(work, node)
            self._do(lambda _: host.executor.spin_once(timeout_sec=_SPIN_S), node)

    def _do(self, work: Work, node: Node) -> None:
        """One failure is told, and ends nothing: a page looks on for days."""
        try:
            work(node)
        except Exception as error:
            node.get_logger().error(
                f"viewer: {type(error).__name__}: {error}", throttle_duration_sec=1.0
            )


def _wake() -> None:
    """Work for the executor that only wakes it."""
