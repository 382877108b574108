"""The last inputs of a network in a row, heard in short bursts: what saliency is taken of.

A throttled state is enough to look at, but a gradient needs all images in a row. So the inputs are
heard at full rate until there are enough, then left for a while; and left for good when nobody has
asked for a few seconds. Best effort: nobody waits for this one. No NiceGUI.

Threads: callbacks run on the link's thread; `ask` may be called from any.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from streaming_net_ros.errors import StateError
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.nodes import topics
from streaming_net_ros.viewer.link import Link
from streaming_net_ros.viewer.watch import shaped
from streaming_net_ros.wire import StateFormat, read_state

REST_S = 1.0  # between two bursts
LINGER_S = 3.0
STALE_S = 10.0  # after that a row is no answer to what influences the network now
_DEEP = QoSProfile(depth=32, reliability=QoSReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class Row:
    """States of all inputs, frame by frame.

    Attributes:
        newest_frame: of the last of them.
        states: per input (frames, ...), rising; equally many of each.
        number: counts the rows that were heard; a reset gives the same frames again.
    """

    newest_frame: int
    states: Mapping[str, NDArray[Any]]
    number: int = 0

    def last(self, count: int) -> Row | None:
        """The last so many frames of it; None if it has fewer."""
        if any(len(states) < count for states in self.states.values()):
            return None
        ends = {name: states[-count:] for name, states in self.states.items()}
        return replace(self, states=ends)


class InputRow:
    """The last states of some inputs, as far as no frame is missing between them.

    Args:
        names: of the inputs.
        most: states kept of each.
    """

    def __init__(self, names: tuple[str, ...], most: int = 64) -> None:
        self._heard: dict[str, deque[tuple[int, NDArray[Any]]]] = {
            name: deque(maxlen=most) for name in names
        }

    def add(self, name: str, frame: int, values: NDArray[Any] | None) -> None:
        """A state has come; a gap, a step back or a silent frame begins the row anew."""
        row = self._heard[name]
        if values is None or (row and frame != row[-1][0] + 1):
            row.clear()
        if values is not None:
            row.append((frame, values))

    def whole(self, count: int) -> Row | None:
        """The last so many states of every input, up to one frame; None if they are not there."""
        if not all(self._heard.values()):
            return None
        newest = min(row[-1][0] for row in self._heard.values())
        states = {}
        for name, row in self._heard.items():
            found = [values for frame, values in row if newest - count < frame <= newest]
            if len(found) < count:
                return None
            states[name] = np.stack(found)
        return Row(newest, states)


class Bursts:
    """Hears the inputs of a network while somebody asks for them.

    Args:
        link: the node that hears.
        inputs: formats of the inputs' states, by name.
        grid: the network's frames.
    """

    def __init__(self, link: Link, inputs: Mapping[str, StateFormat], grid: FrameGrid) -> None:
        self._link = link
        self._inputs = dict(inputs)
        self._grid = grid
        self._lock = threading.Lock()
        self._row = InputRow(tuple(inputs))
        self._newest: Row | None = None
        self._rows = 0
        self._subscriptions: list[Any] = []
        self._done_s = -1e9
        self._asked_s: dict[int, float] = {}  # when, by how many frames were asked for

    def ask(self, count: int) -> Row | None:
        """The newest whole row of so many frames, if there is one; at most `STALE_S` old."""
        now_s = time.monotonic()
        with self._lock:
            self._asked_s[count] = now_s
            if now_s - self._done_s > STALE_S:
                self._newest = None
            newest = self._newest
        self._link.post(self._look_after)
        return None if newest is None else newest.last(count)

    @property
    def is_hearing(self) -> bool:
        """Whether the inputs are subscribed to now."""
        return bool(self._subscriptions)

    def _wanted(self) -> int:
        """The most frames that anybody has asked for lately; 0 if nobody has."""
        now_s = time.monotonic()
        with self._lock:
            return max(
                (n for n, at_s in self._asked_s.items() if now_s - at_s < LINGER_S), default=0
            )

    def _look_after(self, node: Node) -> None:
        """Begin or end a burst. On the link's thread."""
        is_wanted = self._wanted() > 0 and time.monotonic() - self._done_s >= REST_S
        if is_wanted and not self._subscriptions:
            self._subscriptions = [
                node.create_subscription(
                    Image, topics.state(name), partial(self._on_state, name), _DEEP
                )
                for name in self._inputs
            ]
        elif not is_wanted and self._subscriptions:
            for subscription in self._subscriptions:
                node.destroy_subscription(subscription)
            self._subscriptions = []

    def _on_state(self, name: str, message: Image) -> None:
        try:
            told = read_state(message, self._inputs[name])
        except StateError:  # another network under the same name: the watch says so
            return
        values = told.payload
        if values is not None:
            values = shaped(values, self._inputs[name].shape).copy()  # the message is lent
        self._row.add(name, self._grid.frame_at(told.stamp_ns), values)
        wanted = self._wanted()
        whole = self._row.whole(wanted) if wanted else None
        if whole is not None:
            with self._lock:
                self._rows += 1
                self._newest = replace(whole, number=self._rows)
                self._done_s = time.monotonic()
        if whole is not None or not wanted:
            self._link.post(self._look_after)
