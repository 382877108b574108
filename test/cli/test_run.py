"""``streaming-net run``: recordings, videos, and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import cv2
import numpy as np
import pytest

from networks import two_groups
from streaming_net_ros.evaluation import BagWriter, message_type, open_bag

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000
FRAMES = 30


def header(number):
    stamp_ns = START_NS + number * PERIOD_NS
    stamp = message_type("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 10**9))
    return message_type("std_msgs/msg/Header")(stamp, "camera")


def write_bag(path, frames=FRAMES, spoil=()):
    """Pictures on /camera, and a command that tells their brightness on /cmd."""
    image, twist = "sensor_msgs/msg/Image", "geometry_msgs/msg/TwistStamped"
    vector = message_type("geometry_msgs/msg/Vector3")
    with BagWriter(path) as writer:
        for number in range(frames):
            log_ns = START_NS + number * PERIOD_NS
            picture = np.full((12, 16, 3), number * 8 % 256, np.uint8)
            data = picture.reshape(-1)[: -5 if number in spoil else None]
            writer.write(
                "/camera",
                image,
                log_ns,
                message_type(image)(header(number), 12, 16, "rgb8", 0, 48, data),
            )
            command = message_type("geometry_msgs/msg/Twist")(
                vector(0.0, 0.0, 0.0), vector(0.0, 0.0, number / frames)
            )
            writer.write("/cmd", twist, log_ns, message_type(twist)(header(number), command))


def run_alone(*arguments):
    """The verb in a process of its own."""
    command = [sys.executable, "-m", "streaming_net_ros.cli.app", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def run(streaming_net):
    return partial(streaming_net, "run")


@pytest.fixture
def tiny_path(write_network, tiny):
    return write_network({**tiny, "rate_hz": 20})


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A recording; only to read."""
    path = tmp_path_factory.mktemp("recorded") / "drive"
    write_bag(path)
    return path


def test_a_recording_gives_a_response_for_every_image_in_a_bag_and_its_errors(
    run, tiny_path, drive, tmp_path, namespace
):
    record = tmp_path / "answers"
    done = run(tiny_path, "--bag", drive, "--record", record, "--namespace", namespace, "--json",
               "--reference", "/cmd:twist.angular.z", "--judge", "10:30")  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["images"], told["frames"], told["unnumbered"]) == (FRAMES, FRAMES, 0)
    assert told["responses"] == {"drive": FRAMES, "features": FRAMES}
    assert told["errors"]["images"] == 20 - 2  # the last two images' full answers are not out
    with open_bag(record) as answers:
        series = answers.series(f"/{namespace}/response/drive", ["twist.angular.z"])
        assert series.stamps_ns.tolist() == [START_NS + n * PERIOD_NS for n in range(FRAMES)]


def test_the_same_run_twice_records_the_same_bits(
    run, write_network, tiny, drive, tmp_path, namespace
):
    """The second time as from a terminal, and with a process for each group."""
    path = write_network({**two_groups(tiny), "rate_hz": 20})
    given = [path, "--bag", drive, "--namespace", namespace]
    done = run(*given, "--record", tmp_path / "one")
    assert done.code == 0, done.err
    done = run_alone(*given, "--record", tmp_path / "two", "--processes")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    contents = []
    for name in ("one", "two"):
        with open_bag(tmp_path / name) as bag:
            topics = sorted(bag.topics)
            contents.append([(m.topic, m.log_ns, m.cdr) for t in topics for m in bag.raw([t])])
    assert contents[0] == contents[1] and len(contents[0]) == 2 * FRAMES


def test_a_broken_image_in_a_recording_costs_itself_and_is_told(
    run, tiny_path, tmp_path, namespace
):
    write_bag(tmp_path / "drive", spoil=(7,))
    done = run(tiny_path, "--bag", tmp_path / "drive", "--namespace", namespace, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["frames"], told["unnumbered"]) == (FRAMES - 1, 1)
    assert "image" in done.err and "expected" in done.err


def test_images_whose_stamps_do_not_increase_end_the_run_with_the_place(
    run, tiny_path, tmp_path, namespace
):
    image = "sensor_msgs/msg/Image"
    with BagWriter(tmp_path / "drive") as writer:
        for number in range(5):
            message = message_type(image)(
                header(min(number, 2)), 12, 16, "rgb8", 0, 48, np.zeros(576, np.uint8)
            )
            writer.write("/camera", image, START_NS + number, message)
    done = run(tiny_path, "--bag", tmp_path / "drive", "--namespace", namespace)
    assert done.code == 2 and "/camera: message 3" in done.err, done.err


def test_a_recording_of_nothing_but_broken_images_ends_with_an_error(
    run, tiny_path, tmp_path, namespace, monkeypatch
):
    from streaming_net_ros.nodes import run as runs

    # However long one waits for a first frame: it never comes.
    monkeypatch.setattr(runs, "_FIRST_FRAME_S", 1.0)
    write_bag(tmp_path / "drive", frames=10, spoil=range(10))
    done = run(tiny_path, "--bag", tmp_path / "drive", "--namespace", namespace)
    assert done.code == 3 and "messages above" in done.err, done.err


def test_a_video_streams(run, tiny_path, tmp_path, namespace):
    path = tmp_path / "road.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), number * 10, np.uint8))
    writer.release()
    done = run(tiny_path, "--video", path, "--namespace", namespace, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["responses"]["drive"] == 20


def test_only_so_many_images_if_told(run, tiny_path, drive, namespace):
    done = run(tiny_path, "--bag", drive, "--namespace", namespace, "--images", 9,
               "--rollout", "sequential", "--json")  # fmt: skip
    assert json.loads(done.out)["responses"]["drive"] == 9


BAD = {
    "nothing to stream": ((), "--bag, --video, --camera"),
    "two things to stream": (("--bag", "x", "--video", "y"), "--bag, --video, --camera"),
    "no such bag": (("--bag", "/none"), "/none"),
    "a bag that is none": (("--bag", "NETWORK"), "recording"),
    "no such image topic": (("--bag", "BAG", "--image-topic", "/front"), "/camera"),
    "not an image topic": (("--bag", "BAG", "--image-topic", "/cmd"), "sensor_msgs/msg/Image"),
    "no such input": (("--bag", "BAG", "--topic", "sonar=/cmd"), "image"),
    "topic without a name": (("--bag", "BAG", "--topic", "/cmd"), "INPUT=TOPIC"),
    "no such mode": (("--bag", "BAG", "--mode", "warp"), "lockstep or realtime"),
    "no such rollout": (("--bag", "BAG", "--rollout", "sideways"), "streaming, sequential"),
    "no such video": (("--video", "/none.mp4"), "/none.mp4"),
    "a video that is none": (("--video", "NETWORK"), "OpenCV"),
    "a record that exists": (("--bag", "BAG", "--record", "BAG"), "write over"),
    "reference without record": (("--bag", "BAG", "--reference", "/cmd:x"), "--record"),
    "a reference without field": (
        ("--bag", "BAG", "--record", "OUT", "--reference", "/cmd"), "TOPIC:FIELD"),
    "judge a word": (
        ("--bag", "BAG", "--record", "OUT", "--reference", "/cmd:x", "--judge", "all"),
        "FIRST:LAST"),
    "images none": (("--bag", "BAG", "--images", "0"), "--images"),
    "unknown option": (("--bags", "BAG"), "--bags"),
    "no such weights": (("--bag", "BAG", "--weights", "/none.safetensors"), "/none.safetensors"),
    "rate zero": (("--bag", "BAG", "--rate-hz", "-1"), "rate_hz"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_give_one_line_and_exit_code_2(
    case, run, tiny_path, drive, tmp_path, namespace
):
    arguments, hint = BAD[case]
    named = {"BAG": drive, "NETWORK": tiny_path, "OUT": tmp_path / "out"}
    done = run(tiny_path, "--namespace", namespace, *(named.get(a, a) for a in arguments))
    assert done.code == 2, done.err
    assert hint in done.err
    assert not (tmp_path / "out").exists()


def test_a_process_ends_with_the_exit_code_and_its_one_line(tiny_path):
    done = run_alone(tiny_path, "--bag", "/none")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.data
def test_a_real_recording_streams_through_the_nodes(
    run, shared_data, write_network, tiny, namespace
):
    tiny["rate_hz"] = 20
    done = run(write_network(tiny), "--bag", shared_data / "drive_a", "--namespace", namespace,
               "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["responses"]["drive"] == 700
