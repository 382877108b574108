"""What a message costs, per executor and number of nodes: why the containers use EventsExecutor.

    python benchmarks/executors.py [--messages 300] [--nodes 1 16]

One small message at a time from a publisher to a subscription of the same process, beside so many
idle lifecycle nodes: latency to the callback, and CPU time of the whole process per message.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.signals import SignalHandlerOptions
from report import Report, arguments, finish, told
from std_msgs.msg import Header


def measure(executor_class: type, nodes: int, messages: int) -> tuple[float, float]:
    """(median latency, CPU time) per message, seconds."""
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    members = [LifecycleNode(f"idle{number}", context=context) for number in range(nodes)]
    executor = executor_class(context=context)
    for node in members:
        executor.add_node(node)
    came = threading.Event()
    publisher = members[0].create_publisher(Header, "ping", 10)
    members[0].create_subscription(Header, "ping", lambda _: came.set(), 10)
    ending = False

    def spin() -> None:
        while not ending:
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    while publisher.get_subscription_count() == 0:
        time.sleep(0.01)
    taken = []
    cpu = time.process_time()
    for _ in range(messages):
        came.clear()
        begun = time.perf_counter()
        publisher.publish(Header())
        came.wait(5)
        taken.append(time.perf_counter() - begun)
    cpu = time.process_time() - cpu
    ending = True
    thread.join()
    for node in members:
        node.destroy_node()
    rclpy.shutdown(context=context)
    return statistics.median(taken), cpu / messages


def draw(report: Report) -> Any:
    """Bars of latency and CPU time."""
    from picture import COMPOSED, PROCESSES, grouped_bars, new_figure

    rows = report.rows
    figure = new_figure("What a small message costs within a process", told(report.machine))
    axes = figure.subplots()
    nodes = [f"{row['nodes']} node{'s' * (row['nodes'] > 1)}" for row in rows]
    grouped_bars(
        axes,
        [
            f"{row['executor'].removesuffix('Executor')}\n{beside}"
            for row, beside in zip(rows, nodes, strict=True)
        ],
        [
            ("latency, median", COMPOSED, [row["latency_p50_ms"] for row in rows]),
            ("CPU time", PROCESSES, [row["cpu_ms"] for row in rows]),
        ],
    )
    axes.set(ylabel="ms per message")
    axes.legend()
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 16])
    given = parser.parse_args()
    executors: list[type] = [SingleThreadedExecutor]
    try:
        from rclpy.experimental import EventsExecutor

        executors.append(EventsExecutor)
    except ImportError:
        print("this rclpy has no EventsExecutor")
    rows = []
    for nodes in given.nodes:
        for executor in executors:
            latency_s, cpu_s = measure(executor, nodes, given.messages)
            rows.append(
                {
                    "executor": executor.__name__,
                    "nodes": nodes,
                    "latency_p50_ms": latency_s * 1e3,
                    "cpu_ms": cpu_s * 1e3,
                }
            )
    question = "What does a small message cost, per executor and number of idle nodes beside it?"
    finish(Report("executors", question, rows), given, draw)


if __name__ == "__main__":
    main()
