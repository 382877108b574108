"""A recording with the answers beside the camera: as a bag, and as a video.

The bag keeps the camera and the references as they were recorded, and has the responses of each
rollout on ``/ROLLOUT/response/OUTPUT`` at the time at which they were published; their header's
stamp is the capture time of the newest image inside (age law), as on a robot. The video shows at
each image what was right and what the newest answers were then.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation.bag_writer import BagWriter, knows_type, message_type
from streaming_net_ros.evaluation.bags import IMAGE_TYPES, open_bag
from streaming_net_ros.evaluation.streaming.comparison import Comparison, Drive
from streaming_net_ros.evaluation.streaming.dashboard import Dashboard
from streaming_net_ros.evaluation.streaming.references import Reference
from streaming_net_ros.evaluation.streaming.world import Lived
from streaming_net_ros.network import OutputSpec
from streaming_net_ros.wire import decode_camera, write_field, write_stamp_ns

_TWIST = "geometry_msgs/msg/TwistStamped"
_CLASS = "std_msgs/msg/Int32"
_NUMBERS = "std_msgs/msg/Float64MultiArray"
Record = tuple[int, int, str, str, Any]  # (log time, place in its source, topic, type, content)


def write_annotated_bag(comparison: Comparison, drive: Drive, path: Path) -> list[str]:
    """Camera, references and responses of one recording as a rosbag2 (mcap).

    Args:
        comparison: has played it.
        drive: which recording.
        path: the bag's folder, which must not exist yet.

    Returns:
        Topics of the recording that are left out: their types are not those of ROS 2 itself.

    Raises:
        BagError: it cannot be written.
    """
    wanted = [comparison.image_topics[drive.name]]
    wanted += [reference.topic for reference in comparison.references.values()]
    with open_bag(drive.path) as bag, BagWriter(path) as writer:
        topics = [t for t in dict.fromkeys(wanted) if knows_type(bag.type_of(t))]
        recorded: Iterator[Record] = (
            (m.log_ns, place, m.topic, m.type, m.cdr) for place, m in enumerate(bag.raw(topics))
        )
        sources = [recorded] if topics else []
        sources += list(_responses(comparison, drive))
        for log_ns, _, topic, kind, content in heapq.merge(*sources, key=lambda r: r[0]):
            writer.write(topic, kind, log_ns, content)
    return [topic for topic in dict.fromkeys(wanted) if topic not in topics]


def write_video(
    comparison: Comparison,
    drive: Drive,
    path: Path,
    on_image: Callable[[], None] = lambda: None,
) -> bool:
    """The camera with the reference and each rollout's newest answer, as MPEG-4.

    The first field of the first reference is shown.

    Args:
        comparison: has played the recording.
        drive: which recording.
        path: the file.
        on_image: told of progress.

    Returns:
        False if there is nothing to see: the frames are not set by a camera.

    Raises:
        BagError: this machine's OpenCV cannot write such a file.
    """
    output, reference = next(iter(comparison.references.items()))
    lived = {c.name: comparison.lived[c.name][output][drive.name]
             for c in comparison.task.contenders}  # fmt: skip
    topic = comparison.image_topics[drive.name]
    with open_bag(drive.path) as bag:
        if bag.type_of(topic) not in IMAGE_TYPES:
            return False
        board = Dashboard(reference.names[0], reference.kind, lived)
        writer = None
        try:
            for number, (_, message) in enumerate(bag.messages(topic)):
                picture = board.draw(decode_camera(message, "rgb"), number)
                if writer is None:
                    writer = _video_writer(path, picture, next(iter(lived.values())))
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                on_image()
        finally:
            if writer is not None:
                writer.release()
    return True


def _video_writer(path: Path, picture: NDArray[np.uint8], lived: Lived) -> cv2.VideoWriter:
    captured_ns = lived.world.captured_ns
    period_ns = float(np.median(np.diff(captured_ns))) if len(captured_ns) > 1 else 1e9
    height, width = picture.shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), code, 1e9 / period_ns, (width, height))
    if not writer.isOpened():
        raise BagError(
            "cannot write a video", where=str(path), expected="OpenCV with MPEG-4 (mp4v)",
            remedy="--no-video",
        )  # fmt: skip
    return writer


def _responses(comparison: Comparison, drive: Drive) -> Iterator[Iterator[Record]]:
    """Per contender and output its responses, in order."""
    for contender in comparison.task.contenders:
        for output, reference in comparison.references.items():
            lived = comparison.lived[contender.name][output][drive.name]
            topic = f"/{topic_name(contender.name)}/response/{output}"
            yield _messages(lived, reference, contender.network.spec.outputs[output], topic)


def _messages(
    lived: Lived, reference: Reference, output: OutputSpec, topic: str
) -> Iterator[Record]:
    answers = lived.timed
    rows = zip(
        answers.published_ns.tolist(), answers.captured_ns.tolist(), answers.values, strict=True
    )
    for place, (published_ns, captured_ns, values) in enumerate(rows):
        if reference.kind == "class":
            kind, message = _CLASS, message_type(_CLASS)(data=int(values[0]))
        elif output.publish == "twist":
            kind, message = _TWIST, _twist(captured_ns, output.frame_id)
            for name, value in zip(reference.names, values.tolist(), strict=True):
                write_field(message, f"twist.{name}", value)
        else:
            kind, message = _NUMBERS, _numbers(values)
        yield published_ns, place, topic, kind, message


def topic_name(name: str) -> str:
    """A contender's name as a part of a topic."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return plain if plain[:1].isalpha() else f"rollout_{plain}"


def _twist(captured_ns: int, frame_id: str) -> Any:
    vector = message_type("geometry_msgs/msg/Vector3")
    stamp = message_type("builtin_interfaces/msg/Time")(sec=0, nanosec=0)
    write_stamp_ns(stamp, captured_ns)
    return message_type(_TWIST)(
        header=message_type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id),
        twist=message_type("geometry_msgs/msg/Twist")(
            linear=vector(x=0.0, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=0.0)
        ),
    )


def _numbers(values: NDArray[np.float64]) -> Any:
    layout = message_type("std_msgs/msg/MultiArrayLayout")(dim=[], data_offset=0)
    return message_type(_NUMBERS)(layout=layout, data=values)
