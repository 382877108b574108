"""What feeds a run: images and vectors of a recording, video or camera, published as topics.

Lockstep: the player waits; at most a few images are under way that the frame source has not yet
numbered (whoever hears ``frames`` tells), and more leave once half of them are, so that it is not
woken for each. Realtime: messages leave at the pace of their stamps.
One thread publishes.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from streaming_net_ros.frames import Mode
from streaming_net_ros.nodes import topics

_AHEAD_IMAGES = 32
_WAIT_S = 0.05


@dataclass(frozen=True)
class Message:
    """One message to publish.

    Attributes:
        topic: relative to the network's namespace.
        stamp_ns: of its header, or the time of its record.
        due_ns: when it was recorded; realtime keeps this pace.
        content: a message object, or its CDR bytes.
        is_image: of the input that sets the frames.
    """

    topic: str
    stamp_ns: int
    content: Any
    is_image: bool
    due_ns: int | None = None


def header_stamp_ns(cdr: bytes) -> int:
    """The stamp of a serialized message whose first field is a std_msgs/Header."""
    order = "<" if cdr[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


class Player(Node):
    """Publishes messages in order.

    Args:
        messages: what to publish, ordered in time.
        types: message class per topic.
        mode: lockstep waits for the frame source; realtime keeps the recorded pace.
        options: for the node (context, namespace).
        is_live: the messages come as they happen (a camera): do not pace them.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        types: dict[str, Any],
        mode: Mode,
        options: dict[str, Any],
        *,
        is_live: bool = False,
    ) -> None:
        super().__init__("player", **options)
        self._messages = messages
        self._mode = mode
        self._is_live = is_live
        # The player's own queue must hold what it lets be under way.
        self._outgoing = {
            topic: self.create_publisher(kind, topic, topics.reliable(2 * _AHEAD_IMAGES))
            for topic, kind in types.items()
        }
        self._changed = threading.Condition()
        self._unnumbered: list[int] = []  # stamps of images that no frame has taken yet
        self._thread = threading.Thread(target=self._play, name="player", daemon=True)
        self._is_stopping = False
        self.images = 0
        self.is_done = False
        self.error: BaseException | None = None

    def is_matched(self) -> bool:
        """True if somebody hears every topic."""
        return all(p.get_subscription_count() > 0 for p in self._outgoing.values())

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Publish no more."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    @property
    def unnumbered(self) -> int:
        """Images published that are in no frame (yet): refused, dropped, or on their way."""
        with self._changed:
            return len(self._unnumbered)

    def numbered(self, captured_ns: int) -> None:
        """Images up to this capture time have been numbered, or refused."""
        with self._changed:
            self._unnumbered = [stamp for stamp in self._unnumbered if stamp > captured_ns]
            if len(self._unnumbered) <= _AHEAD_IMAGES // 2:
                self._changed.notify_all()

    def _play(self) -> None:
        try:
            for message in self._paced(iter(self._messages)):
                self._outgoing[message.topic].publish(message.content)
                self.images += message.is_image
        except Exception as error:  # told to the run, which ends with it
            self.error = error
        self.is_done = True

    def _paced(self, messages: Iterator[Message]) -> Iterator[Message]:
        """The same messages, each when it may leave."""
        begun_s: float | None = None
        first_ns = 0
        for message in messages:
            if self._mode == "realtime" and not self._is_live:
                due_ns = message.stamp_ns if message.due_ns is None else message.due_ns
                if begun_s is None:
                    begun_s, first_ns = time.monotonic(), due_ns
                self._sleep_until(begun_s + (due_ns - first_ns) / 1e9)
            with self._changed:
                while self._mode == "lockstep" and len(self._unnumbered) >= _AHEAD_IMAGES:
                    if self._is_stopping:
                        return
                    self._changed.wait(_WAIT_S)
                if self._is_stopping:
                    return
                if message.is_image:
                    self._unnumbered.append(message.stamp_ns)
            yield message

    def _sleep_until(self, at_s: float) -> None:
        with self._changed:
            while not self._is_stopping and (left_s := at_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
