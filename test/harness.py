"""A composed network in this process, fed and heard by a plain rclpy node."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PERIOD_NS = 33_333_333


def container_command(path, namespace, *extra):
    return [
        sys.executable, "-m", "streaming_net_ros.nodes.container", "--ros-args",
        "-r", f"__ns:=/{namespace}", "-p", f"network:={path}", *extra,
    ]  # fmt: skip


def start_container(path, namespace, *extra):
    return subprocess.Popen(
        container_command(path, namespace, *extra), stderr=subprocess.PIPE, text=True
    )


def run_container(path, namespace, *extra):
    """Run a container that is expected to end by itself; (exit code, what it said)."""
    done = subprocess.run(
        container_command(path, namespace, *extra), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


class Robot:
    """What a robot has: a camera to publish, a subscriber to responses; plain rclpy."""

    def __init__(self, host, namespace, reliable=True):
        from geometry_msgs.msg import TwistStamped
        from rclpy.node import Node
        from rclpy.qos import QoSProfile, QoSReliabilityPolicy
        from sensor_msgs.msg import Image

        self.host = host
        self.node = Node("robot", context=host.context, namespace=namespace)
        host.add(self.node)
        reliability = QoSReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=1000, reliability=reliability)
        self.camera = self.node.create_publisher(Image, "image", qos)
        self.answers = []
        self.node.create_subscription(TwistStamped, "response/drive", self.answers.append, qos)
        self.sent = 0

    def look(self, images=1, spoil=None):
        from sensor_msgs.msg import Image

        from streaming_net_ros.wire import write_rgb8, write_stamp_ns

        for _ in range(images):
            message = Image()
            picture = np.random.default_rng(self.sent).integers(
                0, 256, (12, 16, 3), dtype=np.uint8
            )
            write_rgb8(message, picture)
            write_stamp_ns(message.header.stamp, 10**18 + self.sent * PERIOD_NS)
            if spoil is not None:
                spoil(message)
            self.camera.publish(message)
            self.sent += 1

    def film(self, rate_hz):
        """Look at a camera's pace from now on."""

        def look():
            self.look()

        self.node.create_timer(1 / rate_hz, look)

    def hears(self, answers, timeout_s=10):
        """Spin until so many answers are here."""
        return self.host.spin(lambda: len(self.answers) >= answers, timeout_s)

    def call(self, service):
        from std_srvs.srv import Trigger

        client = self.node.create_client(Trigger, service)
        assert self.host.spin(client.service_is_ready, 10), service
        future = client.call_async(Trigger.Request())
        assert self.host.spin(future.done, 10), service
        return future.result()

    def set(self, node, **values):
        """Set parameters (``__`` stands for a dot) as ``ros2 param set`` does: the refusals."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        client = self.node.create_client(SetParameters, f"{node}/set_parameters")
        assert self.host.spin(client.service_is_ready, 10), node
        asked = [
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        future = client.call_async(SetParameters.Request(parameters=asked))
        assert self.host.spin(future.done, 10), node
        return [result.reason for result in future.result().results if not result.successful]


@contextmanager
def composed(path, namespace, ros_arguments=(), **settings):
    """A running container with all members, and a robot beside it."""
    from rclpy.node import Node

    from streaming_net_ros.nodes.container import Container
    from streaming_net_ros.nodes.host import Host
    from streaming_net_ros.nodes.settings import Settings

    arguments = ["--ros-args", "-r", f"__ns:=/{namespace}", *ros_arguments]
    with Host(arguments, handles_signals=False) as host:
        node = Node("container", context=host.context)
        host.add(node)
        container = Container(node, Settings(Path(path), **settings))
        container.create_members()
        for member in container.members:
            host.add(member)
        robot = Robot(host, f"/{namespace}")
        try:
            container.start()
            if container.settings.autostart:
                assert host.spin(lambda: robot.camera.get_subscription_count() > 0, 10)
            yield container, robot
        finally:
            container.stop()


def children_of(pid):
    """Command lines of a process's children, by pid (from /proc)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = line
            except (OSError, IndexError):
                continue
    return found


def open_files():
    """How many descriptors this process has, when garbage of other tests is collected."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until(condition, timeout_s=20):
    """Poll a condition of another process; True if it came to hold."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        os.sched_yield()
        time.sleep(0.002)
    return False
