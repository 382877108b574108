"""GTSRB: a track is a clip, in the order of its frames, and never on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.datasets import PictureForm, read_gtsrb, split_tracks
from streaming_net_ros.training.datasets.tracks import CLASSES

HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
FORM = PictureForm(4, 6, "rgb")
TRACKS = {("00003", 0): 3, ("00003", 1): 2, ("00041", 0): 4}


def row(name, label, box=(1, 1, 5, 3)):
    return f"{name};6;4;{box[0]};{box[1]};{box[2]};{box[3]};{label}\n"


@pytest.fixture
def small(tmp_path, write_image):
    """The folder layout; gives back the images of training and test by name."""
    written = {}
    for (label, track), frames in TRACKS.items():
        for frame in range(frames):
            name = f"train/{label}/{track:05d}_{frame:05d}.png"
            written[name] = write_image(tmp_path / name, seed=len(written))
    for name in ("test/00000/00007.png", "test/00041/00002.png"):
        written[name] = write_image(tmp_path / name, seed=len(written))
    return tmp_path, written


@pytest.fixture
def official(tmp_path, write_image):
    """The official layout, of the same tracks, and four stills to be judged on."""
    written = {}
    train, test = (tmp_path / f"GTSRB/Final_{what}/Images" for what in ("Training", "Test"))
    for (label, track), frames in TRACKS.items():
        for frame in range(frames):
            name = f"{track:05d}_{frame:05d}.ppm"
            written[label, name] = write_image(train / label / name, seed=len(written))
    for label in ("00003", "00041"):
        rows = [row(name, int(of)) for of, name in written if of == label]
        (train / label / f"GT-{label}.csv").write_text(HEAD + "".join(rows))
    for number in range(4):
        written["test", f"{number:05d}.ppm"] = write_image(
            test / f"{number:05d}.ppm", seed=50 + number
        )
    (tmp_path / "GT-final_test.csv").write_text(
        HEAD + "".join(row(f"{n:05d}.ppm", label) for n, label in enumerate((5, 0, 42, 5)))
    )
    return tmp_path, written


def as_stack(images):
    return np.stack(list(images)).transpose(0, 3, 1, 2)


class TestTracks:
    def test_the_frames_of_a_track_are_one_clip_in_order(self, small):
        path, written = small
        clips = read_gtsrb(path, "train", FORM)
        wanted = as_stack(image for name, image in written.items() if name.startswith("train"))
        assert np.array_equal(clips.images.numpy(), wanted)
        assert clips.bounds.tolist() == [[0, 3], [3, 5], [5, 9]]
        assert clips.targets["class"].tolist() == [3] * 5 + [41] * 4
        assert clips.classes["class"] == CLASSES and len(CLASSES) == 43

    def test_test_pictures_are_stills(self, small):
        path, written = small
        clips = read_gtsrb(path, "test", FORM)
        wanted = as_stack(image for name, image in written.items() if name.startswith("test"))
        assert np.array_equal(clips.images.numpy(), wanted)
        assert clips.frames.tolist() == [1, 1]
        assert clips.targets["class"].tolist() == [0, 41]

    def test_both_layouts_are_read_alike(self, official):
        path, written = official
        train = [image for (label, _), image in written.items() if label != "test"]
        for place in (path, path / "GTSRB"):
            clips = read_gtsrb(place, "train", FORM)
            assert np.array_equal(clips.images.numpy(), as_stack(train))
            assert clips.bounds.tolist() == [[0, 3], [3, 5], [5, 9]]
        test = read_gtsrb(path, "test", FORM)
        stills = [image for (label, _), image in written.items() if label == "test"]
        assert np.array_equal(test.images.numpy(), as_stack(stills))
        assert test.targets["class"].tolist() == [5, 0, 42, 5]

    def test_frames_are_ordered_as_numbers_and_one_may_be_left_out(self, tmp_path, write_image):
        images = {f: write_image(tmp_path / f"train/00000/7_{f}.png", seed=f) for f in (10, 2, 1)}
        clips = read_gtsrb(tmp_path, "train", FORM)
        assert np.array_equal(clips.images.numpy(), as_stack(images[f] for f in (1, 2, 10)))
        assert clips.bounds.tolist() == [[0, 3]]

    def test_a_limit_counts_whole_tracks_of_each_class_alike(self, small):
        path, _ = small
        seen = []
        clips = read_gtsrb(path, "train", FORM, 2, lambda *far: seen.append(far))
        assert len(clips) == 2
        assert clips.targets["class"][clips.bounds[:, 0]].tolist() == [3, 41]
        assert clips.frames.tolist()[1] == 4 and clips.frames.tolist()[0] in (2, 3)
        assert seen == [(int(clips.frames.sum()),) * 2]
        assert len(read_gtsrb(path, "test", FORM, 1)) == 1

    def test_a_crop_keeps_the_sign_alone(self, official):
        path, written = official
        form = PictureForm(2, 4, "rgb")
        for part, of_part in (("train", False), ("test", True)):
            clips = read_gtsrb(path, part, form, crop=True)
            images = [im for (label, _), im in written.items() if (label == "test") == of_part]
            assert np.array_equal(clips.images.numpy(), as_stack(im[1:3, 1:5] for im in images))


class TestErrors:
    def test_missing_files(self, tmp_path, official):
        with pytest.raises(DataError, match=r"GTSRB in .*/no: no such folder") as error:
            read_gtsrb(tmp_path / "no", "train", FORM)
        for part in ("Final_Test/Images/<n>.ppm", "GTSRB_Final_Test_GT.zip", "gtsrb_dataset.html"):
            assert part in str(error.value)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="the train pictures are missing"):
            read_gtsrb(tmp_path / "empty", "train", FORM)

    def test_the_answers_of_the_test_pictures_are_missing(self, official):
        path, _ = official
        (path / "GT-final_test.csv").unlink()
        with pytest.raises(DataError, match=r"GT-final_test\.csv, the classes of .* is missing"):
            read_gtsrb(path, "test", FORM)

    def test_a_test_picture_is_missing(self, official):
        path, _ = official
        (path / "GTSRB/Final_Test/Images/00002.ppm").unlink()
        with pytest.raises(DataError, match=r"00002\.ppm: no such file"):
            read_gtsrb(path, "test", FORM)

    @pytest.mark.parametrize("name", ["00043", "stop"])
    def test_an_unknown_class(self, small, write_image, name):
        path, _ = small
        write_image(path / f"train/{name}/00000_00000.png")
        with pytest.raises(DataError, match=f"one of 43 classes, 00000 to 00042, got {name}"):
            read_gtsrb(path, "train", FORM)

    @pytest.mark.parametrize("name", ["00001", "a_b", "0_1_2", "_"])
    def test_a_name_that_is_no_frames(self, small, write_image, name):
        path, _ = small
        write_image(path / f"train/00003/{name}.png")
        with pytest.raises(DataError, match="not a frame of a track: expected <track>_<frame>"):
            read_gtsrb(path, "train", FORM)

    def test_a_frame_that_is_there_twice(self, small, write_image):
        path, _ = small
        write_image(path / "train/00003/0_1.png")
        with pytest.raises(DataError, match="a frame is there twice") as error:
            read_gtsrb(path, "train", FORM)
        assert "0_1.png" in str(error.value) and "got 00000_00001.png" in str(error.value)

    def test_a_crop_without_annotations(self, small, official, write_image):
        path, _ = small
        with pytest.raises(DataError, match=r"nothing says where the signs are.*without crop"):
            read_gtsrb(path, "train", FORM, crop=True)
        images = path / "GTSRB/Final_Training/Images"
        write_image(images / "00041/00009_00000.ppm")
        with pytest.raises(DataError, match="not annotated: expected a row with ClassId 41 in GT"):
            read_gtsrb(path / "GTSRB", "train", FORM, crop=True)
        (images / "00003/GT-00003.csv").unlink()
        with pytest.raises(DataError, match=r"GT-00003\.csv: no such file"):
            read_gtsrb(path / "GTSRB", "train", FORM, crop=True)

    def test_a_folder_that_contradicts_its_annotations(self, official):
        path, _ = official
        table = path / "GTSRB/Final_Training/Images/00041/GT-00041.csv"
        table.write_text(table.read_text().replace(";41\n", ";40\n"))
        with pytest.raises(DataError, match=r"annotated as another class.*got ClassId 40"):
            read_gtsrb(path, "train", FORM, crop=True)

    def test_a_region_outside_its_picture(self, official):
        path, _ = official
        (path / "GT-final_test.csv").write_text(HEAD + row("00001.ppm", 3, (1, 1, 7, 3)))
        with pytest.raises(DataError, match=r"00001\.ppm: the region of interest does not lie"):
            read_gtsrb(path, "test", FORM, crop=True)

    def test_an_unknown_part_and_a_limit_out_of_range(self, small):
        path, _ = small
        with pytest.raises(ParameterError, match="expected train or test"):
            read_gtsrb(path, "all", FORM)
        with pytest.raises(ParameterError, match="limit"):
            read_gtsrb(path, "train", FORM, 0)


def clips_of(frames, labels):
    """One clip for each number of frames, all of its frames of one class."""
    ends = np.cumsum(frames)
    bounds = torch.from_numpy(np.stack([ends - frames, ends], axis=1))
    target = torch.from_numpy(np.repeat(np.array(labels, np.int64), frames))
    images = torch.zeros(int(ends[-1]), 1, 1, 1, dtype=torch.uint8)
    return Clips(images, {"class": target}, bounds, classes={"class": tuple("abcde")}, name="some")


class TestSplit:
    @given(
        st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=40),
        st.floats(0, 1),
        st.integers(0, 2**32),
    )
    def test_a_track_is_whole_and_on_one_side(self, tracks, share, seed):
        clips = clips_of(*zip(*tracks, strict=True))
        parts = split_tracks(clips, share, seed)
        bounds = [part.bounds.tolist() if part else [] for part in parts]
        assert sorted(bounds[0] + bounds[1]) == clips.bounds.tolist()
        assert all(part == sorted(part) for part in bounds)
        assert len(bounds[1]) == round(share * len(tracks))

    def test_each_class_gives_its_share(self):
        clips = clips_of([3] * 100, [n % 5 for n in range(100)])
        learn, judge = split_tracks(clips, 0.2)
        of_judge = judge.targets["class"][judge.bounds[:, 0]]
        assert torch.bincount(of_judge).tolist() == [4] * 5
        assert len(learn) == 80

    def test_one_seed_splits_one_way(self):
        clips = clips_of([2] * 50, [n % 5 for n in range(50)])
        one, same, other = (split_tracks(clips, 0.3, seed)[1].bounds for seed in (7, 7, 8))
        assert torch.equal(one, same) and not torch.equal(one, other)

    def test_a_part_without_a_track_is_none(self):
        clips = clips_of([2, 2], [0, 0])
        assert split_tracks(clips, 0)[1] is None and split_tracks(clips, 1)[0] is None

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_a_share_that_is_none(self, share):
        with pytest.raises(DataError, match="validate: not a share: expected 0 to 1"):
            split_tracks(clips_of([1], [0]), share)

    def test_clips_without_a_class(self):
        clips = Clips(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), {"steering": torch.zeros(1, 1)},
                      torch.tensor([[0, 1]]), name="some")  # fmt: skip
        with pytest.raises(
            DataError, match=r"some: no classes to split by.*'class', got steering"
        ):
            split_tracks(clips, 0.5)
