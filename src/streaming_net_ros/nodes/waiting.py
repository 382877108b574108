"""Waiting and looking by the machine's own clock, while callbacks of the executor go on."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer

_LOOK_S = 0.01


def steady_timer(node: Node, period_s: float, call: Callable[[], None]) -> Timer:
    """A timer by a clock that nobody sets or stops, also where ROS time is simulated."""
    return node.create_timer(period_s, call, clock=Clock(clock_type=ClockType.STEADY_TIME))


async def until(node: Node, holds: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a condition holds, or the time is up, by a clock that nobody sets.

    Args:
        node: whose executor runs the coroutine.
        holds: the condition; asked a hundred times a second, in the executor thread.
        timeout_s: how long at most.

    Returns:
        Whether it holds.
    """
    if holds():
        return True
    end_s = time.monotonic() + timeout_s
    over: Future[bool] = Future(executor=node.executor)

    def look() -> None:
        if over.done():
            return
        if holds():
            over.set_result(True)
        elif time.monotonic() >= end_s:
            over.set_result(False)

    timer = steady_timer(node, _LOOK_S, look)
    try:
        return bool(await over)
    finally:
        node.destroy_timer(timer)
