"""Recordings in and out: what is written is read back, and every fault is one line."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

from recordings import (
    COMPRESSED,
    IMAGE,
    PERIOD_NS,
    START_NS,
    TWIST,
    png_image,
    raw_image,
    toy_drive,
    twist,
    write_toy_bag,
)
from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation import BagWriter, Series, align, message_type, open_bag

FLOAT = "std_msgs/msg/Float64"


@pytest.fixture
def toy_bag(tmp_path):
    return write_toy_bag(tmp_path / "toy", frames=20)


def read_images(path, topic=None, colour="rgb", height=12, width=16):
    with open_bag(path) as bag:
        return bag.images(topic, colour, height, width)


def read_series(path, topic="/cmd", fields=("twist.angular.z",)):
    with open_bag(path) as bag:
        return bag.series(topic, fields)


def one_line_of(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 600
    return text


class TestWrittenIsReadBack:
    def test_images_and_fields_come_back_exactly(self, toy_bag):
        pictures, steering = toy_drive(20)
        recording = read_images(toy_bag)
        assert np.array_equal(recording.images, pictures.transpose(0, 3, 1, 2))
        assert recording.images.flags.c_contiguous
        assert recording.captured_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(20)]
        series = read_series(toy_bag, fields=["twist.angular.z", "twist.linear.x"])
        assert np.array_equal(series.values[:, 0], steering.astype(np.float32))
        assert (series.values[:, 1] == 0.5).all()
        assert np.array_equal(series.stamps_ns, recording.captured_ns)

    def test_the_file_inside_its_folder_is_the_same_recording(self, toy_bag):
        assert np.array_equal(
            read_images(toy_bag / "toy.mcap").images, read_images(toy_bag).images
        )

    @pytest.mark.parametrize("kind", ["sqlite3", "sqlite3 in a compressed file"])
    def test_so_is_a_file_of_sqlite3(self, kind, tmp_path):
        KINDS[kind](tmp_path / "drive")
        (file,) = (tmp_path / "drive").glob("*.db3*")
        assert np.array_equal(read_images(file).images, read_images(tmp_path / "drive").images)

    def test_a_compressed_image_comes_back(self, tmp_path):
        pictures, _ = toy_drive(2)
        with BagWriter(tmp_path / "bag") as writer:
            for k in range(2):
                writer.write("/i", COMPRESSED, k + 1, png_image(START_NS + k, pictures[k]))
        assert np.array_equal(read_images(tmp_path / "bag").images, pictures.transpose(0, 3, 1, 2))

    def test_images_come_in_the_wanted_size_and_colour(self, toy_bag):
        assert read_images(toy_bag, height=6, width=8).images.shape == (20, 3, 6, 8)
        assert read_images(toy_bag, colour="mono").images.shape == (20, 1, 12, 16)

    def test_a_part_counts_frames(self, toy_bag):
        recording = read_images(toy_bag)
        part = recording.part(5, 9)
        assert np.array_equal(part.captured_ns, recording.captured_ns[5:9])
        assert np.array_equal(part.images, recording.images[5:9])

    def test_raw_messages_are_the_written_bytes_in_order_of_time(self, tmp_path):
        written = []
        with BagWriter(tmp_path / "bag") as writer:
            for log_ns, topic in ((30, "/b"), (10, "/a"), (20, "/b")):
                cdr = bytes([0, 1, 0, 0, *np.float64(log_ns).tobytes()])
                written.append((topic, FLOAT, log_ns, cdr))
                writer.write(topic, FLOAT, log_ns, cdr)
            assert writer.counts == {"/a": 1, "/b": 2}
        with open_bag(tmp_path / "bag") as bag:
            raw = [(m.topic, m.type, m.log_ns, m.cdr) for m in bag.raw(["/a", "/b"])]
            only_b = [m.log_ns for m in bag.raw(["/b"])]
            numbers = [message.data for _, message in bag.messages("/a")]
            assert bag.counts == {"/a": 1, "/b": 2}
        assert raw == sorted(written, key=lambda record: record[2])
        assert only_b == [20, 30]
        assert numbers == [10.0]

    def test_bytes_survive_a_second_bag(self, toy_bag, tmp_path):
        with open_bag(toy_bag) as bag, BagWriter(tmp_path / "copy") as writer:
            first = list(bag.raw(["/image", "/cmd"]))
            for m in first:
                writer.write(m.topic, m.type, m.log_ns, m.cdr)
        with open_bag(tmp_path / "copy") as bag:
            assert list(bag.raw(["/image", "/cmd"])) == first


class TestStamps:
    def test_a_message_without_a_header_has_the_time_of_its_record(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            for k in range(3):
                writer.write("/f", FLOAT, 100 + k, message_type(FLOAT)(data=float(k)))
        series = read_series(tmp_path / "bag", "/f", ["data"])
        assert series.stamps_ns.tolist() == [100, 101, 102]

    def test_a_header_without_a_stamp_has_the_time_of_its_record(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/cmd", TWIST, 77, twist(0, 0.1))
        assert read_series(tmp_path / "bag").stamps_ns.tolist() == [77]

    def test_a_series_is_sorted_by_stamp_even_if_it_was_recorded_otherwise(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            for log_ns, stamp_ns in ((1, 30), (2, 10), (3, 20)):
                writer.write("/cmd", TWIST, log_ns, twist(stamp_ns, stamp_ns / 100))
        series = read_series(tmp_path / "bag")
        assert series.stamps_ns.tolist() == [10, 20, 30]
        assert np.allclose(series.values[:, 0], [0.1, 0.2, 0.3])

    def test_images_captured_in_another_order_are_refused(self, tmp_path):
        pictures, _ = toy_drive(2)
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/i", IMAGE, 1, raw_image(START_NS + 1, pictures[0]))
            writer.write("/i", IMAGE, 2, raw_image(START_NS, pictures[1]))
        with pytest.raises(BagError, match="do not increase") as error:
            read_images(tmp_path / "bag")
        assert "message 1" in one_line_of(error)


class TestOtherFormats:
    def test_sqlite3_is_read(self, tmp_path):
        store = get_typestore(Stores.ROS2_KILTED)
        with Ros2Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as w:
            connection = w.add_connection("/cmd", TWIST, typestore=store)
            w.write(connection, 5, store.serialize_cdr(twist(START_NS, 0.25), TWIST))
        assert read_series(tmp_path / "bag").values.tolist() == [[0.25]]

    def test_a_ros1_bag_is_read_and_its_messages_become_cdr(self, tmp_path):
        store = get_typestore(Stores.ROS1_NOETIC)
        stamp = store.types["builtin_interfaces/msg/Time"](sec=7, nanosec=9)
        vector = store.types["geometry_msgs/msg/Vector3"]
        message = store.types[TWIST](
            header=store.types["std_msgs/msg/Header"](seq=3, stamp=stamp, frame_id="base"),
            twist=store.types["geometry_msgs/msg/Twist"](
                linear=vector(x=0.5, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=-0.5)
            ),
        )
        path = tmp_path / "old.bag"
        with Ros1Writer(path) as writer:
            connection = writer.add_connection("/cmd", TWIST, typestore=store)
            writer.write(connection, 5, store.serialize_ros1(message, TWIST))
        series = read_series(path)
        assert series.values.tolist() == [[-0.5]]
        assert series.stamps_ns.tolist() == [7_000_000_009]
        with open_bag(path) as bag:
            (raw,) = bag.raw(["/cmd"])
        again = get_typestore(Stores.ROS2_KILTED).deserialize_cdr(raw.cdr, raw.type)
        assert again.twist.angular.z == -0.5 and again.header.frame_id == "base"


def write_ros2(path, kind, *, compressed=None, files=1, frames=12):
    """A toy drive as one of ROS 2's kinds of bags; split ones as rosbag2's recorder lays them."""
    store = get_typestore(Stores.ROS2_KILTED)
    pictures, steering = toy_drive(frames)
    parts = np.array_split(np.arange(frames), files)
    metadata = None
    for number, part in enumerate(parts):
        folder = path if files == 1 else path.with_name(f"{path.name}_{number}")
        writer = Ros2Writer(folder, version=9, storage_plugin=kind)
        if compressed is not None:
            writer.set_compression(*compressed)
        with writer:
            image = writer.add_connection("/image", IMAGE, typestore=store)
            cmd = writer.add_connection("/cmd", TWIST, typestore=store)
            for k in part.tolist():
                stamp_ns = START_NS + k * PERIOD_NS
                picture, command = raw_image(stamp_ns, pictures[k]), twist(stamp_ns, steering[k])
                writer.write(image, stamp_ns, store.serialize_cdr(picture, IMAGE))
                writer.write(cmd, stamp_ns, store.serialize_cdr(command, TWIST))
        if files > 1:
            metadata = _gathered(folder, path, metadata)


def _gathered(folder, path, metadata):
    """Move a one-file bag's file into the split bag's folder, and its facts into its metadata."""
    path.mkdir(exist_ok=True)
    facts = yaml.safe_load((folder / "metadata.yaml").read_text())
    info = facts["rosbag2_bagfile_information"]
    for file in list(info["relative_file_paths"]):
        (folder / file).rename(path / file)
    if metadata is None:
        metadata = facts
    else:
        whole = metadata["rosbag2_bagfile_information"]
        whole["relative_file_paths"] += info["relative_file_paths"]
        whole["files"] += info.get("files") or []
        whole["message_count"] += info["message_count"]
        whole["duration"]["nanoseconds"] += info["duration"]["nanoseconds"] + PERIOD_NS
        for topic, more in zip(whole["topics_with_message_count"],
                               info["topics_with_message_count"], strict=True):  # fmt: skip
            topic["message_count"] += more["message_count"]
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return metadata


def write_ros1(path, frames=12):
    """A toy drive as a ROS 1 bag."""
    store = get_typestore(Stores.ROS1_NOETIC)
    pictures, steering = toy_drive(frames)
    types = store.types
    vector = types["geometry_msgs/msg/Vector3"]
    with Ros1Writer(path) as writer:
        image = writer.add_connection("/image", IMAGE, typestore=store)
        cmd = writer.add_connection("/cmd", TWIST, typestore=store)
        for k in range(frames):
            stamp_ns = START_NS + k * PERIOD_NS
            stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
            header = types["std_msgs/msg/Header"](seq=k, stamp=stamp, frame_id="camera")
            picture = types[IMAGE](header, 12, 16, "rgb8", 0, 48, pictures[k].reshape(-1))
            command = types["geometry_msgs/msg/Twist"](
                vector(0.5, 0.0, 0.0), vector(0.0, 0.0, steering[k])
            )
            writer.write(image, stamp_ns, store.serialize_ros1(picture, IMAGE))
            writer.write(cmd, stamp_ns, store.serialize_ros1(types[TWIST](header, command), TWIST))


MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3
KINDS = {
    "mcap": lambda path: write_ros2(path, MCAP),
    "sqlite3": lambda path: write_ros2(path, SQLITE3),
    "mcap in compressed chunks": lambda path: write_ros2(
        path, MCAP, compressed=(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    ),
    "sqlite3 of compressed messages": lambda path: write_ros2(
        path, SQLITE3, compressed=(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    ),
    "sqlite3 in a compressed file": lambda path: write_ros2(
        path, SQLITE3, compressed=(CompressionMode.FILE, CompressionFormat.ZSTD)
    ),
    "mcap split into files": lambda path: write_ros2(path, MCAP, files=3),
    "sqlite3 split into files": lambda path: write_ros2(path, SQLITE3, files=3),
    "ROS 1": lambda path: write_ros1(path.with_suffix(".bag")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_bag_gives_the_same_drive(kind, tmp_path):
    KINDS[kind](tmp_path / "drive")
    path = tmp_path / ("drive.bag" if kind == "ROS 1" else "drive")
    pictures, steering = toy_drive(12)
    recording, series = read_images(path), read_series(path)
    assert np.array_equal(recording.images, pictures.transpose(0, 3, 1, 2))
    assert recording.captured_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(12)]
    assert np.array_equal(series.values[:, 0], steering.astype(np.float32))
    assert np.array_equal(series.stamps_ns, recording.captured_ns)
    with open_bag(path) as bag:
        assert bag.counts == {"/image": 12, "/cmd": 12}
        assert len(list(bag.raw(["/image"]))) == 12


class TestFaultsAreOneLine:
    def test_a_missing_path(self, tmp_path):
        with pytest.raises(BagError, match="no such recording") as error:
            read_images(tmp_path / "nothing")
        assert "nothing" in one_line_of(error)

    @pytest.mark.parametrize("name", ["text.mcap", "text.bag", "text.txt", "text.db3"])
    @pytest.mark.parametrize("content", [b"", b"this is no recording\n" * 50])
    def test_a_file_that_is_no_recording(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BagError, match="cannot read the recording") as error:
            read_images(tmp_path / name)
        assert name in one_line_of(error)

    def test_a_folder_that_is_no_recording(self, tmp_path):
        with pytest.raises(BagError, match="cannot read") as error:
            read_images(tmp_path)
        one_line_of(error)

    @pytest.mark.parametrize("text", ["", "a: [1", "a: 1", "rosbag2_bagfile_information: 3"])
    def test_broken_metadata(self, toy_bag, text):
        (toy_bag / "metadata.yaml").write_text(text)
        with pytest.raises(BagError) as error:
            read_images(toy_bag)
        one_line_of(error)

    def test_a_recording_without_its_file(self, toy_bag):
        (toy_bag / "toy.mcap").unlink()
        with pytest.raises(BagError) as error:
            read_images(toy_bag)
        one_line_of(error)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
    def test_a_truncated_recording(self, toy_bag, share):
        file = toy_bag / "toy.mcap"
        whole = file.read_bytes()
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BagError) as error:
            read_images(toy_bag)
        assert str(toy_bag) in one_line_of(error)

    @pytest.mark.parametrize("seed", range(20))
    def test_flipped_bytes_give_data_or_one_line(self, toy_bag, seed):
        file = toy_bag / "toy.mcap"
        content = np.frombuffer(file.read_bytes(), np.uint8).copy()
        rng = np.random.default_rng(seed)
        content[rng.integers(0, len(content), 40)] ^= 0xFF
        file.write_bytes(content.tobytes())
        try:
            read_images(toy_bag)
            read_series(toy_bag)
        except BagError as error:
            assert "\n" not in str(error)

    def test_an_absent_topic_lists_what_is_there(self, toy_bag):
        with pytest.raises(BagError, match="no such topic") as error:
            read_images(toy_bag, "/camera")
        assert "/image" in one_line_of(error) and "/cmd" in str(error.value)
        with pytest.raises(BagError, match="no such topic"):
            read_series(toy_bag, "/cmd_vel")
        with open_bag(toy_bag) as bag, pytest.raises(BagError, match="no such topic"):
            list(bag.raw(["/image", "/nope"]))

    def test_a_topic_of_another_type_is_no_image_topic(self, toy_bag):
        with pytest.raises(BagError, match="not an image topic") as error:
            read_images(toy_bag, "/cmd")
        assert TWIST in one_line_of(error)

    def test_without_a_name_the_only_image_topic_is_meant(self, tmp_path):
        pictures, _ = toy_drive(1)
        with BagWriter(tmp_path / "two") as writer:
            for topic in ("/left", "/right"):
                writer.write(topic, IMAGE, 1, raw_image(START_NS, pictures[0]))
        with pytest.raises(BagError, match="which image topic") as error:
            read_images(tmp_path / "two")
        assert "/left" in one_line_of(error) and "/right" in str(error.value)
        assert len(read_images(tmp_path / "two", "/left").images) == 1

    def test_no_image_topic_at_all(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/cmd", TWIST, 1, twist(START_NS, 0.0))
        with pytest.raises(BagError, match="no image topic") as error:
            read_images(tmp_path / "bag")
        assert "/cmd" in one_line_of(error)

    @pytest.mark.parametrize("field", ["twist.angular.q", "angular.z", "twist.angular", "twist"])
    def test_a_wrong_field_names_the_right_ones(self, toy_bag, field):
        with pytest.raises(BagError) as error:
            read_series(toy_bag, fields=[field])
        assert field.split(".")[0] in one_line_of(error)

    def test_an_undecodable_image_is_named_by_its_number(self, tmp_path):
        pictures, _ = toy_drive(3)
        with BagWriter(tmp_path / "bag") as writer:
            for k in range(3):
                message = png_image(START_NS + k, pictures[k])
                if k == 2:
                    message.data = message.data[:40]
                writer.write("/i", COMPRESSED, k + 1, message)
        with pytest.raises(BagError) as error:
            read_images(tmp_path / "bag")
        assert "/i: message 2" in one_line_of(error)


class TestWriter:
    def test_it_never_writes_over_what_exists(self, toy_bag, tmp_path):
        with pytest.raises(BagError, match="will not write over") as error:
            BagWriter(toy_bag)
        assert "remove it" in one_line_of(error)
        (tmp_path / "file").write_text("mine")
        with pytest.raises(BagError):
            BagWriter(tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_failure_leaves_nothing_that_looks_like_a_bag(self, tmp_path):
        with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag") as writer:
            writer.write("/f", FLOAT, 1, message_type(FLOAT)(data=1.0))
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []

    def test_the_bag_appears_only_when_it_is_whole(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/f", FLOAT, 1, message_type(FLOAT)(data=1.0))
            assert not (tmp_path / "bag").exists()
        assert sorted(p.name for p in (tmp_path / "bag").iterdir()) == [
            "bag.mcap",
            "metadata.yaml",
        ]

    def test_what_a_killed_writer_left_is_in_nobodys_way(self, tmp_path):
        abandoned = BagWriter(tmp_path / "bag").__enter__()
        abandoned.write("/f", FLOAT, 1, message_type(FLOAT)(data=1.0))
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/f", FLOAT, 2, message_type(FLOAT)(data=2.0))
        assert read_series(tmp_path / "bag", "/f", ["data"]).values.tolist() == [[2.0]]

    def test_a_topic_keeps_its_type(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer:
            writer.write("/f", FLOAT, 1, message_type(FLOAT)(data=1.0))
            with pytest.raises(BagError, match="changes its type"):
                writer.write("/f", TWIST, 2, twist(START_NS, 0.0))

    def test_an_unknown_type_is_named(self, tmp_path):
        with BagWriter(tmp_path / "bag") as writer, pytest.raises(BagError, match="Nope"):
            writer.write("/f", "std_msgs/msg/Nope", 1, b"")

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(BagError, match="cannot write"), BagWriter(tmp_path / "file" / "bag"):
            pass


class TestAlignment:
    SERIES = Series(np.array([100, 200, 300], np.int64), np.array([[1], [2], [3]], np.float32))

    def aligned(self, captured, tolerance_ns=50, **kwargs):
        values = align(
            self.SERIES, np.array(captured, np.int64), tolerance_ns=tolerance_ns, **kwargs
        )
        return values[:, 0]

    def test_the_nearest_in_time_is_taken_and_never_a_mixture(self):
        assert self.aligned([100, 149, 151, 200, 260, 340]).tolist() == [1, 1, 2, 2, 3, 3]

    def test_where_none_is_near_there_is_none(self):
        values = self.aligned([49, 50, 350, 351, 10_000])
        assert np.isnan(values).tolist() == [True, False, False, True, True]

    def test_a_lag_looks_that_much_later(self):
        assert self.aligned([100, 200], lag_ns=100).tolist() == [2, 3]
        assert np.isnan(self.aligned([300], lag_ns=100)).all()

    def test_aligning_to_its_own_stamps_is_the_identity(self):
        rng = np.random.default_rng(0)
        stamps = np.cumsum(rng.integers(1, 1000, 50)).astype(np.int64)
        series = Series(stamps, rng.standard_normal((50, 3)).astype(np.float32))
        assert np.array_equal(align(series, stamps, tolerance_ns=0), series.values)

    def test_it_agrees_with_a_search_through_all(self):
        rng = np.random.default_rng(1)
        stamps = np.cumsum(rng.integers(1, 100, 30)).astype(np.int64)
        series = Series(stamps, np.arange(30, dtype=np.float32)[:, None])
        captured = rng.integers(0, stamps[-1], 200)
        values = align(series, captured, lag_ns=7, tolerance_ns=20)[:, 0]
        for wanted, value in zip(captured + 7, values, strict=True):
            distances = np.abs(stamps - wanted)
            if distances.min() > 20:
                assert np.isnan(value)
            else:
                assert distances[int(value)] == distances.min()


@pytest.mark.data
def test_the_development_recording_is_read_whole(shared_data):
    path = shared_data / "drive_a"
    recording = read_images(path, height=60, width=80)
    series = read_series(path, "/teleop/cmd_vel", ["twist.angular.z"])
    assert len(recording.images) == len(series.values) == 700
    assert (np.diff(recording.captured_ns) == PERIOD_NS).all()
    assert not np.isnan(align(series, recording.captured_ns, tolerance_ns=0)).any()
