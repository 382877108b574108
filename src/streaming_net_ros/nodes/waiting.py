"""Waiting inside a coroutine of the executor: callbacks go on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.task import Future

_LOOK_S = 0.01


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

    timer = node.create_timer(_LOOK_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
    try:
        return bool(await over)
    finally:
        node.destroy_timer(timer)
