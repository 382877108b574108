"""The verb ``simulate``: bags laid out like a small car's, repeatable, never half-written."""

from __future__ import annotations

import numpy as np
import pytest

from streaming_net_ros.cli import simulate as verb
from streaming_net_ros.cli.app import main
from streaming_net_ros.evaluation import open_bag
from streaming_net_ros.simulation import simulate_drive

FRAMES = 6


def simulate(out, *arguments, frames=FRAMES):
    return main(["simulate", "--out", str(out), "--frames", str(frames), *map(str, arguments)])


def read(path, height=120, width=160):
    with open_bag(path) as bag:
        recording = bag.images(None, "rgb", height, width)
        series = bag.series("/teleop/cmd_vel", ["twist.angular.z", "twist.linear.x"])
        return bag.topics, recording, series


class TestLayout:
    def test_a_drive_is_laid_out_like_a_small_cars_recording(self, tmp_path, shared_data):
        assert simulate(tmp_path / "drive") == 0
        topics, recording, _ = read(tmp_path / "drive")
        real_topics, real, _ = read(shared_data / "drive_a")
        assert topics == real_topics
        assert recording.images.shape[1:] == real.images.shape[1:]
        assert np.diff(recording.captured_ns).tolist() == [50_000_000] * (FRAMES - 1)

    def test_raw_images_are_the_simulated_ones_exactly(self, tmp_path):
        assert simulate(tmp_path / "drive", "--raw", "--seed", 7) == 0
        topics, recording, series = read(tmp_path / "drive")
        assert topics["/camera/image_raw"] == "sensor_msgs/msg/Image"
        for k, frame in enumerate(simulate_drive(7, FRAMES, drive_seed=7)):
            assert np.array_equal(recording.images[k], frame.image.transpose(2, 0, 1))
            assert series.values[k] == pytest.approx([frame.steering, frame.throttle])

    def test_jpeg_images_are_nearly_the_same_with_red_where_red_was(self, tmp_path):
        simulate(tmp_path / "raw", "--raw")
        simulate(tmp_path / "jpeg")
        raw, jpeg = (read(tmp_path / n)[1].images.astype(float) for n in ("raw", "jpeg"))
        assert np.abs(raw - jpeg).mean() < 4
        for channel in range(3):
            errors = np.abs(jpeg[:, channel] - raw.transpose(1, 0, 2, 3)).mean(axis=(1, 2, 3))
            assert errors.argmin() == channel

    def test_commands_are_stamped_as_the_images_they_answer(self, tmp_path):
        simulate(tmp_path / "drive", "--rate-hz", 30)
        _, recording, series = read(tmp_path / "drive")
        assert np.array_equal(recording.captured_ns, series.stamps_ns)
        assert (np.diff(series.stamps_ns) == round(1e9 / 30)).all()
        assert (np.abs(series.values[:, 0]) <= 1).all()
        assert ((series.values[:, 1] >= 0) & (series.values[:, 1] <= 1)).all()


class TestDrives:
    def test_several_drives_are_bags_of_their_own_each_on_its_track(self, tmp_path):
        assert simulate(tmp_path / "drives", "--drives", 3, "--seed", 4) == 0
        folders = sorted((tmp_path / "drives").iterdir())
        assert [folder.name for folder in folders] == ["drive_000", "drive_001", "drive_002"]
        images = [read(folder)[1].images for folder in folders]
        assert not np.array_equal(images[0], images[1])
        simulate(tmp_path / "alone", "--seed", 6)
        assert np.array_equal(read(tmp_path / "alone")[1].images, images[2])

    def test_one_seed_one_recording(self, tmp_path):
        for name in ("one", "again"):
            simulate(tmp_path / name)
        one, again = read(tmp_path / "one"), read(tmp_path / "again")
        assert np.array_equal(one[1].images, again[1].images)
        assert np.array_equal(one[2].values, again[2].values)

    def test_the_next_command_is_told(self, tmp_path, capsys):
        simulate(tmp_path / "drive")
        out = capsys.readouterr().out
        assert f"{FRAMES} frames written to {tmp_path / 'drive'}" in out
        assert "next: streaming-net train" in out and "/teleop/cmd_vel:twist.angular.z" in out


class TestFaults:
    def test_what_exists_is_never_written_over(self, tmp_path, capsys):
        (tmp_path / "mine").mkdir()
        assert simulate(tmp_path / "mine") == 2
        assert "will not write over" in capsys.readouterr().err
        assert list((tmp_path / "mine").iterdir()) == []

    @pytest.mark.parametrize("rate_hz", ["0", "-1", "nan", "1e9"])
    def test_rates_that_cannot_be_leave_nothing_behind(self, tmp_path, capsys, rate_hz):
        assert simulate(tmp_path / "drive", "--rate-hz", rate_hz) == 2
        assert "rate_hz" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_an_interrupted_drive_leaves_nothing_that_looks_like_one(self, tmp_path, monkeypatch):
        def interrupted(writer, frame):
            if writer.counts[verb.COMPRESSED_TOPIC] == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(verb, "_write_command", interrupted)
        assert simulate(tmp_path / "drive") == 130
        assert list(tmp_path.iterdir()) == []
