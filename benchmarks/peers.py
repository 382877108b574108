"""A pipeline of six groups with states of 1 MiB: ours beside what people would use instead.

    python benchmarks/peers.py [--seconds 10] [--rounds 2] [--rate-hz 30] [--only NAME ...]

The network is ``networks/six_1mib.yaml``: little compute, five states of 1 MiB on their way. All
run in turns, at a camera's rate and at full speed:

    one_node     one plain rclpy node runs the whole network in the callback of the image
    naive        one plain rclpy node and process per group, states as Image messages (naive.py)
    naive_large  the same with our Fast DDS profile: segments that hold whole states
    processes    ours, one process per group
    composed     ours, all groups in one process
    pipelining   torch.distributed.pipelining with gloo, one process per group; no ROS in it

One camera feeds all, one subscriber hears all; pipelining makes its images itself. At a rate, the
latency is from publishing an image to the answer about it, and an image without an answer is lost.
CPU time is user and system time of the contender's processes per image; what the layers take
alone, at the same rate, is taken off: what is left was spent outside the layers. At full speed so
many images are under way at once as there are groups, and two more.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, cpu_seconds, pipelining
from geometry_msgs.msg import TwistStamped
from rates import cores_there, layers_cpu_seconds, picture
from rclpy.node import Node
from report import Report, Timeline, arguments, finish, median_row, told
from sensor_msgs.msg import Image

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.frames import FrameGrid, quantile
from streaming_net_ros.network import NetworkSpec, read_network_file
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.wire import read_stamp_ns, write_stamp_ns

NETWORK = Path(__file__).parent / "networks" / "six_1mib.yaml"
PIPELINING = "pipelining"
TITLES = {name: one.title for name, one in CONTENDERS.items()} | {PIPELINING: "torch pipelining"}
_UP_S, _WARM_UP_S, _DRAIN_S, _LOST_S = 90.0, 2.0, 1.5, 1.0


class Camera(Node):
    """Publishes images, at a rate or as many as may be under way, and hears the answers.

    Threads: at a rate a thread of its own publishes; all else is in the executor thread.
    """

    def __init__(self, host: Host, spec: NetworkSpec, rate_hz: float | None, window: int) -> None:
        super().__init__("camera", context=host.context)
        self._messages = [picture(spec, number) for number in range(8)]
        self._images = self.create_publisher(Image, spec.primary_input, topics.reliable(10))
        self.create_subscription(
            TwistStamped,
            topics.response(next(iter(spec.outputs))),
            self._on_answer,
            topics.reliable(100),
        )
        self._window = 0 if rate_hz else window
        self._under_way: dict[int, float] = {}
        self.sent: list[tuple[int, float]] = []  # stamp, time
        self.came_s: dict[int, float] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._shoot, args=(rate_hz,), daemon=True)
        if rate_hz:
            self._thread.start()
        else:
            self.create_timer(0.1, self.fill)

    def stop(self) -> None:
        """Send no more images."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()

    def fill(self) -> None:
        """Send what may be under way; whoever has not come for long is lost."""
        now_s = time.time()
        self._under_way = {k: at for k, at in self._under_way.items() if now_s - at < _LOST_S}
        while len(self._under_way) < self._window and not self._ends.is_set():
            stamp_ns = self._send()
            self._under_way[stamp_ns] = time.time()

    def _shoot(self, rate_hz: float) -> None:
        # A quarter period after the tick: no image falls into another frame by chance.
        grid = FrameGrid(rate_hz)
        while True:
            frame = grid.frame_at(time.time_ns())
            due_ns = grid.stamp_ns(frame + 1) + grid.period_ns // 4
            if self._ends.wait(max(0, due_ns - time.time_ns()) / 1e9):
                return
            self._send()

    def _send(self) -> int:
        message = self._messages[len(self.sent) % len(self._messages)]
        stamp_ns = time.time_ns()
        write_stamp_ns(message.header.stamp, stamp_ns)
        self.sent.append((stamp_ns, time.time()))
        self._images.publish(message)
        return stamp_ns

    def _on_answer(self, message: TwistStamped) -> None:
        stamp_ns = read_stamp_ns(message.header.stamp)
        self.came_s.setdefault(stamp_ns, time.time())
        self._under_way.pop(stamp_ns, None)
        if self._window:
            self.fill()


def fed(
    spec: NetworkSpec, namespace: str, rate_hz: float | None, seconds: float, pids: Sequence[int]
) -> tuple[Timeline, float]:
    """Feed what runs in a namespace: the timeline of its images, and its CPU time per image."""
    with Host(["--ros-args", "-r", f"__ns:=/{namespace}"]) as host:
        camera = Camera(host, spec, rate_hz, window=len(spec.groups) + 2)
        host.add(camera)
        try:
            is_up = host.spin(lambda: len(camera.came_s) > 0, _UP_S)
            host.spin(lambda: False, _WARM_UP_S)
            first, cpu_s = len(camera.sent), cpu_seconds(pids)
            host.spin(lambda: False, seconds)
            images, cpu_s = camera.sent[first:], cpu_seconds(pids) - cpu_s
            host.spin(lambda: False, _DRAIN_S)  # what is under way comes out
        finally:
            camera.stop()
    came_s = [camera.came_s.get(stamp_ns) for stamp_ns, _ in images]
    if not is_up or came_s.count(None) > len(came_s) - 2:
        raise SystemExit(f"{namespace}: no answers; its messages above say why")
    begun_s = images[0][1]
    timeline = Timeline(
        tuple(at_s - begun_s for _, at_s in images),
        tuple(None if at_s is None else at_s - begun_s for at_s in came_s),
    )
    return timeline, cpu_s / len(images)


def run(
    name: str, spec: NetworkSpec, rate_hz: float | None, seconds: float
) -> tuple[Timeline, float]:
    """One run of a contender: its timeline and CPU time per image."""
    if name == PIPELINING:
        frames = round(seconds * (rate_hz or 40))
        timeline, cpu_s = pipelining(spec.path, len(spec.groups), frames, rate_hz)
        return timeline, cpu_s / len(timeline.sent_s)
    namespace = f"peers_{name}_{time.time_ns() % 10**9}"
    with CONTENDERS[name].start(spec, namespace, rate_hz) as pids:
        return fed(spec, namespace, rate_hz, seconds, pids)


def row_of(name: str, at_rate: tuple[Timeline, float], at_full: tuple[Timeline, float],
           layers_s: float) -> dict[str, Any]:  # fmt: skip
    """One round of a contender."""
    timeline, cpu_s = at_rate
    pairs = zip(timeline.sent_s, timeline.received_s, strict=True)
    latency_ms = [(came_s - sent_s) * 1e3 for sent_s, came_s in pairs if came_s is not None]
    full, full_cpu_s = at_full
    came_s = sorted(at for at in full.received_s if at is not None)
    return {
        "peer": TITLES[name],
        "cpu_ms": cpu_s * 1e3,
        "outside_layers_ms": (cpu_s - layers_s) * 1e3,
        "latency_p50_ms": quantile(latency_ms, 0.5),
        "latency_p99_ms": quantile(latency_ms, 0.99),
        "latency_max_ms": max(latency_ms),
        "lost_percent": 100 * (1 - len(latency_ms) / len(timeline.sent_s)),
        "full_speed_per_s": (len(came_s) - 1) / (came_s[-1] - came_s[0]),
        "full_speed_cpu_ms": full_cpu_s * 1e3,
    }


def draw(report: Report) -> Any:
    """Four small panels, one bar a contender."""
    from picture import (
        COMPOSED,
        NAIVE,
        ONE_NODE,
        PALE,
        PIPELINING,
        PROCESSES,
        new_figure,
        number_told,
    )

    colours = dict(zip(TITLES.values(), (ONE_NODE, NAIVE, NAIVE, PROCESSES, COMPOSED, PIPELINING),
                       strict=True))  # fmt: skip
    rate = f"{report.details['rate_hz']:g} Hz"
    panels = {
        "outside_layers_ms": f"CPU outside the layers,\nms per frame at {rate}",
        "latency_p50_ms": f"latency at {rate},\nms: median / p99",
        "lost_percent": f"frames lost at {rate},\n%",
        "full_speed_per_s": "full speed,\nframes/s",
    }
    figure = new_figure("Six groups, states of 1 MiB", told(report.machine), 11,
                        1.7 + 0.4 * len(report.rows))  # fmt: skip
    for axes, (name, title) in zip(
        figure.subplots(1, 4, sharey=True), panels.items(), strict=True
    ):
        for place, row in enumerate(report.rows):
            far = row["latency_p99_ms"] if name == "latency_p50_ms" else row[name]
            hatch = "///" if "large" in row["peer"] else None
            colour = colours[row["peer"]]
            axes.barh(place, row[name], 0.66, color=colour, hatch=hatch, edgecolor="white")
            axes.plot([row[name], far], [place, place], color=colour, linewidth=1.4)
            text = number_told(row[name])
            text += f" / {number_told(far)}" if name == "latency_p50_ms" else ""
            axes.annotate(text, (far, place), xytext=(4, 0), va="center", fontsize=8, color=PALE,
                          textcoords="offset points")  # fmt: skip
        axes.set_title(title, fontsize=9.5)
        axes.set_yticks(range(len(report.rows)), [row["peer"] for row in report.rows])
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.3)
        axes.set_xlim(0, None if any(row[name] for row in report.rows) else 1)
    axes.invert_yaxis()
    return figure


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    spec = read_network_file(NETWORK)
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in given.only}
    timelines: dict[str, Timeline] = {}
    layers_s, speed_up = [], []
    with progress_bar("measuring", "runs") as advance:
        done, total = 0, 2 * given.rounds * len(given.only)
        for _ in range(given.rounds):  # in turns: a noisy neighbour hits all alike
            layers_s.append(layers_cpu_seconds(spec, given.rate_hz))
            speed_up.append(cores_there())
            for name in given.only:
                runs = []
                for rate_hz in (given.rate_hz, None):
                    advance(done, total, TITLES[name])
                    runs.append(run(name, spec, rate_hz, given.seconds))
                    rate = "full speed" if rate_hz is None else f"{rate_hz:g} Hz"
                    timelines.setdefault(f"{TITLES[name]} {rate}", runs[-1][0])
                    done += 1
                taken[name].append(row_of(name, *runs, layers_s[-1]))
    rows = [median_row(rounds) for rounds in taken.values()]
    outside = {row["peer"]: row["outside_layers_ms"] for row in rows}
    if (naive := outside.get(TITLES["naive"])) is not None:
        for row in rows:
            row["of_naive"] = row["outside_layers_ms"] / naive
    notes = (
        f"medians of {given.rounds} rounds in turns, {given.seconds:g} s each; "
        f"cpu and outside layers: per frame at {given.rate_hz:g} Hz",
        f"the layers alone: {statistics.median(layers_s) * 1e3:.2f} ms of CPU per frame",
        f"cores that convolutions really had at once: {min(speed_up):.2f} to {max(speed_up):.2f}",
    )
    question = "What does it cost to move five states of 1 MiB per frame, and how late are they?"
    details = {"rate_hz": given.rate_hz, "layers_ms": [s * 1e3 for s in layers_s], "rounds": taken}
    finish(Report("peers", question, rows, notes, details, timelines), given, draw)


if __name__ == "__main__":
    main()
