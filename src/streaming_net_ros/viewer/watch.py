"""What a running network shows: newest states, responses, health and changes, as plain values.

Reading is looking: what is read is subscribed to, and left again when nobody has read it for a
while. So a page that hangs, a hidden tab and a killed browser cost the network nothing, and nobody
has to say good-bye. Of states only throttled copies are heard. No NiceGUI; imported by the page.

Threads: callbacks run on the link's thread; everything public may be called from any thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image, TimeReference

from streaming_net_ros.errors import StateError
from streaming_net_ros.frames import FrameGrid, Origin
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network import ImageInput, NetworkSpec, state_shapes
from streaming_net_ros.nodes import topics
from streaming_net_ros.viewer.link import Link
from streaming_net_ros.wire import (
    StateFormat,
    read_fields,
    read_stamp_ns,
    read_state,
)

LINGER_S = 3.0  # how long a subscription outlives the last look
ABSENT_S = 3.5  # diagnostics come once a second
_STATES = 24  # of a node, newest last
_RESPONSES = 1200
_HEALTH = 900  # a quarter of an hour
_CHANGES = 1000
_LARGEST_TENSOR = 4096  # numbers; a larger response is looked at as its group's state


@dataclass(frozen=True, eq=False)
class Seen:
    """A state that was heard.

    Attributes:
        node: whose.
        frame: of the state.
        origin: what it is made of.
        received_s: by the monotonic clock.
        number: counts the states heard of this node; tells two apart.
    """

    node: str
    frame: int
    origin: Origin
    received_s: float
    number: int
    _payload: NDArray[Any] | None = field(repr=False)
    _form: StateFormat = field(repr=False)

    @cached_property
    def values(self) -> NDArray[Any] | None:
        """(channels, height, width) or (features,), as the edge carries it; None: silent."""
        return None if self._payload is None else shaped(self._payload, self._form.shape)


@dataclass(frozen=True)
class Response:
    """An answer that was heard.

    Attributes:
        captured_ns: of the newest image that can have influenced it.
        image_frame: that image's frame; None as long as nobody told.
        values: what was published: a twist's fields in the file's order, or the tensor.
        age_ms: at its arrival, by the system clock; counts only where captures have that clock.
        received_s: by the monotonic clock.
    """

    captured_ns: int
    image_frame: int | None
    values: tuple[float, ...]
    age_ms: float
    received_s: float


@dataclass(frozen=True)
class Status:
    """The newest /diagnostics of a member.

    Attributes:
        level: 0 fine, 1 warning, 2 error.
        text: what is not right, or ``running``.
        values: by key.
        received_s: by the monotonic clock.
    """

    level: int
    text: str
    values: Mapping[str, str]
    received_s: float

    def number(self, key: str) -> float | None:
        """A value as a number; None if there is none."""
        try:
            return float(self.values[key])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Change:
    """A change that the network told of: from which frame on, where, what, to which value."""

    frame: int
    node: str
    parameter: str
    value: str
    at_s: float  # since the epoch
    number: int  # counts all that were told of: old ones are forgotten, and numbers go on


def shaped(payload: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """(channels, height, width) or (features,) of a flat payload in the wire's order, a view."""
    if len(shape) != 3:
        return payload.reshape(shape)
    channels, height, width = shape
    return payload.reshape(height, width, channels).transpose(2, 0, 1)


def _now_s() -> float:
    return time.monotonic()


def formats_of(spec: NetworkSpec) -> dict[str, StateFormat]:
    """What each node's states look like on the wire."""

    def dtype(name: str) -> Any:
        if name in spec.inputs:
            return "uint8" if isinstance(spec.inputs[name], ImageInput) else "float32"
        return spec.state_dtype

    return {
        name: StateFormat(name, shape, dtype(name)) for name, shape in state_shapes(spec).items()
    }


class _Heard:
    """A topic that is subscribed to as long as somebody looks."""

    def __init__(self, subscribe: Callable[[Node], Any]) -> None:
        self.subscribe = subscribe
        self.subscription: Any = None
        self.looked_s = -1e9


class Watch:
    """What is to be seen of one network.

    Args:
        link: the node that hears; must not be entered yet.
        spec: the network.
        rate_hz: of its frame grid; None: the network file's.
    """

    def __init__(self, link: Link, spec: NetworkSpec, rate_hz: float | None = None) -> None:
        self.spec = spec
        self.grid = FrameGrid(rate_hz or spec.rate_hz)
        self.formats = formats_of(spec)
        self.namespace = link.namespace
        self._link = link
        self._lock = threading.Lock()
        self._states: dict[str, deque[Seen]] = {n: deque(maxlen=_STATES) for n in self.formats}
        self._counts = dict.fromkeys(self.formats, 0)
        self._responses: dict[str, deque[Response]] = {
            name: deque(maxlen=_RESPONSES) for name in spec.outputs
        }
        self._frames: dict[int, int] = {}  # capture time -> frame
        self._newest_frame: int | None = None
        self._health: dict[str, Status] = {}
        self._history: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        self._changes: deque[Change] = deque(maxlen=_CHANGES)
        self._changed = 0
        self._refused_s: dict[str, float] = {}  # when a state came that is not of this network
        self._heard: dict[str, _Heard] = {
            **{
                topics.throttled(name): _Heard(partial(self._hear_state, name))
                for name in self.formats
            },
            **{
                topics.response(name): _Heard(partial(self._hear_response, name))
                for name in spec.outputs
                if self.is_shown(name)
            },
            topics.FRAMES: _Heard(self._hear_frames),
        }
        link.tick(self._reconcile)
        link.post(self._hear_always)

    # --- reading is looking (any thread) ------------------------------------------------------

    def state(self, node: str) -> Seen | None:
        """The newest state of a node; None as long as none was heard.

        Raises:
            KeyError: the network has no such node.
        """
        self._look(topics.throttled(node))
        with self._lock:
            return self._states[node][-1] if self._states[node] else None

    def states(self, node: str) -> tuple[Seen, ...]:
        """The last states that were heard of a node, oldest first; frames may lie between them.

        Raises:
            KeyError: the network has no such node.
        """
        self._look(topics.throttled(node))
        with self._lock:
            return tuple(self._states[node])

    def responses(self, output: str) -> tuple[Response, ...]:
        """The last responses of an output, oldest first; none of one that is too large.

        Raises:
            KeyError: the network has no such output.
        """
        if self.is_shown(output):
            self._look(topics.response(output))
            self._look(topics.FRAMES)
        with self._lock:
            return tuple(self._responses[output])

    def is_shown(self, output: str) -> bool:
        """False for a response so large that hearing all of them would cost the network."""
        spec = self.spec.outputs[output]
        return (
            spec.publish == "twist"
            or int(np.prod(self.formats[spec.group].shape)) <= _LARGEST_TENSOR
        )

    @property
    def frame(self) -> int | None:
        """The newest frame that is known to have been fed."""
        self._look(topics.FRAMES)
        return self._newest_frame

    def status(self, member: str) -> Status | None:
        """The newest diagnostics of ``frame_source`` or a group."""
        return self._health.get(member)

    @property
    def is_present(self) -> bool:
        """True while the network's frame source tells of itself."""
        status = self._health.get(FRAME_SOURCE)
        return status is not None and time.monotonic() - status.received_s < ABSENT_S

    @property
    def is_paused(self) -> bool:
        """True if the frame source said so, at most a second ago."""
        status = self._health.get(FRAME_SOURCE)
        return self.is_present and status is not None and status.values.get("state") == "paused"

    @property
    def mismatch(self) -> str:
        """Why what runs is not the network that is shown here; empty as long as nothing says so.

        Told by what was heard in the last seconds: a network that replaces another is not blamed.
        """
        now_s = _now_s()
        told = {
            name: status
            for name, status in list(self._health.items())
            if now_s - status.received_s < ABSENT_S
        }
        known = {FRAME_SOURCE, *(group.name for group in self.spec.groups)}
        strangers = sorted(set(told) - known)
        if strangers:
            return f"it has the groups {', '.join(strangers[:5])}, which the file here has not"
        for name, status in told.items():
            rate_hz = status.number("target_hz")
            if rate_hz is not None and not math.isclose(rate_hz, self.grid.rate_hz, rel_tol=1e-3):
                return (
                    f"{name} runs at {rate_hz:g} Hz, here {self.grid.rate_hz:g} Hz is expected: "
                    "start the viewer with --rate-hz"
                )
        shapes = sorted(n for n, at_s in list(self._refused_s.items()) if now_s - at_s < ABSENT_S)
        return f"states of another shape or type come from {', '.join(shapes)}" if shapes else ""

    @property
    def mode(self) -> str:
        """``lockstep`` or ``realtime``, as the frame source tells; empty until it does."""
        status = self._health.get(FRAME_SOURCE)
        return status.values.get("mode", "") if self.is_present and status is not None else ""

    def history(self, member: str, key: str) -> tuple[tuple[float, float], ...]:
        """A number of /diagnostics over time: (seconds since the epoch, value), oldest first."""
        with self._lock:
            return tuple(self._history.get((member, key), ()))

    def changes(self, after: int = 0) -> tuple[Change, ...]:
        """What was changed while this viewer ran, oldest first; of very many the last thousand.

        Args:
            after: the number of the last one that is known already.
        """
        with self._lock:
            if after >= self._changed:
                return ()
            return tuple(one for one in self._changes if one.number > after)

    def looked_at(self) -> list[str]:
        """The topics that are subscribed to because somebody looks."""
        return [name for name, heard in self._heard.items() if heard.subscription is not None]

    def _look(self, key: str) -> None:
        self._heard[key].looked_s = time.monotonic()

    # --- hearing (the link's thread) ----------------------------------------------------------

    def _reconcile(self, node: Node) -> None:
        """Subscribe to what is looked at, and leave what is not."""
        now_s = time.monotonic()
        for heard in self._heard.values():
            is_wanted = now_s - heard.looked_s < LINGER_S
            if is_wanted and heard.subscription is None:
                heard.subscription = heard.subscribe(node)
            elif not is_wanted and heard.subscription is not None:
                node.destroy_subscription(heard.subscription)
                heard.subscription = None

    def _hear_always(self, node: Node) -> None:
        """Health and changes: rare and small, and a log must not miss any."""
        node.create_subscription(
            DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, topics.reliable(50)
        )
        node.create_subscription(
            DiagnosticArray, topics.CHANGES, self._on_changes, topics.reliable(100)
        )

    def _hear_state(self, name: str, node: Node) -> Any:
        with self._lock:
            self._states[name].clear()  # what is old is not shown as if it were new
        return node.create_subscription(
            Image, topics.throttled(name), partial(self._on_state, name), topics.LOOKED_AT
        )

    def _hear_response(self, name: str, node: Node) -> Any:
        kind = TwistStamped if self.spec.outputs[name].publish == "twist" else Image
        return node.create_subscription(
            kind, topics.response(name), partial(self._on_response, name), topics.reliable(100)
        )

    def _hear_frames(self, node: Node) -> Any:
        return node.create_subscription(
            TimeReference, topics.FRAMES, self._on_frame, topics.reliable(100)
        )

    def _on_state(self, name: str, message: Image) -> None:
        form = self.formats[name]
        try:
            told = read_state(message, form)
        except StateError:  # another network under the same name: `mismatch` says so
            self._refused_s[name] = _now_s()
            return
        self._counts[name] += 1
        seen = Seen(
            name,
            self.grid.frame_at(told.stamp_ns),
            told.origin,
            time.monotonic(),
            self._counts[name],
            told.payload,
            form,
        )
        with self._lock:
            self._states[name].append(seen)

    def _on_response(self, name: str, message: Any) -> None:
        spec = self.spec.outputs[name]
        captured_ns = read_stamp_ns(message.header.stamp)
        if spec.publish == "twist":
            values = tuple(read_fields(message.twist, tuple(spec.fields), topics.response(name)))
        else:
            dtype = self.formats[spec.group].dtype
            values = tuple(np.frombuffer(message.data, dtype).astype(float).tolist())
        answer = Response(
            captured_ns,
            self._frames.get(captured_ns),
            values,
            (time.time_ns() - captured_ns) / 1e6,
            time.monotonic(),
        )
        with self._lock:
            self._responses[name].append(answer)

    def _on_frame(self, message: TimeReference) -> None:
        frame = self.grid.frame_at(read_stamp_ns(message.header.stamp))
        self._newest_frame = frame
        if message.source == self.spec.primary_input:
            self._frames[read_stamp_ns(message.time_ref)] = frame
            while len(self._frames) > 2 * _RESPONSES:
                del self._frames[next(iter(self._frames))]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix, now_s = f"{self.namespace[1:]}/", time.time()
        for told in message.status:
            name = told.name.removesuffix(": streaming")
            if name == told.name or not name.startswith(prefix):
                continue
            member = name.removeprefix(prefix)
            level = told.level[0] if isinstance(told.level, bytes) else int(told.level)
            values = {pair.key: pair.value for pair in told.values}
            status = Status(level, told.message, values, time.monotonic())
            with self._lock:
                self._health[member] = status
                for key in values:
                    if (value := status.number(key)) is not None:
                        line = self._history.setdefault((member, key), deque(maxlen=_HEALTH))
                        line.append((now_s, value))

    def _on_changes(self, message: DiagnosticArray) -> None:
        frame = self.grid.frame_at(read_stamp_ns(message.header.stamp))
        with self._lock:
            for told in message.status:
                for pair in told.values:
                    self._changed += 1
                    self._changes.append(
                        Change(frame, told.name, pair.key, pair.value, time.time(), self._changed)
                    )
