"""What a group tells of itself beside its states: progress, times and losses.

It is told after the state has left and the groups of this process that hear it have had their
turn: nothing that is only looked at stands between a state and its use.

Threads: ``begin``, ``finished`` and ``next_task`` are called with the pool's lock held. What they
give to do, a worker does as a task of its own; of one group, one at a time, in frame order.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rclpy.node import Node
from std_msgs.msg import Header
from torch import Tensor

from streaming_net_ros.errors import TransportError
from streaming_net_ros.frames import Arrival, FrameTally, Job, who_tells
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network.measured import edge_name, group_name, measured_names
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.debug import DebugTopics
from streaming_net_ros.nodes.hearing import ASK_AGAIN_S
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.throttled import Throttle, Throttled
from streaming_net_ros.nodes.workers import Aside, Task
from streaming_net_ros.wire import ask, pack_progress, say, write_stamp_ns

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container


_TOLD_PER_LIMIT = 4  # before the watchdog would call a group silent


@dataclass(frozen=True)
class Inputs:
    """How a frame found its inputs, by source: the group's own memory is none.

    Attributes:
        waits_ns: since the arrival of each that is not held.
        ages_ns: of the newest image inside each.
    """

    waits_ns: Mapping[str, int] = field(default_factory=dict)
    ages_ns: Mapping[str, int] = field(default_factory=dict)


NO_INPUTS = Inputs()  # lockstep: results do not depend on time, and nobody asks for it


def inputs_at(job: Job[Tensor], group: str, now_ns: int) -> Inputs:
    """The inputs of a job that begins now (realtime)."""
    others = [(source, given) for source, given in job.inputs.items() if source != group]
    return Inputs(
        {source: now_ns - given.arrived_ns for source, given in others if not given.is_held},
        {source: now_ns - given.origin.since_ns for source, given in others},
    )


def _tells_every_ns(container: Container, group: str) -> float:
    """How much further a group must be to tell the frame source again over its line.

    In lockstep the flow of images follows from some groups alone, which tell every frame. In
    realtime only the watchdog asks who is alive.
    """
    if container.settings.mode == "lockstep":
        return 0 if group in who_tells(container.rollout) else math.inf
    limit_frames = container.settings.watchdog_periods / _TOLD_PER_LIMIT
    return limit_frames * container.grid.period_ns


class Telling:
    """Progress and debug topics of one group, and the count of its frames.

    Args:
        node: of the group.
        name: of the group.
        container: of the node.

    Attributes:
        debug: its debug topics.
        looked_at: its states for whoever looks on.
    """

    def __init__(self, node: Node, name: str, container: Container) -> None:
        self._node = node
        self._name = name
        self._container = container
        is_told = container.settings.mode == "realtime" and container.settings.debug_topics
        self.debug = DebugTopics(node, measured_names(container.spec, name) if is_told else ())
        self._progress = node.create_publisher(
            Header,
            topics.PROGRESS,
            topics.reliable(container.queue_depth),
            qos_overriding_options=topics.overridable(),
        )
        self._hears_progress = Listeners(self._progress)
        self._throttle = Throttle(node)
        self.looked_at = Throttled(node, name, container, self._throttle)
        self._tally = FrameTally()
        self._untold: deque[Task] = deque()
        self._is_at_it = False
        self._line: socket.socket | None = None
        self._tells_every_ns = _tells_every_ns(container, name)
        self._finished_ns = self._said_ns = topics.READY_NS  # newest frame, and newest on the line
        self._no_question_until_s = 0.0
        self._at_it = threading.Lock()
        self._is_released = False
        self.look()

    def begin(self, tally: FrameTally) -> None:
        """A run begins; its frames are counted there."""
        self._tally = tally
        self._untold = deque()
        self._is_at_it = False
        self._finished_ns = self._said_ns = topics.READY_NS
        self._hears_progress.reset()
        self.looked_at.forget()

    def release(self) -> None:
        """Leave the topics, once nothing is being told."""
        with self._at_it:
            self._is_released = True
            if self._line is not None:
                self._container.lines.hang_up(self._line)
                self._line = None
            self.debug.destroy()
            self._node.destroy_publisher(self._progress)
            self.looked_at.destroy()
            self._throttle.destroy()

    def finished(
        self, job: Job[Tensor], batch: Tensor | None, inputs: Inputs, done_ns: int, work_ns: int
    ) -> None:
        """A frame is finished: count it, and tell of it soon."""
        for source, age_ns in inputs.ages_ns.items():
            self._tally.edges[source].age.add(age_ns)
        for source, wait_ns in inputs.waits_ns.items():
            self._tally.edges[source].wait.add(wait_ns)
        self._tally.record(job, done_ns, work_ns)
        self._finished_ns = stamp_ns = self._container.grid.stamp_ns(job.frame)
        if self._is_due(stamp_ns) or self._is_topic_heard or self.debug.is_heard:
            numbers = self._numbers(job, inputs, work_ns) if self.debug.is_heard else {}
            self._untold.append(Aside(self._tell, stamp_ns, numbers, self._untold))
        self.looked_at.take(batch, stamp_ns, job.origin)

    def next_task(self) -> Task | None:
        """What is to be told next, if nothing is being told."""
        if self._is_at_it or not self._untold:
            return None
        self._is_at_it = True
        return self._untold.popleft()

    def look(self) -> None:
        """Executor thread: show what waits, and get a line to the frame source of this host."""
        self.looked_at.look()
        # Whoever need not tell every frame is still known when the run stands still.
        if self._finished_ns > self._said_ns:
            self._say(self._finished_ns)
        is_wanted = self._line is None and self._container.may_have_line_to(FRAME_SOURCE)
        if not is_wanted or time.monotonic() < self._no_question_until_s:
            return
        try:
            name = self._container.line_name(FRAME_SOURCE)
            given = ask(name, self._name, self._container.patience_s)
        except TransportError as error:  # until then it is told on the topic
            self._node.get_logger().warning(f"progress leaves as messages: {error}")
            self._no_question_until_s = time.monotonic() + ASK_AGAIN_S
            return
        if given is not None:
            self._line, _ = given
            self._container.lines.hear(self._line, lambda packet, serve_on: None, self._on_end)

    def tell_progress(self, stamp_ns: int) -> None:
        """Say that a frame is finished. Any thread.

        The frame source is told over a line where there is one; it subscribes all the same, and
        counts as one subscription less.
        """
        is_said = self._line is not None and (not self._is_due(stamp_ns) or self._say(stamp_ns))
        if self._hears_progress.count > is_said:
            message = Header(frame_id=self._name)
            write_stamp_ns(message.stamp, stamp_ns)
            self._progress.publish(message)

    @property
    def _is_topic_heard(self) -> bool:
        """Does somebody hear the topic who is not told over the line?"""
        return self._hears_progress.count > (self._line is not None)

    def _is_due(self, stamp_ns: int) -> bool:
        """Is the frame source to be told of this frame at once, over the line?"""
        if self._line is None:
            return False
        # Also of one that is earlier: time has jumped back.
        return topics.READY_NS in (self._said_ns, stamp_ns) or not (
            0 <= stamp_ns - self._said_ns < self._tells_every_ns
        )

    def _say(self, stamp_ns: int) -> bool:
        line = self._line
        if line is None or not say(line, pack_progress(stamp_ns)):
            return False
        self._said_ns = stamp_ns
        return True

    def _on_end(self) -> None:
        """A thread of the lines: the frame source is gone."""
        self._line = None

    def _tell(self, stamp_ns: int, numbers: Mapping[str, float], run: deque[Task]) -> None:
        """Worker thread. What was left to tell when the topics were left is not told."""
        with self._at_it:
            if not self._is_released:
                self.tell_progress(stamp_ns)
                for name, value in numbers.items():
                    self.debug.tell(name, value, stamp_ns)
        with self._container.pool.lock:
            if run is self._untold:
                self._is_at_it = False
                self._container.pool.wake(self._node)

    def _numbers(self, job: Job[Tensor], inputs: Inputs, work_ns: int) -> dict[str, float]:
        """What the frame took, and what was lost so far, by the names of debug topics."""
        numbers: dict[str, float] = {group_name(self._name, "skipped_frames"): self._tally.skipped}
        if job.repeated is None:
            numbers[group_name(self._name, "work_ms")] = work_ns / 1e6
        for source, edge in self._tally.edges.items():
            if source != self._name:
                numbers[edge_name(source, self._name, "held_frames")] = edge.held
                late = edge.arrivals[Arrival.LATE]
                numbers[edge_name(source, self._name, "late_states")] = late
        for source, age_ns in inputs.ages_ns.items():
            numbers[edge_name(source, self._name, "age_ms")] = age_ns / 1e6
        for source, wait_ns in inputs.waits_ns.items():
            numbers[edge_name(source, self._name, "wait_ms")] = wait_ns / 1e6
        return numbers
