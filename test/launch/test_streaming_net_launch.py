"""The launch file under launch: processes, composed, shares; deaths, bad arguments, the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from harness import PERIOD_NS, Robot, composed, wait_until
from networks import TINY

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="launch_pytest is not installed: it comes with a ROS 2 installation"
)
packages = pytest.importorskip("ament_index_python.packages")
try:
    packages.get_package_prefix("streaming_net_ros")
except packages.PackageNotFoundError:
    pytest.skip(
        "launch does not find streaming_net_ros: colcon build, and source its install/setup.bash",
        allow_module_level=True,
    )

from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription, RegisterEventHandler  # noqa: E402
from launch.event_handlers import OnProcessExit, OnProcessStart, OnShutdown  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "streaming_net.launch.py"
MEMBERS = ["frame_source", "stem", "memory", "deep", "head"]
IMAGES = 20
UP_S = 120  # for processes to load torch and find each other on a busy machine
needs_command = pytest.mark.skipif(
    shutil.which("ros2") is None, reason="no ros2 command: it comes with a ROS 2 installation"
)


class Witness:
    """What launch tells: which process started, how each ended, and why all of them did.

    Written by launch in the main thread, read by a test in its own.
    """

    def __init__(self):
        self.started = []  # (member, pid), in order
        self.ended = []  # (member, exit code), in order
        self.reasons = []

    def handlers(self):
        return [
            RegisterEventHandler(OnProcessStart(on_start=self._on_start)),
            RegisterEventHandler(OnProcessExit(on_exit=self._on_exit)),
            RegisterEventHandler(OnShutdown(on_shutdown=self._on_shutdown)),
        ]

    def pids(self, member):
        return [pid for name, pid in self.started if name == member]

    def _on_start(self, event, _):
        self.started.append((event.process_name.rsplit("-", 1)[0], event.pid))

    def _on_exit(self, event, _):
        self.ended.append((event.process_name.rsplit("-", 1)[0], event.returncode))

    def _on_shutdown(self, event, _):
        self.reasons.append(event.reason)


@pytest.fixture
def tiny_path(write_network, tiny):
    return write_network(tiny)


@pytest.fixture
def witness():
    return Witness()


@launch_pytest.fixture
def network(request, tiny_path, write_network, namespace, witness):
    """The launch file, included with a test's launch arguments."""
    given = {"network": str(tiny_path), "namespace": namespace, **request.param}
    if given["network"] == "CRASHING":
        content = yaml.safe_load(tiny_path.read_text())
        given["network"] = str(write_network(crashing(content), "crashing.yaml"))
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    include = IncludeLaunchDescription(source, launch_arguments=list(given.items()))
    return LaunchDescription([*witness.handlers(), include])


def launched(**arguments):
    """A test of the launch file, started with these arguments."""
    name = ",".join(f"{key}:={value}" for key, value in arguments.items())

    def decorate(test):
        test = pytest.mark.launch(fixture=network)(test)
        return pytest.mark.parametrize("network", [arguments], indirect=True, ids=[name])(test)

    return decorate


@contextmanager
def a_robot(namespace, answers="response/drive"):
    """A plain node that has found the network's camera topic and its response."""
    from geometry_msgs.msg import TwistStamped

    from streaming_net_ros.nodes.host import Host

    with Host([], handles_signals=False) as host:
        robot = Robot(host, f"/{namespace}")
        if answers != "response/drive":
            robot.node.create_subscription(TwistStamped, answers, robot.answers.append, 1000)
        assert host.spin(
            lambda: robot.camera.get_subscription_count() and robot.node.count_publishers(answers),
            UP_S,
        ), "the network did not come up"
        yield robot


def told(answers):
    """Of each response its stamp and its two numbers."""
    return [
        (
            answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec,
            answer.twist.angular.z,
            answer.twist.linear.x,
        )
        for answer in answers
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The answers of the network without launch, composed in this process."""
    path = tmp_path_factory.mktemp("expected") / "network.yaml"
    path.write_text(yaml.safe_dump(TINY))
    with composed(path, "expected") as (_, robot):
        robot.look(IMAGES)
        assert robot.hears(IMAGES)
        return told(robot.answers)


def check_answers(robot, expected):
    """Every image is answered once, in order, with its capture time and the right numbers."""
    robot.look(IMAGES)
    assert robot.hears(IMAGES, UP_S)
    answers = told(robot.answers)
    assert [stamp_ns for stamp_ns, _, _ in answers] == [
        10**18 + number * PERIOD_NS for number in range(IMAGES)
    ]
    assert answers == expected


@launched(mode="lockstep")
def test_every_group_is_a_process_and_answers_every_image(network, namespace, witness, expected):
    with a_robot(namespace) as robot:
        check_answers(robot, expected)
    assert sorted(name for name, _ in witness.started) == sorted(MEMBERS)
    assert witness.ended == []
    yield
    assert sorted(witness.ended) == sorted((name, 0) for name in MEMBERS)


@launched(mode="lockstep", composed="true", image_topic="/eye/image", namespace="")
def test_composed_is_one_process_with_the_same_answers(network, witness, expected):
    # The camera is the robot's; the network's namespace is its name.
    with a_robot("eye", "/tiny/response/drive") as robot:
        check_answers(robot, expected)
    assert [name for name, _ in witness.started] == ["container"]
    yield
    assert witness.ended == [("container", 0)]


@contextmanager
def second_launch(*arguments):
    """``ros2 launch`` of the same file as another terminal would; must end well on Ctrl-C."""
    child = subprocess.Popen(
        ["ros2", "launch", str(LAUNCH_FILE), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield
        os.killpg(child.pid, signal.SIGINT)
        said, _ = child.communicate(timeout=UP_S)
        assert child.returncode == 0 and "Traceback" not in said, said
        assert said.count("process has finished cleanly") == len(MEMBERS) - 2, said
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


@needs_command
@launched(mode="lockstep", groups="frame_source,stem")
def test_two_launches_share_a_network_with_the_same_answers(
    network, tiny_path, namespace, witness, expected
):
    share = ["mode:=lockstep", "groups:=memory, deep,head", f"namespace:={namespace}"]
    with second_launch(f"network:={tiny_path}", *share), a_robot(namespace) as robot:
        check_answers(robot, expected)
    assert sorted(name for name, _ in witness.started) == ["frame_source", "stem"]
    yield
    assert sorted(witness.ended) == [("frame_source", 0), ("stem", 0)]


@launched(mode="realtime")
def test_realtime_starts_a_killed_group_again_and_responses_go_on(network, namespace, witness):
    with a_robot(namespace) as robot:

        def take_picture():
            robot.look()

        robot.node.create_timer(PERIOD_NS / 1e9, take_picture)
        assert robot.hears(IMAGES, UP_S)
        (pid,) = witness.pids("head")  # the only one that answers
        os.kill(pid, signal.SIGKILL)
        assert robot.host.spin(lambda: len(witness.pids("head")) == 2, UP_S), witness.started
        before = len(robot.answers)  # all of them the dead one's: the new one still loads torch
        assert robot.hears(before + IMAGES, UP_S)
        stamps = [stamp_ns for stamp_ns, _, _ in told(robot.answers)]
        taken = [10**18 + number * PERIOD_NS for number in range(robot.sent)]
        assert stamps == sorted(stamps) and set(stamps) <= set(taken)
        assert stamps[-1] > stamps[before - 1] + IMAGES // 2 * PERIOD_NS
    assert witness.ended == [("head", -signal.SIGKILL)] and witness.reasons == []
    yield
    assert sorted(witness.ended[1:]) == sorted((name, 0) for name in MEMBERS)


def crashing(network):
    """The network with a group that ends its process in the warm-up."""
    group = next(group for group in network["groups"] if group["name"] == "deep")
    source = group["edges"][0]["source"]
    group.pop("apply")
    group.update(edges=[{"source": source}], factory="crashing:group", shape=[8, 6, 8], args={})
    return network


@launched(mode="realtime", groups="stem,deep", network="CRASHING")
def test_a_group_that_crashes_at_every_start_ends_launch_with_the_reason(network, witness):
    assert wait_until(lambda: witness.reasons, 2 * UP_S), witness.ended
    (reason,) = witness.reasons
    assert "'deep' has ended 6 times in a row" in reason and "exit code 7" in reason
    assert len(witness.pids("deep")) == 6 and len(witness.pids("stem")) == 1
    assert wait_until(lambda: len(witness.ended) == 7, UP_S), witness.ended
    assert [end for end in witness.ended if end[0] == "deep"] == [("deep", 7)] * 6


@launched(mode="lockstep")
def test_lockstep_ends_and_names_the_group_that_was_killed(network, namespace, witness):
    with a_robot(namespace) as robot:
        robot.look(5)
        assert robot.hears(5, UP_S)
        (pid,) = witness.pids("deep")
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: len(witness.ended) == len(MEMBERS), UP_S), witness.ended
    (reason,) = witness.reasons
    assert "deep" in reason and "-9" in reason
    codes = dict(witness.ended)
    assert codes.pop("deep") == -signal.SIGKILL
    assert set(codes.values()) == {0}
    assert len(witness.started) == len(MEMBERS)


BAD_ARGUMENTS = {
    "no such network": ("network:=none", "shipped networks: pilot"),
    "no such mode": ("mode:=warp", "realtime or lockstep, got warp"),
    "no such group": ("groups:=stem,tail", "frame_source, stem, memory, deep, head, got tail"),
    "rate a word": ("rate_hz:=fast", "rate_hz: not a rate"),
    "rate negative": ("rate_hz:=-3", "rate_hz: not a rate"),
    "not a switch": ("composed:=maybe", "composed: value not allowed: expected true or false"),
    "no parameter file": ("params_file:=/none.yaml", "params_file: no such file"),
}


@needs_command
@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_a_bad_argument_ends_launch_with_one_line(case, tiny_path):
    given, hint = BAD_ARGUMENTS[case]
    # Of two arguments of one name launch takes the last.
    arguments = [f"network:={tiny_path}", given]
    done = subprocess.run(
        ["ros2", "launch", str(LAUNCH_FILE), *arguments],
        capture_output=True, text=True, timeout=UP_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    errors = [line for line in said.splitlines() if "error" in line.lower()]
    assert done.returncode == 1 and len(errors) == 1 and hint in errors[0], said
    assert "Traceback" not in said and "process started" not in said


@needs_command
def test_what_only_the_process_can_refuse_ends_launch_in_realtime_too(tiny_path):
    arguments = [f"network:={tiny_path}", "composed:=true", "device:=quantum"]
    done = subprocess.run(
        ["ros2", "launch", str(LAUNCH_FILE), *arguments],
        capture_output=True, text=True, timeout=UP_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert said.count("error: parameter device: not a device") == 1, said
    assert said.count("process started") == 1 and "Traceback" not in said
