"""A comparison as a whole, its report, pictures, annotated bag and video."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from recordings import write_toy_bag
from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation import open_bag
from streaming_net_ros.evaluation.inputs import read_inputs
from streaming_net_ros.evaluation.streaming.annotated import (
    topic_name,
    write_annotated_bag,
    write_video,
)
from streaming_net_ros.evaluation.streaming.comparison import Drive, Task, compare
from streaming_net_ros.evaluation.streaming.heard import recorded_play
from streaming_net_ros.evaluation.streaming.pictures import draw
from streaming_net_ros.evaluation.streaming.played import Contender, Timing, is_sequential
from streaming_net_ros.evaluation.streaming.references import find_references
from streaming_net_ros.evaluation.streaming.report import report
from streaming_net_ros.network import StreamingNetwork, parse_network, rollout_of

FRAMES = 30
REFERENCE = "/cmd:twist.angular.z"


def contender(spec, choice):
    network = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    return Contender(choice, network, "random", not is_sequential(network))


def task_of(content, *paths, references=(REFERENCE,), work_ms=20, **more):
    spec = parse_network({**content, "rate_hz": 20})
    contenders = [contender(spec, choice) for choice in ("streaming", "sequential")]
    timing = Timing(dict.fromkeys(contenders[0].groups, work_ms * 1_000_000))
    drives = [Drive(path.name, path) for path in paths]
    return Task(contenders, drives, references, {c.name: timing for c in contenders}, **more)


@pytest.fixture
def toy(tmp_path):
    return write_toy_bag(tmp_path / "toy", FRAMES)


@pytest.fixture
def comparison(tiny, toy):
    return compare(task_of(tiny, toy))


class TestResult:
    def test_it_is_the_same_each_time_and_strict_json(self, comparison, tiny, toy):
        again = compare(task_of(tiny, toy))
        texts = [json.dumps(c.to_json(), allow_nan=False) for c in (comparison, again)]
        assert texts[0] == texts[1]
        assert str(toy) not in texts[0]

    def test_it_tells_rollouts_outputs_and_recordings(self, comparison):
        told = comparison.to_json()
        assert told["recordings"] == [{"name": "toy", "images": FRAMES, "image_topic": "/image"}]
        streaming, sequential = (told["rollouts"][n] for n in ("streaming", "sequential"))
        assert streaming["runs"] == "all groups at once"
        assert sequential["runs"] == "one pass after the other"
        assert streaming["work_ms"]["stem"] == 20.0
        drive = streaming["outputs"]["drive"]
        assert drive["all"] == drive["by_recording"]["toy"]
        assert list(drive["all"]["offline"]["by_frames_since_image"]) == ["2", "3", "4"]

    def test_pooled_and_single_recordings_agree(self, tiny, toy, tmp_path):
        other = write_toy_bag(tmp_path / "other", 45, seed=3)
        whole = compare(task_of(tiny, toy, other))
        for name in ("streaming", "sequential"):
            pooled, single = whole.pooled[name]["drive"], whole.single[name]["drive"]
            parts = single.values()
            assert pooled.images == sum(m.images for m in parts)
            mean = sum(m.images * m.offline[0]["mae"][0] for m in parts) / pooled.images
            assert pooled.offline[0]["mae"] == pytest.approx([mean])
        alone = compare(task_of(tiny, toy))
        assert alone.single["streaming"]["drive"]["toy"].streaming == (
            whole.single["streaming"]["drive"]["toy"].streaming
        )

    def test_progress_reaches_its_end(self, tiny, toy):
        seen = []
        compare(task_of(tiny, toy), on_image=lambda done, total, what: seen.append((done, total)))
        assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
        assert seen[-1] == (4 * FRAMES, 4 * FRAMES)

    def test_networks_that_answer_different_things_are_refused(self, tiny, toy):
        task = task_of(tiny, toy)
        tiny["outputs"]["drive"]["fields"] = {"linear.y": 0, "linear.z": 1}
        spec = parse_network({**tiny, "rate_hz": 20})
        odd = Contender("odd", StreamingNetwork(spec).eval(), "random")
        with pytest.raises(ParameterError):
            compare(Task([task.contenders[0], odd], task.drives, [REFERENCE], task.timing))


class _Page(HTMLParser):
    """Looks whether tags are closed, and what the page would load."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestReport:
    def test_it_is_one_whole_file_that_loads_nothing(self, comparison):
        pictures = list(draw(comparison))
        page = _Page()
        page.feed(report(comparison, pictures, ["mind <this> & that"]))
        assert page.open == [] and "script" not in page.tags
        assert len(page.loads) == len(pictures) == 2
        assert all(source.startswith("data:image/svg+xml;base64,") for source in page.loads)

    def test_it_tells_every_rollout_and_what_was_noted(self, comparison):
        text = report(comparison, [], ["mind <this> & that"])
        assert "mind &lt;this&gt; &amp; that" in text
        assert {"streaming", "sequential"} <= set(re.findall(r"</span>(\w+)</td>", text))
        assert "$" not in re.sub(r"<style>.*</style>", "", text, flags=re.S)

    def test_pictures_are_the_same_each_time(self, comparison):
        for one, other in zip(draw(comparison), draw(comparison), strict=True):
            assert one == other and one.png[:4] == b"\x89PNG"

    def test_several_recordings_each_have_a_row(self, tiny, toy, tmp_path):
        other = write_toy_bag(tmp_path / "other", FRAMES, seed=3)
        text = report(compare(task_of(tiny, toy, other)), [])
        assert "Each recording" in text and "<td>other</td>" in text


class TestAnnotated:
    def test_the_bag_keeps_the_recording_and_has_answers_when_they_were_out(
        self, comparison, toy, tmp_path
    ):
        assert write_annotated_bag(comparison, comparison.task.drives[0], tmp_path / "new") == []
        timed = comparison.lived["sequential"]["drive"]["toy"].timed
        with open_bag(toy) as before, open_bag(tmp_path / "new") as after:
            for topic in ("/image", "/cmd"):
                assert list(after.raw([topic])) == list(before.raw([topic]))
            raw = list(after.raw(["/sequential/response/drive"]))
            series = after.series("/sequential/response/drive", ["twist.angular.z"])
        assert [m.log_ns for m in raw] == timed.published_ns.tolist()
        assert series.stamps_ns.tolist() == timed.captured_ns.tolist()
        assert np.allclose(series.values, timed.values)

    def test_what_the_bag_has_heard_is_judged_as_what_was_played(
        self, comparison, tiny, toy, tmp_path
    ):
        """The annotated bag holds responses as a subscriber records them."""
        write_annotated_bag(comparison, comparison.task.drives[0], tmp_path / "new")
        with open_bag(tmp_path / "new") as bag:
            assert sum(topic.endswith("/response/drive") for topic in bag.topics) == 2
        spec = comparison.task.contenders[0].network.spec
        inputs = read_inputs(toy, spec)
        with pytest.raises(BagError, match="which topic has the responses"):
            recorded_play(tmp_path / "new", inputs, find_references(spec, [REFERENCE]))

    def test_the_video_shows_every_image(self, comparison, tmp_path):
        drive, path = comparison.task.drives[0], tmp_path / "video.mp4"
        assert write_video(comparison, drive, path)
        video = cv2.VideoCapture(str(path))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(20)
        assert video.read()[1].shape == (598, 960, 3)

    @pytest.mark.parametrize(
        ("name", "topic"),
        [("streaming", "streaming"), ("my net 2", "my_net_2"), ("3x", "rollout_3x")],
    )
    def test_a_contenders_name_becomes_a_topic(self, name, topic):
        assert topic_name(name) == topic


class TestClasses:
    def test_a_classifier_is_judged_by_its_accuracy(self, tiny, tmp_path):
        """Which of two elements is greater, against a class that the bag tells."""
        tiny["outputs"]["side"] = {"group": "head"}
        path = write_toy_bag(tmp_path / "toy", FRAMES)
        task = task_of(tiny, path, references=("side=/cmd:twist.linear.y",))
        whole = compare(task)  # the bag always says class 0
        measures = whole.pooled["streaming"]["side"]
        answers = whole.lived["streaming"]["side"]["toy"].offline.values
        assert set(np.unique(answers)) <= {0, 1}
        assert measures.offline_mean == {"accuracy": [1.0]}
        assert 0 <= measures.streaming["accuracy"][0] <= 1
        text = report(whole, list(draw(whole)))
        assert "Accuracy" in text and "absolute error" not in text
        write_annotated_bag(whole, task.drives[0], tmp_path / "new")
        with open_bag(tmp_path / "new") as bag:
            assert bag.topics["/streaming/response/side"] == "std_msgs/msg/Int32"
        assert write_video(whole, task.drives[0], tmp_path / "video.mp4")
