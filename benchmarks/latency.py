"""From the capture of an image to the first response about it, beside a plain node.

    python benchmarks/latency.py [--network pilot] [--rate-hz 30] [--seconds 20] [--rounds 3]

*Composed* and *processes* are the network's own nodes in realtime; *plain node* is one rclpy node
that runs the whole network, under its sequential rollout, in the callback of the image. A camera
in this process publishes at the stated rate and hears the responses. Measured side by side: every
round runs all three.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from report import Report, Timeline, arguments, finish, told
from sensor_msgs.msg import Image

from streaming_net_ros.frames import quantile
from streaming_net_ros.launching import Children, process_list
from streaming_net_ros.network import NetworkSpec, read_network_file, rollout_of
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import response_times
from streaming_net_ros.wire import read_stamp_ns, write_rgb8, write_stamp_ns

_WARM_UP_S = 2.0
_START_S = 60.0


class Camera(Node):
    """Publishes pictures at a rate, and measures when each is answered first."""

    def __init__(self, host: Host, spec: NetworkSpec, rate_hz: float) -> None:
        super().__init__("camera", context=host.context)
        given = spec.inputs[spec.primary_input]
        rng = np.random.default_rng(0)
        size = (given.height, given.width, 3)
        self._pictures = [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(8)]
        self.image = self.create_publisher(Image, spec.primary_input, topics.reliable(10))
        output = next(name for name, out in spec.outputs.items() if out.publish == "twist")
        self.create_subscription(
            TwistStamped, topics.response(output), self._on_answer, topics.reliable(100)
        )
        self.sent: list[int] = []  # capture times
        self.latency_ms: dict[int, float] = {}
        self.create_timer(1 / rate_hz, self._look)

    def _look(self) -> None:
        message = Image()
        write_rgb8(message, self._pictures[len(self.sent) % len(self._pictures)])
        self.sent.append(time.time_ns())
        write_stamp_ns(message.header.stamp, self.sent[-1])
        self.image.publish(message)

    def _on_answer(self, message: TwistStamped) -> None:
        captured_ns = read_stamp_ns(message.header.stamp)
        self.latency_ms.setdefault(captured_ns, (time.time_ns() - captured_ns) / 1e6)


@contextmanager
def plain_node(path: Path, namespace: str):
    """The whole network in the callback of one node, in a process of its own."""
    command = [sys.executable, __file__, "--as-plain-node", str(path), namespace]
    child = subprocess.Popen(command)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


@contextmanager
def streaming(path: Path, namespace: str, rate_hz: float, composed: bool):
    spec = read_network_file(path)
    shares = process_list(
        str(path),
        [group.name for group in spec.groups],
        composed=composed,
        namespace=namespace,
        parameters={"mode": "realtime", "rate_hz": rate_hz},
    )
    with Children(shares):
        yield


def serve_plain_node(path: Path, namespace: str) -> None:
    import torch

    from streaming_net_ros.network import StreamingNetwork, load_weights
    from streaming_net_ros.wire import decode_camera, fit_image

    torch.set_num_threads(1)
    spec = read_network_file(path)
    network = StreamingNetwork(spec, rollout_of(spec, "sequential")).eval()
    load_weights(network, spec.weights_path)
    given = spec.inputs[spec.primary_input]
    output = next(name for name, out in spec.outputs.items() if out.publish == "twist")
    element = next(iter(spec.outputs[output].fields.values()))
    with Host(["--ros-args", "-r", f"__ns:=/{namespace}"]) as host:
        node = Node("plain", context=host.context)
        answers = node.create_publisher(TwistStamped, topics.response(output), topics.reliable(10))
        state = network.init_state()

        def on_image(message: Image) -> None:
            nonlocal state
            image = fit_image(decode_camera(message, given.colour), given.width, given.height)
            batch = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
            with torch.inference_mode():
                state, responses = network.step(state, {spec.primary_input: batch})
            answer = TwistStamped()
            answer.header.stamp = message.header.stamp
            answer.twist.angular.z = float(responses[output][0, element])
            answers.publish(answer)

        node.create_subscription(Image, spec.primary_input, on_image, topics.camera("realtime", 1))
        host.add(node)
        host.spin(lambda: False)


def measured(spec: NetworkSpec, namespace: str, rate_hz: float, seconds: float) -> dict:
    with Host(["--ros-args", "-r", f"__ns:=/{namespace}"], handles_signals=False) as host:
        camera = Camera(host, spec, rate_hz)
        host.add(camera)
        if not host.spin(lambda: len(camera.latency_ms) > 0, _START_S):
            raise SystemExit(f"{namespace}: no answer within {_START_S:g} s")
        host.spin(lambda: False, _WARM_UP_S)
        first = len(camera.sent)
        host.spin(lambda: False, seconds)
        images = camera.sent[first:]
        host.spin(lambda: False, _WARM_UP_S)  # what is under way comes out
        return {"sent_ns": images, "latency_ms": [camera.latency_ms.get(at) for at in images]}


def row_of(kind: str, rounds: list[dict]) -> dict[str, Any]:
    """All rounds of a kind as one row."""
    taken = [ms for one in rounds for ms in one["latency_ms"]]
    latency_ms = [ms for ms in taken if ms is not None]
    return {
        "kind": kind,
        "latency_p50_ms": quantile(latency_ms, 0.5),
        "latency_p99_ms": quantile(latency_ms, 0.99),
        "latency_max_ms": max(latency_ms),
        "answered_percent": 100 * len(latency_ms) / len(taken),
    }


def timeline_of(one: dict) -> Timeline:
    """When images left and were answered, from the first image on."""
    sent_s = [(at - one["sent_ns"][0]) / 1e9 for at in one["sent_ns"]]
    came_s = [None if ms is None else at + ms / 1e3
              for at, ms in zip(sent_s, one["latency_ms"], strict=True)]  # fmt: skip
    return Timeline(tuple(sent_s), tuple(came_s))


def draw(report: Report) -> Any:
    """Every latency, as the share of images that were answered within it."""
    from picture import COMPOSED, INK, ONE_NODE, PROCESSES, legend_above, new_figure

    figure = new_figure("From capture to first response", told(report.machine), 7.5)
    axes = figure.subplots()
    colours = dict(zip(("composed", "processes", "plain node"), (COMPOSED, PROCESSES, ONE_NODE),
                       strict=True))  # fmt: skip
    for kind, rounds in report.details["latency_ms"].items():
        taken = sorted(ms for ms in rounds if ms is not None)
        shares = [100 * (number + 1) / len(rounds) for number in range(len(taken))]
        axes.step(taken, shares, color=colours[kind], label=kind, where="post", linewidth=1.8)
    axes.axvline(report.details["bound_ms"], color=INK, linestyle=":", label="bound for p99")
    axes.set(xlabel="latency (ms)", ylabel="images answered within it (%)", xlim=(0, None))
    legend_above(figure, axes)
    return figure


def main() -> None:
    if sys.argv[1:2] == ["--as-plain-node"]:
        serve_plain_node(Path(sys.argv[2]), sys.argv[3])
        return
    parser = arguments(__doc__)
    parser.add_argument("--network", default="pilot")
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    path = find_network(given.network).resolve()
    spec = read_network_file(path)
    output = next(out for out in spec.outputs.values() if out.publish == "twist")
    first = response_times(rollout_of(spec))[output.group].first_frames
    bound_ms = first * 1e3 / given.rate_hz + 10
    print(
        f"{spec.name} at {given.rate_hz:g} Hz, first response {first} frames: "
        f"the bound for p99 is {bound_ms:.1f} ms"
    )
    kinds = {
        "composed": lambda name: streaming(path, name, given.rate_hz, composed=True),
        "processes": lambda name: streaming(path, name, given.rate_hz, composed=False),
        "plain node": lambda name: plain_node(path, name),
    }
    taken: dict[str, list[dict]] = {kind: [] for kind in kinds}
    for number in range(given.rounds):
        for kind, start in kinds.items():
            namespace = f"latency_{kind.replace(' ', '_')}_{number}"
            with start(namespace):
                taken[kind].append(measured(spec, namespace, given.rate_hz, given.seconds))
    rows = [row_of(kind, rounds) for kind, rounds in taken.items()]
    details = {
        "bound_ms": bound_ms,
        "latency_ms": {kind: [ms for one in rounds for ms in one["latency_ms"]]
                       for kind, rounds in taken.items()},
    }  # fmt: skip
    timelines = {f"{kind} {given.rate_hz:g} Hz": timeline_of(rounds[0])
                 for kind, rounds in taken.items()}  # fmt: skip
    notes = (f"{spec.name} at {given.rate_hz:g} Hz; bound for p99: {first} frames and 10 ms, "
             f"{bound_ms:.1f} ms",)  # fmt: skip
    question = "How long from the capture of an image to the first response about it?"
    finish(Report("latency", question, rows, notes, details, timelines), given, draw)


if __name__ == "__main__":
    main()
