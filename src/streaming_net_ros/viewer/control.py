"""Changing a running network: services and parameters, each with a time-out, answers as values.

What is asked for is what ``ros2 service call`` and ``ros2 param set`` do. Nothing here blocks: a
call gives a future, whose answer says in words what was done or why not. Used by the page and by
tests. No NiceGUI. Whether somebody may change anything is decided elsewhere (``guard``).

Threads: public methods may be called from any thread; ROS is used on the link's thread alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterDescriptor, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)
from rclpy.node import Node
from std_srvs.srv import Trigger

from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.viewer.link import Link

ANSWER_S = 3.0
SNAPSHOT_S = 30.0
_LEAST_INTEGER, _GREATEST_INTEGER = -(1 << 63), (1 << 63) - 1

Value = bool | int | float | str
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What became of a call: whether it was done, and what was said."""

    is_done: bool
    text: str


@dataclass(frozen=True)
class Parameter:
    """A parameter of a node that can be set while it runs.

    Attributes:
        name: as ``ros2 param`` says it.
        value: now.
        text: what it means.
        choices: if only these are allowed.
        least, greatest: if it has a range.
    """

    name: str
    value: Value
    text: str = ""
    choices: tuple[str, ...] = ()
    least: float = -math.inf
    greatest: float = math.inf


@dataclass
class _Call:
    """A request that waits for its service, and then for its answer."""

    kind: Any
    service: str
    request: Any
    read: Callable[[Any], Any]
    missed: Callable[[str], Any]
    told: Future[Any]
    until_s: float
    waited: Any = None


class Control:
    """The client of a network's services and parameters.

    Args:
        link: the node that asks; must not be entered yet.
        answer_s: how long an answer is waited for, where nothing else is said.
    """

    def __init__(self, link: Link, answer_s: float = ANSWER_S) -> None:
        self._link = link
        self._answer_s = answer_s
        self._calls: list[_Call] = []
        self._clients: dict[str, Any] = {}
        link.tick(self._look_after)
        link.on_end(self._give_up)

    def trigger(self, node: str, service: str, timeout_s: float | None = None) -> Future[Answer]:
        """Call a service without arguments: pause, resume, step, reset, save_snapshot, ..."""
        return self._ask(
            Trigger,
            f"{node}/{service}",
            Trigger.Request(),
            lambda given: Answer(bool(given.success), str(given.message)),
            _failed,
            timeout_s=timeout_s,
        )

    def pause(self) -> Future[Answer]:
        """Feed no more images."""
        return self.trigger(FRAME_SOURCE, "pause")

    def resume(self) -> Future[Answer]:
        """Go on."""
        return self.trigger(FRAME_SOURCE, "resume")

    def step(self, frames: int = 1) -> Future[Answer]:
        """Feed so many frames while paused (lockstep)."""
        return self.set_then_trigger(FRAME_SOURCE, "step_frames", frames, "step")

    def set_then_trigger(
        self, node: str, parameter: str, value: Value, service: str, timeout_s: float | None = None
    ) -> Future[Answer]:
        """Set a parameter, and if that was done, call a service that reads it."""
        done: Future[Answer] = Future()

        def go_on(was_set: Answer) -> None:
            if was_set.is_done:
                _then(self.trigger(node, service, timeout_s), done, partial(_tell, done), _failed)
            else:
                _tell(done, was_set)

        _then(self.set(node, parameter, value), done, go_on, _failed)
        return done

    def set(
        self, node: str, parameter: str, value: Value, timeout_s: float | None = None
    ) -> Future[Answer]:
        """Set a parameter; the node itself decides, and says why not."""
        if why := _not_sendable(value):
            return _answered(Answer(False, f"{parameter}: {why}"))
        message = ParameterMessage(name=parameter, value=_message_of(value))
        return self._ask(
            SetParametersAtomically,
            f"{node}/set_parameters_atomically",
            SetParametersAtomically.Request(parameters=[message]),
            lambda given: Answer(
                bool(given.result.successful),
                str(given.result.reason) or f"{node}: {parameter} is {told_value(value)}",
            ),
            _failed,
            timeout_s=timeout_s,
        )

    def parameters_of(self, node: str) -> Future[tuple[Parameter, ...]]:
        """The parameters of a node that may be set now; empty if the node does not answer."""
        done: Future[tuple[Parameter, ...]] = Future()

        def ask(kind: Any, request: Any, read: Callable[[Any], Any], then: Any) -> None:
            service = f"{node}/{_SERVICES[kind]}"
            _then(self._ask(kind, service, request, read, _none), done, then, _nothing)

        def describe(names: list[str] | None) -> None:
            found = [name for name in names or () if not name.startswith(_OTHERS)]
            if not found:
                _tell(done, ())
                return
            request = DescribeParameters.Request(names=found)
            ask(DescribeParameters, request, lambda given: given.descriptors, get)

        def get(told: Sequence[ParameterDescriptor] | None) -> None:
            described = [one for one in told or () if not one.read_only]
            if not described:
                _tell(done, ())
                return
            request = GetParameters.Request(names=[one.name for one in described])
            ask(GetParameters, request, lambda given: given.values, partial(finish, described))

        def finish(
            described: list[ParameterDescriptor], values: Sequence[ParameterValue] | None
        ) -> None:
            read = (_read(*pair) for pair in zip(described, values or (), strict=False))
            _tell(done, tuple(one for one in read if one is not None))

        ask(
            ListParameters,
            ListParameters.Request(),
            lambda given: list(given.result.names),
            describe,
        )
        return done

    # --- the link's thread --------------------------------------------------------------------

    def _ask(
        self,
        kind: Any,
        service: str,
        request: Any,
        read: Callable[[Any], T],
        missed: Callable[[str], T],
        *,
        timeout_s: float | None = None,
    ) -> Future[T]:
        told: Future[T] = Future()
        until_s = time.monotonic() + (timeout_s or self._answer_s)
        call = _Call(kind, service, request, read, missed, told, until_s)

        def begin(node: Node) -> None:
            self._calls.append(call)
            self._try(call, node)

        self._link.post(begin)
        return told

    def _try(self, call: _Call, node: Node) -> None:
        """Ask, if the service is there; what cannot be sent is trouble of its own call alone."""
        try:
            if call.service not in self._clients:
                self._clients[call.service] = node.create_client(call.kind, call.service)
            client = self._clients[call.service]
            if call.waited is None and client.service_is_ready():
                call.waited = client.call_async(call.request)
                call.waited.add_done_callback(lambda _: self._settle(call))
        except Exception as error:
            self._end(call, call.missed(f"cannot be asked for: {_told(error)}"))

    def _look_after(self, node: Node) -> None:
        """Ask those who have come meanwhile; give up on those who never answer."""
        for call in list(self._calls):
            if time.monotonic() > call.until_s:
                what = "does not exist" if call.waited is None else "did not answer"
                place = f"service {self._link.namespace}/{call.service}"
                if call.waited is not None:
                    self._clients[call.service].remove_pending_request(call.waited)
                self._end(call, call.missed(f"{place} {what}: is the network there?"))
            elif call.waited is None:
                self._try(call, node)

    def _settle(self, call: _Call) -> None:
        try:
            given = call.waited.result()
            answer = call.missed("no answer") if given is None else call.read(given)
        except Exception as error:  # an answer that cannot be read is one, too
            answer = call.missed(f"the answer cannot be read: {_told(error)}")
        self._end(call, answer)

    def _end(self, call: _Call, answer: Any) -> None:
        """Tell the answer, once: an answer may still come after it was given up."""
        if call in self._calls:
            self._calls.remove(call)
            _tell(call.told, answer)

    def _give_up(self) -> None:
        """The link has ended: nobody answers any more."""
        for call in list(self._calls):
            self._end(call, call.missed("the viewer has ended"))


_OTHERS = ("qos_overrides.", "use_sim_time", "start_type_description_service")
_FIELDS = {
    ParameterType.PARAMETER_BOOL: "bool_value",
    ParameterType.PARAMETER_INTEGER: "integer_value",
    ParameterType.PARAMETER_DOUBLE: "double_value",
    ParameterType.PARAMETER_STRING: "string_value",
}


_SERVICES = {
    ListParameters: "list_parameters",
    DescribeParameters: "describe_parameters",
    GetParameters: "get_parameters",
}


def told_value(value: Value) -> str:
    """A value as ``ros2 param set`` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _not_sendable(value: Value) -> str:
    """Why ROS cannot carry a value; empty if it can."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    if isinstance(value, int) and not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
        return "too large a whole number"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "not a text"
        return "not a text" if "\0" in value else ""
    return ""


def _tell(told: Future[T], answer: T) -> None:
    """Set a future's result; not of one that is told or cancelled: its page has gone."""
    with contextlib.suppress(InvalidStateError):
        told.set_result(answer)


def _then(
    asked: Future[Any], done: Future[T], work: Callable[[Any], None], missed: Callable[[str], T]
) -> None:
    """Go on with an answer; whatever goes wrong there, the whole call is answered."""

    def go_on(told: Future[Any]) -> None:
        try:
            work(told.result())
        except Exception as error:
            _tell(done, missed(_told(error)))

    asked.add_done_callback(go_on)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _failed(why: str) -> Answer:
    return Answer(False, why)


def _nothing(why: str) -> tuple[Parameter, ...]:
    return ()


def _none(why: str) -> None:
    return None


def _answered(answer: Answer) -> Future[Answer]:
    done: Future[Answer] = Future()
    done.set_result(answer)
    return done


def _message_of(value: Value) -> ParameterValue:
    if isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    if isinstance(value, int):
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def _read(descriptor: ParameterDescriptor, value: ParameterValue) -> Parameter | None:
    """A parameter as it was told; None of a type that has no widget."""
    if value.type not in _FIELDS:
        return None
    ranges: Sequence[Any] = [*descriptor.floating_point_range, *descriptor.integer_range]
    constraint = str(descriptor.additional_constraints)
    is_choice = constraint.startswith("one of ")
    return Parameter(
        str(descriptor.name),
        getattr(value, _FIELDS[value.type]),
        str(descriptor.description),
        tuple(constraint.removeprefix("one of ").split(", ")) if is_choice else (),
        ranges[0].from_value if ranges else -math.inf,
        ranges[0].to_value if ranges else math.inf,
    )
