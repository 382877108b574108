"""Changing a running network: services and parameters, each with a time-out, answers as values.

What is asked for is what ``ros2 service call`` and ``ros2 param set`` do. Nothing here blocks: a
call gives a future, whose answer says in words what was done or why not. Used by the page and by
tests. No NiceGUI. Whether somebody may change anything is decided elsewhere (``guard``).

Threads: public methods may be called from any thread; ROS is used on the link's thread alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
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

    def trigger(self, node: str, service: str, timeout_s: float | None = None) -> Future[Answer]:
        """Call a service without arguments: pause, resume, step, reset, save_snapshot, ..."""
        return self._ask(
            Trigger,
            f"{node}/{service}",
            Trigger.Request(),
            lambda given: Answer(bool(given.success), str(given.message)),
            lambda why: Answer(False, why),
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

        def go_on(was_set: Future[Answer]) -> None:
            if not was_set.result().is_done:
                done.set_result(was_set.result())
                return
            called = self.trigger(node, service, timeout_s)
            called.add_done_callback(lambda told: done.set_result(told.result()))

        self.set(node, parameter, value).add_done_callback(go_on)
        return done

    def set(
        self, node: str, parameter: str, value: Value, timeout_s: float | None = None
    ) -> Future[Answer]:
        """Set a parameter; the node itself decides, and says why not."""
        message = ParameterMessage(name=parameter, value=_message_of(value))
        if isinstance(value, float) and not math.isfinite(value):
            return _answered(Answer(False, f"{parameter}: not a finite number"))
        return self._ask(
            SetParametersAtomically,
            f"{node}/set_parameters_atomically",
            SetParametersAtomically.Request(parameters=[message]),
            lambda given: Answer(
                bool(given.result.successful),
                str(given.result.reason) or f"{node}: {parameter} is {told_value(value)}",
            ),
            lambda why: Answer(False, why),
            timeout_s=timeout_s,
        )

    def parameters_of(self, node: str) -> Future[tuple[Parameter, ...]]:
        """The parameters of a node that may be set now; empty if the node does not answer."""
        done: Future[tuple[Parameter, ...]] = Future()
        names: list[str] = []
        described: list[ParameterDescriptor] = []

        def get(told: Future[Any]) -> None:
            if told.result() is None:
                done.set_result(())
                return
            described.extend(d for d in told.result() if not d.read_only)
            names.extend(d.name for d in described)
            request = GetParameters.Request(names=names)
            asked = self._ask(
                GetParameters, f"{node}/get_parameters", request, lambda given: given.values, _none
            )
            asked.add_done_callback(finish)

        def describe(told: Future[Any]) -> None:
            if told.result() is None:
                done.set_result(())
                return
            found = [n for n in told.result() if not n.startswith(_OTHERS)]
            request = DescribeParameters.Request(names=found)
            asked = self._ask(
                DescribeParameters,
                f"{node}/describe_parameters",
                request,
                lambda given: given.descriptors,
                _none,
            )
            asked.add_done_callback(get)

        def finish(told: Future[Any]) -> None:
            given = zip(described, told.result() or (), strict=False)
            read = (_read(descriptor, value) for descriptor, value in given)
            done.set_result(tuple(one for one in read if one is not None))

        listed = self._ask(
            ListParameters,
            f"{node}/list_parameters",
            ListParameters.Request(),
            lambda given: list(given.result.names),
            _none,
        )
        listed.add_done_callback(describe)
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
        if call.service not in self._clients:
            self._clients[call.service] = node.create_client(call.kind, call.service)
        client = self._clients[call.service]
        if call.waited is None and client.service_is_ready():
            call.waited = client.call_async(call.request)
            call.waited.add_done_callback(lambda _: self._settle(call))

    def _look_after(self, node: Node) -> None:
        """Ask those who have come meanwhile; give up on those who never answer."""
        for call in list(self._calls):
            if time.monotonic() > call.until_s:
                what = "does not exist" if call.waited is None else "did not answer"
                place = f"service {self._link.namespace}/{call.service}"
                if call.waited is not None:
                    self._clients[call.service].remove_pending_request(call.waited)
                self._calls.remove(call)
                call.told.set_result(call.missed(f"{place} {what}: is the network there?"))
            elif call.waited is None:
                self._try(call, node)

    def _settle(self, call: _Call) -> None:
        if call not in self._calls:
            return
        self._calls.remove(call)
        given = call.waited.result()
        call.told.set_result(call.missed("no answer") if given is None else call.read(given))


_OTHERS = ("qos_overrides.", "use_sim_time", "start_type_description_service")
_FIELDS = {
    ParameterType.PARAMETER_BOOL: "bool_value",
    ParameterType.PARAMETER_INTEGER: "integer_value",
    ParameterType.PARAMETER_DOUBLE: "double_value",
    ParameterType.PARAMETER_STRING: "string_value",
}


def told_value(value: Value) -> str:
    """A value as ``ros2 param set`` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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
