"""What a hop cannot be cheaper than here: a copy of the state and the waking of a process.

Measured at the rate of the frames, because a core that has slept is slow to wake and its caches
are cold: figures of a tight loop say nothing about a robot at 30 Hz.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from multiprocessing import get_context
from typing import Any

import numpy as np


def wake_seconds(rate_hz: float, times: int) -> list[float]:
    """From writing an eventfd to a process that waits for it, at that rate."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    call, answer = os.eventfd(0), os.eventfd(0)
    child = os.fork()
    if child == 0:
        for _ in range(times):
            os.eventfd_read(call)
            struct.pack_into("q", shared, 8, time.monotonic_ns())
            os.eventfd_write(answer, 1)
        os._exit(0)
    taken = []
    for _ in range(times):
        time.sleep(1 / rate_hz)
        begun_ns = time.monotonic_ns()
        os.eventfd_write(call, 1)
        os.eventfd_read(answer)
        taken.append((struct.unpack_from("q", shared, 8)[0] - begun_ns) / 1e9)
    os.waitpid(child, 0)
    os.close(call)
    os.close(answer)
    return taken


def copy_seconds(size: int, rate_hz: float, times: int) -> list[float]:
    """One copy of so many bytes, at that rate."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    taken = []
    for _ in range(times):
        time.sleep(1 / rate_hz)
        begun = time.perf_counter()
        np.copyto(target, source)
        taken.append(time.perf_counter() - begun)
    return taken


def small_message_seconds(rate_hz: float, times: int) -> list[float]:
    """From publishing a std_msgs/Header to its callback in another process, plain rclpy."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_echo, args=(theirs,), daemon=True)
    child.start()
    from std_msgs.msg import Header

    from streaming_net_ros.nodes.host import Host

    with Host([], handles_signals=False) as host:
        from rclpy.node import Node

        node = Node("floor_sender", context=host.context)
        host.add(node)
        publisher = node.create_publisher(Header, "floor", 10)
        ours.recv()
        host.spin(lambda: publisher.get_subscription_count() > 0, 20)
        for _ in range(times):
            time.sleep(1 / rate_hz)
            publisher.publish(Header(frame_id=str(time.monotonic_ns())))
        taken: list[float] = ours.recv() if ours.poll(20) else []
    child.terminate()
    return taken


def _echo(pipe: Any) -> None:
    from rclpy.node import Node
    from std_msgs.msg import Header

    from streaming_net_ros.nodes.host import Host

    taken: list[float] = []

    def heard(message: Header) -> None:
        taken.append((time.monotonic_ns() - int(message.frame_id)) / 1e9)

    with Host([], handles_signals=False) as host:
        node = Node("floor_hearer", context=host.context)
        host.add(node)
        node.create_subscription(Header, "floor", heard, 10)
        pipe.send("there")
        last = [0, time.monotonic()]

        def is_over() -> bool:
            if len(taken) != last[0]:
                last[:] = [len(taken), time.monotonic()]
            return last[0] > 0 and time.monotonic() - last[1] > 0.5

        host.spin(is_over, 600)
        pipe.send(taken)
