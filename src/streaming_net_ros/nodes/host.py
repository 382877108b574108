"""One process of ROS nodes: context, executor, signals, and a loop that always ends.

Used by the container's main and by ``streaming-net run``. SIGINT and SIGTERM ask the loop to end;
the second one is ignored, because launch sends several.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import share_directory

_SPIN_S = 0.1


def make_executor(context: rclpy.Context) -> Executor:
    """The executor with the cheapest wake-up that this rclpy has.

    EventsExecutor (Kilted on) takes a third to a fifth of the CPU time per message, however many
    nodes there are (benchmarks/executors.py). Its ``spin`` cannot be ended; ``spin_once`` can.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def use_large_segments() -> None:
    """Give Fast DDS shared-memory segments that hold whole states, unless the user chose.

    With the default segment a 1 MiB state takes 13 ms instead of 2.7, and best-effort images
    above half a MiB are mostly lost. Must run before the first node exists.
    """
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")  # Fast DDS 2 knows one name
    name = "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"
    profile = share_directory() / "config" / "fastdds.xml"
    chosen = {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"} & set(os.environ)
    if not chosen and profile.is_file():
        os.environ[name] = str(profile)


class Host:
    """A context manager around rclpy for one process.

    Args:
        args: ROS arguments, as after ``--ros-args``.
        handles_signals: take SIGINT and SIGTERM (only possible in the main thread).
    """

    def __init__(self, args: Sequence[str] | None = None, *, handles_signals: bool = True) -> None:
        self._args = None if args is None else list(args)
        self._handles_signals = handles_signals
        self._previous: dict[int, Any] = {}
        self._nodes: list[Node] = []
        self.signal_number: int | None = None
        self.context = rclpy.Context()

    def __enter__(self) -> Host:
        use_large_segments()
        if self._handles_signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        try:
            rclpy.init(
                args=self._args,
                context=self.context,
                signal_handler_options=SignalHandlerOptions.NO,
            )
        except Exception as error:  # rcl tells of arguments by several types of exception
            raise ParameterError(
                "rclpy refuses the ROS arguments", got=str(error).split(", at /")[0]
            ) from None
        self.executor = make_executor(self.context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in reversed(self._nodes):
            self.executor.remove_node(node)
            node.destroy_node()
        self.executor.shutdown(timeout_sec=1.0)
        if self.context.ok():
            rclpy.shutdown(context=self.context)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def add(self, node: Node) -> None:
        """Let the executor serve a node; it is destroyed when the host ends."""
        self._nodes.append(node)
        self.executor.add_node(node)

    @property
    def is_asked_to_end(self) -> bool:
        """True after SIGINT or SIGTERM."""
        return self.signal_number is not None

    def spin(self, until: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Serve callbacks until a condition holds, a signal comes, or the time is up.

        Returns:
            Whether the condition held.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not until():
            if self.is_asked_to_end or (end_s is not None and time.monotonic() > end_s):
                return False
            self.executor.spin_once(timeout_sec=_SPIN_S)
        return True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = self.signal_number or number


def has_ended(pid: int) -> bool:
    """True if no process of this id exists any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
