"""Where a run's images come from: a recording, a video file, or a camera of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import Image

from streaming_net_ros.errors import BagError, ImageError
from streaming_net_ros.evaluation.bags import open_bag
from streaming_net_ros.evaluation.inputs import input_topics
from streaming_net_ros.network import ImageInput, NetworkSpec
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.inputs import message_class
from streaming_net_ros.nodes.player import Message, header_stamp_ns
from streaming_net_ros.nodes.run import Feed
from streaming_net_ros.wire import write_rgb8, write_stamp_ns

_COMPRESSED = "sensor_msgs/msg/CompressedImage"


def bag_feed(
    path: Path,
    spec: NetworkSpec,
    image_topic: str | None = None,
    named: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Feed:
    """The messages of a recording for every input of a network.

    Args:
        path: the recording.
        spec: the network.
        image_topic: for the input that sets the frames; None takes the only one that fits.
        named: topic per further input; those left out take the only topic of their type.
        limit: end after so many images.

    Raises:
        BagError: a topic that is absent, or several to choose from.
        ParameterError: ``named`` names no input.
    """
    primary = spec.primary_input
    with open_bag(path) as bag:
        chosen = input_topics(bag, spec, image_topic, named)
        types = {}
        outgoing = {}
        for name, topic in chosen.items():
            kind = bag.type_of(topic)
            outgoing[topic] = topics.compressed(name) if kind == _COMPRESSED else name
            types[outgoing[topic]] = message_class(kind)
    has_header = {t: "header" in kind.get_fields_and_field_types() for t, kind in types.items()}

    def messages() -> Iterator[Message]:
        images = 0
        newest_ns: int | None = None
        with open_bag(path) as bag:
            for raw in bag.raw(list(chosen.values())):
                topic = outgoing[raw.topic]
                stamp_ns = header_stamp_ns(raw.cdr) if has_header[topic] else raw.log_ns
                is_image = raw.topic == chosen[primary]
                if is_image and limit is not None and images >= limit:
                    return
                if is_image and newest_ns is not None and stamp_ns <= newest_ns:
                    raise BagError(
                        "capture times do not increase",
                        where=f"{path}: {raw.topic}: message {images}",
                        expected=f"a header stamp above {newest_ns} ns",
                        got=stamp_ns,
                    )
                newest_ns = stamp_ns if is_image else newest_ns
                images += is_image
                yield Message(topic, stamp_ns, raw.cdr, is_image, raw.log_ns)

    return Feed(messages(), types)


def video_feed(source: Path | int, spec: NetworkSpec, limit: int | None = None) -> Feed:
    """Frames of a video file, or of a camera of this machine by its number.

    Raises:
        ImageError: it cannot be opened, or gives no frame.
    """
    primary = spec.primary_input
    if not isinstance(spec.inputs[primary], ImageInput):
        raise ImageError("this network hears no camera", where=str(spec.path))
    is_live = isinstance(source, int)
    if isinstance(source, Path) and not source.is_file():
        raise ImageError("no such video", where=str(source))
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    if not capture.isOpened():
        raise ImageError(
            "cannot open the video",
            where=f"camera {source}" if is_live else str(source),
            remedy="check the number" if is_live else "give a file that OpenCV can decode",
        )
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    period_ns = round(1e9 / rate_hz) if rate_hz > 0 else round(1e9 / spec.rate_hz)

    def messages() -> Iterator[Message]:
        begun_ns = time.time_ns()
        number = 0
        while limit is None or number < limit:
            there, frame = capture.read()
            if not there:
                break
            stamp_ns = time.time_ns() if is_live else begun_ns + number * period_ns
            message = Image()
            write_rgb8(message, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))
            write_stamp_ns(message.header.stamp, stamp_ns)
            yield Message(primary, stamp_ns, message, is_image=True)
            number += 1
        capture.release()
        if number == 0:
            raise ImageError("no frame in the video", where=str(source))

    return Feed(messages(), {primary: Image}, is_live)
