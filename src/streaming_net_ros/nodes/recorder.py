"""What hears a run: subscribes to responses, frames and progress, as any robot's node would.

Responses are kept as they came, in CDR bytes, so that what is written is what a subscriber got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, TimeReference
from std_msgs.msg import Header

from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network import OutputSpec
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.peers import publishers_of
from streaming_net_ros.nodes.player import header_stamp_ns
from streaming_net_ros.wire import read_stamp_ns

_DEPTH = 2000
RESPONSE_TYPES = {
    "twist": (TwistStamped, "geometry_msgs/msg/TwistStamped"),
    "tensor": (Image, "sensor_msgs/msg/Image"),
}
FRAMES_TYPE = "sensor_msgs/msg/TimeReference"
Write = Callable[[str, str, int, bytes], None]  # (topic, type, time in ns, CDR bytes)


class Recorder(Node):
    """Hears everything that leaves a network.

    Args:
        outputs: the network's.
        grid: its frame grid.
        primary: the input whose images set the frames.
        write: called for every response and frame, in the executor thread.
        options: for the node (context, namespace).
        states: groups whose states are written as well.

    Attributes:
        was_changed: somebody has changed the network while it ran.
        is_held_up: somebody has paused it, or slowed it down.
        on_frame: told of every frame's capture time (ns), in the executor thread.
    """

    def __init__(
        self,
        outputs: dict[str, OutputSpec],
        grid: FrameGrid,
        primary: str,
        write: Write,
        options: dict[str, Any],
        *,
        states: tuple[str, ...] = (),
    ) -> None:
        super().__init__("recorder", **options)
        self._grid = grid
        self._primary = primary
        self._write = write
        self.on_frame: Callable[[int], None] = lambda captured_ns: None
        self.counts = dict.fromkeys(outputs, 0)
        self.disordered = 0
        self._newest_ns = dict.fromkeys(outputs, -1)
        self.progress: dict[str, int] = {}  # newest finished frame by group
        self.frames = 0  # that the frame source has told of
        self.last_frame: int | None = None
        self.was_changed = self.is_held_up = False
        self._heard = []
        self._ready: set[str] = set()
        qos = topics.reliable(_DEPTH)
        for output, spec in outputs.items():
            kind, kind_name = RESPONSE_TYPES[spec.publish]
            name = topics.response(output)
            heard = partial(self._on_response, output, self.resolve_topic_name(name), kind_name)
            self._heard.append(self.create_subscription(kind, name, heard, qos, raw=True))
        image, image_name = RESPONSE_TYPES["tensor"]
        for group in states:
            name = self.resolve_topic_name(topics.state(group))
            heard = partial(self._on_state, name, image_name)
            self._heard.append(self.create_subscription(image, name, heard, qos, raw=True))
        self._heard.append(
            self.create_subscription(TimeReference, topics.FRAMES, self._on_frame, qos)
        )
        self._source_status = f"{self.get_namespace()}/{FRAME_SOURCE}: streaming"[1:]
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, 10)
        self._heard.append(
            self.create_subscription(DiagnosticArray, topics.CHANGES, self._on_changes, qos)
        )
        self._progress = self.create_subscription(Header, topics.PROGRESS, self._on_progress, qos)

    def is_matched(self, groups: Iterable[str]) -> bool:
        """True if every response will be heard, from the first on.

        Matching has two ends. This end is asked; the other one is known from a group's "ready":
        subscriptions are announced in the order in which they were made, and that of ``progress``
        was made last, so that a publisher which reaches it has met those of the responses too.
        """
        return set(groups) <= self._ready and all(publishers_of(self, s) > 0 for s in self._heard)

    def hear_no_progress(self) -> None:
        """Groups need not tell a recorder of their progress that only counts responses."""
        self.destroy_subscription(self._progress)

    def _on_response(self, output: str, topic: str, kind: str, cdr: bytes) -> None:
        stamp_ns = header_stamp_ns(cdr)
        self.counts[output] += 1
        self.disordered += stamp_ns <= self._newest_ns[output]
        self._newest_ns[output] = stamp_ns
        self._write(topic, kind, stamp_ns, cdr)

    def _on_state(self, topic: str, kind: str, cdr: bytes) -> None:
        self._write(topic, kind, header_stamp_ns(cdr), cdr)

    def _on_frame(self, message: TimeReference) -> None:
        self.on_frame(read_stamp_ns(message.time_ref))
        if message.source != self._primary:
            return
        frame = self._grid.frame_at(read_stamp_ns(message.header.stamp))
        self.frames += 1
        self.last_frame = frame

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._source_status:
                told = {value.key: value.value for value in status.values}
                self.is_held_up = told.get("state", "running") != "running"

    def _on_changes(self, message: DiagnosticArray) -> None:
        self.was_changed |= any(status.name != FRAME_SOURCE for status in message.status)

    def _on_progress(self, message: Header) -> None:
        stamp_ns = read_stamp_ns(message.stamp)
        self._ready.add(message.frame_id)
        if stamp_ns != topics.READY_NS:
            frame = self._grid.frame_at(stamp_ns)
            known = self.progress.get(message.frame_id, frame)
            self.progress[message.frame_id] = max(frame, known)
