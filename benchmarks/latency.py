"""From the capture of an image to the first response about it, beside a plain node.

    python benchmarks/latency.py [--network pilot] [--rate-hz 30] [--seconds 20] [--rounds 3]

*Composed* and *processes* are the network's own nodes in realtime; *plain node* is one rclpy node
that runs the whole network, under its sequential rollout, in the callback of the image. A camera
in this process publishes at the stated rate and hears the responses. Measured side by side: every
round runs all three.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from chain import machine
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
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
        taken = [camera.latency_ms[stamp] for stamp in images if stamp in camera.latency_ms]
        return {"latency_ms": taken, "images": len(images), "answered": len(taken)}


def main() -> None:
    if sys.argv[1:2] == ["--as-plain-node"]:
        serve_plain_node(Path(sys.argv[2]), sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="pilot")
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    path = find_network(given.network).resolve()
    spec = read_network_file(path)
    output = next(out for out in spec.outputs.values() if out.publish == "twist")
    first = response_times(rollout_of(spec))[output.group].first_frames
    bound_ms = first * 1e3 / given.rate_hz + 10
    print(machine())
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
    rows = []
    for kind, rounds in taken.items():
        latency_ms = [ms for one in rounds for ms in one["latency_ms"]]
        images = sum(one["images"] for one in rounds)
        row = {
            "kind": kind,
            "p50_ms": round(quantile(latency_ms, 0.5), 2),
            "p99_ms": round(quantile(latency_ms, 0.99), 2),
            "max_ms": round(max(latency_ms), 2),
            "answered": round(sum(one["answered"] for one in rounds) / images, 4),
        }
        rows.append(row)
        print(
            f"{kind:11} p50 {row['p50_ms']:6.2f} ms  p99 {row['p99_ms']:6.2f} ms  "
            f"max {row['max_ms']:6.2f} ms  {row['answered']:.1%} of images answered"
        )
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
