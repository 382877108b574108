"""Recordings: images, numbers and messages out of bags.

Reads what ``rosbags`` reads (rosbag2 mcap and sqlite3, split and compressed; ROS 1 bags), without
a ROS installation; ``bag_writer`` writes them. Imported by ``training``, ``nodes`` and ``cli``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from streaming_net_ros.errors import BagError, ImageError, StateError
from streaming_net_ros.network import first_line
from streaming_net_ros.wire import decode_camera, fit_image, read_fields, read_stamp_ns

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_STORE = get_typestore(Stores.ROS2_KILTED)


@dataclass(frozen=True)
class Recording:
    """The images of one topic, in the order of their capture.

    Attributes:
        captured_ns: (frames,) int64, strictly increasing.
        images: (frames, channels, height, width) uint8.
        name: of the bag, for errors.
    """

    captured_ns: NDArray[np.int64]
    images: NDArray[np.uint8]
    name: str

    def part(self, first: int | None, last: int | None) -> Recording:
        """Frames ``first`` up to, not including, ``last``."""
        chosen = slice(first, last)
        return Recording(self.captured_ns[chosen], self.images[chosen], self.name)


@dataclass(frozen=True)
class Series:
    """Numbers over time: ``stamps_ns`` (n,) int64 increasing, ``values`` (n, fields) float32."""

    stamps_ns: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class RawMessage:
    """A message as it lies in the bag, its content as ROS 2 (CDR) bytes."""

    topic: str
    type: str
    log_ns: int
    cdr: bytes


@contextmanager
def open_bag(path: Path | str) -> Iterator[Bag]:
    """Open a recording for reading.

    Raises:
        BagError: missing, or not a recording, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise BagError("no such recording", where=str(path), remedy="give a bag's folder or file")
    if path.suffix in (".mcap", ".db3", ".zstd") and (path.parent / "metadata.yaml").is_file():
        path = path.parent  # a rosbag2 is its folder
    try:
        reader = AnyReader([path], default_typestore=_STORE)
        reader.open()
    except Exception as error:  # a damaged file makes rosbags raise nearly anything
        raise BagError(
            f"cannot read the recording ({first_line(error)})",
            where=str(path),
            expected="a rosbag2 folder (mcap, sqlite3) or a ROS 1 .bag file",
            remedy="if its recorder was killed, 'mcap recover' and 'ros2 bag reindex' may save it",
        ) from None
    try:
        yield Bag(reader, path)
    finally:
        reader.close()


class Bag:
    """An open recording. Made by ``open_bag``."""

    def __init__(self, reader: AnyReader, path: Path) -> None:
        self._reader = reader
        self.path = path

    @property
    def topics(self) -> dict[str, str]:
        """Message type by topic."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    @property
    def counts(self) -> dict[str, int]:
        """Number of messages by topic."""
        counts: dict[str, int] = {}
        for connection in self._reader.connections:
            counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
        return counts

    def image_topic(self, wanted: str | None = None) -> str:
        """The image topic of that name, or the only one.

        Raises:
            BagError: absent, of another type, or several to choose from.
        """
        candidates = [topic for topic, kind in self.topics.items() if kind in IMAGE_TYPES]
        if wanted is None:
            if len(candidates) == 1:
                return candidates[0]
            what = "which image topic?" if candidates else "no image topic in the recording"
            raise BagError(
                what,
                where=str(self.path),
                expected=f"one of {', '.join(candidates)}" if candidates else "images",
                remedy="--image-topic TOPIC" if candidates else self._listing(),
            )
        self.type_of(wanted)
        if wanted not in candidates:
            raise BagError(
                "not an image topic",
                where=f"{self.path}: {wanted}",
                expected=" or ".join(IMAGE_TYPES),
                got=self.topics[wanted],
            )
        return wanted

    def type_of(self, topic: str) -> str:
        """The message type of a topic.

        Raises:
            BagError: the topic is not there; the topics are listed.
        """
        if topic not in self.topics:
            raise BagError("no such topic", where=f"{self.path}: {topic}", remedy=self._listing())
        return self.topics[topic]

    def raw(self, topics: Sequence[str]) -> Iterator[RawMessage]:
        """The messages of some topics in the order of the record, as CDR bytes.

        Raises:
            BagError: a topic that is absent, or a damaged recording.
        """
        for connection, log_ns, raw in self._records(topics):
            cdr = raw if self._reader.is2 else self._as_cdr(raw, connection.msgtype)
            yield RawMessage(connection.topic, connection.msgtype, log_ns, bytes(cdr))

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Log time and message of one topic, in order.

        Raises:
            BagError: the topic is absent, the recording damaged, or a message undecodable.
        """
        for number, (connection, log_ns, raw) in enumerate(self._records([topic])):
            try:
                message = self._reader.deserialize(raw, connection.msgtype)
            except Exception as error:
                raise BagError(
                    f"message cannot be decoded ({first_line(error)})",
                    where=f"{self.path}: {topic}: message {number}",
                ) from None
            yield log_ns, message

    def images(
        self, topic: str | None, colour: Literal["rgb", "mono"], height: int, width: int
    ) -> Recording:
        """All images of a topic, brought to one size.

        Raises:
            BagError: no such topic, no image, an undecodable one, or stamps that do not increase.
        """
        topic = self.image_topic(topic)
        images, stamps = [], []
        for number, (log_ns, message) in enumerate(self.messages(topic)):
            try:
                image = fit_image(decode_camera(message, colour), width, height)
            except ImageError as error:
                raise BagError(
                    str(error), where=f"{self.path}: {topic}: message {number}"
                ) from None
            images.append(np.array(image.transpose(2, 0, 1), order="C"))
            stamps.append(stamp_of(message, log_ns))
        captured_ns = np.array(stamps, dtype=np.int64)
        if not images:
            raise BagError("no image in the topic", where=f"{self.path}: {topic}")
        self._check_increasing(captured_ns, topic)
        return Recording(captured_ns, np.stack(images), str(self.path))

    def series(self, topic: str, fields: Sequence[str]) -> Series:
        """Fields of a topic over time, sorted by stamp.

        Raises:
            BagError: no such topic or field, or no message.
        """
        stamps, values = [], []
        for log_ns, message in self.messages(topic):
            try:
                values.append(read_fields(message, fields, f"{self.path}: {topic}"))
            except StateError as error:
                raise BagError(str(error)) from None
            stamps.append(stamp_of(message, log_ns))
        if not values:
            raise BagError("no message in the topic", where=f"{self.path}: {topic}")
        order = np.argsort(np.array(stamps, dtype=np.int64), kind="stable")
        return Series(
            np.array(stamps, dtype=np.int64)[order], np.array(values, dtype=np.float32)[order]
        )

    def _records(self, topics: Sequence[str]) -> Iterator[tuple[Any, int, Any]]:
        for topic in topics:
            self.type_of(topic)
        chosen = [c for c in self._reader.connections if c.topic in topics]
        records = self._reader.messages(connections=chosen)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:
                raise BagError(
                    f"the recording is damaged ({first_line(error)})", where=str(self.path)
                ) from None
            yield record

    def _as_cdr(self, raw: Any, kind: str) -> Any:
        """A message of a ROS 1 bag as ROS 2 bytes."""
        try:
            return _STORE.serialize_cdr(self._reader.deserialize(raw, kind), kind)
        except Exception as error:
            raise BagError(
                f"message cannot become a ROS 2 message ({first_line(error)})",
                where=f"{self.path}: {kind}",
            ) from None

    def _check_increasing(self, captured_ns: NDArray[np.int64], topic: str) -> None:
        wrong = np.flatnonzero(np.diff(captured_ns) <= 0)
        if len(wrong):
            raise BagError(
                "capture times do not increase",
                where=f"{self.path}: {topic}: message {int(wrong[0]) + 1}",
                got=int(captured_ns[wrong[0] + 1]),
                expected=f"more than {int(captured_ns[wrong[0]])} ns",
            )

    def _listing(self) -> str:
        counts = self.counts
        return "there are " + ", ".join(
            f"{topic} ({kind}, {counts[topic]})" for topic, kind in self.topics.items()
        )


def decode_message(cdr: bytes, kind: str) -> Any:
    """A message of a standard type out of its ROS 2 (CDR) bytes."""
    return _STORE.deserialize_cdr(cdr, kind)


def stamp_of(message: Any, log_ns: int) -> int:
    """The header's stamp, or the time of the record for a message without one (or with zero)."""
    header = getattr(message, "header", None)
    stamp_ns = 0 if header is None else read_stamp_ns(header.stamp)
    return stamp_ns or log_ns


def align(
    series: Series, captured_ns: NDArray[np.int64], *, lag_ns: int = 0, tolerance_ns: int
) -> NDArray[np.float32]:
    """Per capture time, the value stamped nearest to it plus a lag; NaN where none is near.

    Values are commands, which hold until the next one: nearest, never interpolated.

    Args:
        series: the numbers.
        captured_ns: (frames,) times.
        lag_ns: how much later than an image its value is stamped (a driver's reaction).
        tolerance_ns: the farthest that counts as near.
    """
    wanted = captured_ns + lag_ns
    after = np.clip(np.searchsorted(series.stamps_ns, wanted), 0, len(series.stamps_ns) - 1)
    before = np.maximum(after - 1, 0)
    gap_after = np.abs(series.stamps_ns[after] - wanted)
    gap_before = np.abs(series.stamps_ns[before] - wanted)
    nearest = np.where(gap_before <= gap_after, before, after)
    values = series.values[nearest].copy()
    values[np.minimum(gap_after, gap_before) > tolerance_ns] = np.nan
    return values
