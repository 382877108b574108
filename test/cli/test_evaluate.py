"""``streaming-net evaluate``: one command, a folder of results, and what goes wrong."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
import torch
import yaml

from networks import TINY
from recordings import START_NS, TWIST, twist, write_toy_bag
from streaming_net_ros.cli.app import main
from streaming_net_ros.evaluation import BagWriter
from streaming_net_ros.network import StreamingNetwork, read_network_file, rollout_of, save_weights
from streaming_net_ros.theory import format_table, hybrid

FRAMES = 25
REFERENCE = ("--reference", "/cmd:twist.angular.z")


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    """The tiny network at the recording's rate; only to read."""
    path = tmp_path_factory.mktemp("network") / "network.yaml"
    path.write_text(yaml.safe_dump({**TINY, "rate_hz": 20}))
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A recording; only to read."""
    return write_toy_bag(tmp_path_factory.mktemp("bags") / "toy", FRAMES)


@pytest.fixture(scope="module")
def plain(tiny_path, bag, tmp_path_factory):
    """What one quick command without further wishes left and said."""
    out = tmp_path_factory.mktemp("plain") / "out"
    threads = torch.get_num_threads()
    with redirect_stdout(io.StringIO()) as said:
        assert quick(tiny_path, bag, out, "--json") == 0
    torch.set_num_threads(threads)
    return SimpleNamespace(out=out, said=said.getvalue())


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def quick(network, bag, out, *arguments):
    return evaluate(network, "--bag", bag, *REFERENCE, "--out", out, "--no-video", "--no-bag",
                    *arguments)  # fmt: skip


def told(out):
    return json.loads((out / "result.json").read_text())


def weights_of(path, rollout, file):
    spec = read_network_file(path)
    save_weights(StreamingNetwork(spec, rollout_of(spec, rollout), seed=5), file)
    return file


class TestResults:
    def test_one_command_leaves_result_report_pictures_bag_and_video(
        self, tiny_path, bag, tmp_path, capsys
    ):
        out = tmp_path / "out"
        assert evaluate(tiny_path, "--bag", bag, *REFERENCE, "--work-ms", 20, "--out", out) == 0
        assert sorted(path.name for path in out.iterdir()) == [
            "annotated",
            "annotated.mp4",
            "drive_angular.z_measures.png",
            "drive_angular.z_over_time.png",
            "report.html",
            "result.json",
        ]
        printed = capsys.readouterr().out
        assert "streaming" in printed and "sequential" in printed and "report.html" in printed
        assert not list(tmp_path.glob("*.part"))

    def test_twice_gives_the_same_bytes(self, tiny_path, bag, plain, tmp_path):
        assert quick(tiny_path, bag, tmp_path / "out") == 0
        for file in ("result.json", "report.html"):
            assert (plain.out / file).read_bytes() == (tmp_path / "out" / file).read_bytes()

    def test_json_is_printed_as_it_is_written(self, plain):
        assert json.loads(plain.said) == told(plain.out)

    def test_several_recordings_are_pooled_and_told_apart(self, tiny_path, bag, tmp_path):
        other = write_toy_bag(tmp_path / "more" / "toy", FRAMES, seed=2)
        out = tmp_path / "out"
        assert evaluate(tiny_path, "--bag", bag, "--bag", other, *REFERENCE, "--out", out,
                        "--judge", "5:", "--no-video") == 0  # fmt: skip
        assert {path.name for path in out.glob("annotated*")} == {
            "annotated_toy",
            "annotated_toy (2)",
        }
        drive = told(out)["rollouts"]["streaming"]["outputs"]["drive"]
        images = [one["offline"]["images"] for one in drive["by_recording"].values()]
        assert len(images) == 2 and drive["all"]["offline"]["images"] == sum(images) < 2 * FRAMES

    def test_the_weights_of_each_rollout_are_its_own(self, tiny_path, bag, tmp_path):
        file = weights_of(tiny_path, "sequential", tmp_path / "own.safetensors")
        assert quick(tiny_path, bag, tmp_path / "out", "--weights", f"sequential={file}") == 0
        result = told(tmp_path / "out")
        assert [r["weights"] for r in result["rollouts"].values()] == [
            "random weights",
            "own.safetensors",
        ]
        assert any(note.startswith("streaming has random weights") for note in result["notes"])

    def test_weights_of_another_rollout_are_told(self, tiny_path, bag, tmp_path):
        file = weights_of(tiny_path, "streaming", tmp_path / "w.safetensors")
        assert quick(tiny_path, bag, tmp_path / "out", "--weights", file) == 0
        (note,) = (n for n in told(tmp_path / "out")["notes"] if "trained under" in n)
        assert note.startswith("sequential:") and "(streaming)" in note


class TestRollouts:
    def test_of_one_network_streaming_and_sequential_are_compared(self, plain):
        assert list(told(plain.out)["rollouts"]) == ["streaming", "sequential"]

    def test_of_several_networks_each_ones_own(
        self, tiny_path, write_network, tiny, bag, tmp_path
    ):
        other = write_network(
            {**tiny, "name": "after", "rate_hz": 20, "rollout": "sequential"}, "after.yaml"
        )
        out = tmp_path / "out"
        assert evaluate(tiny_path, other, "--bag", bag, *REFERENCE, "--out", out, "--no-video",
                        "--no-bag") == 0  # fmt: skip
        ways = {name: one["runs"] for name, one in told(out)["rollouts"].items()}
        assert ways == {"tiny": "all groups at once", "after": "one pass after the other"}

    def test_tables_and_pipelines_are_rollouts_too(self, tiny_path, bag, tmp_path):
        graph = read_network_file(tiny_path).graph
        table = tmp_path / "table.txt"
        table.write_text(format_table(hybrid(graph, {("stem", "head"): 0})))
        assert quick(tiny_path, bag, tmp_path / "out", "--rollout", table, "--rollout",
                     "pipelined", "--rollout", "sequential") == 0  # fmt: skip
        runs = {name: one["runs"] for name, one in told(tmp_path / "out")["rollouts"].items()}
        assert runs == {
            "hybrid": "all groups at once",
            "pipelined": "all groups at once",
            "sequential": "one pass after the other",
        }


class TestWork:
    def test_without_compute_times_it_is_said_that_there_are_none(self, plain):
        result = told(plain.out)
        assert set(result["rollouts"]["streaming"]["work_ms"].values()) == {0.0}
        assert any(note.startswith("Computing takes no time here") for note in result["notes"])
        assert "machine" not in result

    def test_a_group_may_have_a_time_of_its_own(self, tiny_path, bag, tmp_path):
        assert quick(tiny_path, bag, tmp_path / "out", "--work-ms", 5, "--work", "deep=12.5") == 0
        work_ms = told(tmp_path / "out")["rollouts"]["streaming"]["work_ms"]
        assert work_ms == {"stem": 5.0, "memory": 5.0, "deep": 12.5, "head": 5.0}

    def test_measured_times_are_this_machines(self, tiny_path, bag, tmp_path):
        arguments = ("--work", "measured", "--work", "deep=12.5")
        assert quick(tiny_path, bag, tmp_path / "out", *arguments) == 0
        result = told(tmp_path / "out")
        work_ms = result["rollouts"]["streaming"]["work_ms"]
        assert work_ms["deep"] == 12.5 and work_ms["stem"] > 0
        assert "torch" in result["machine"] and any("measured" in n for n in result["notes"])


BAD = {
    "no such network": (("NOPE", "--bag", "BAG", *REFERENCE), "no such network file"),
    "no such bag": (("NET", "--bag", "/none", *REFERENCE), "no such recording"),
    "no such rollout": (("NET", "--bag", "BAG", *REFERENCE, "--rollout", "backwards"),
                        "not a rollout"),
    "a rollout twice": (("NET", "--bag", "BAG", *REFERENCE, "--rollout", "streaming", "--rollout",
                         "streaming"), "the same rollout twice"),
    "weights of nobody": (("NET", "--bag", "BAG", *REFERENCE, "--weights", "hybrid=w"),
                          "streaming, sequential"),
    "no such weights": (("NET", "--bag", "BAG", *REFERENCE, "--weights", "/none"), "/none"),
    "a field that no output has": (("NET", "--bag", "BAG", "--reference", "/cmd:twist.linear.y"),
                                   "drive (angular.z, linear.x)"),
    "no such topic": (("NET", "--bag", "BAG", "--reference", "/nope:twist.angular.z"), "/cmd"),
    "no such field": (("NET", "--bag", "BAG", "--reference", "drive=/cmd:twist.a,twist.b"),
                      "no field 'a'"),
    "no such image topic": (("NET", "--bag", "BAG", *REFERENCE, "--image-topic", "/c"), "/image"),
    "a topic for no input": (("NET", "--bag", "BAG", *REFERENCE, "--topic", "x=/c"), "'image'"),
    "half a topic": (("NET", "--bag", "BAG", *REFERENCE, "--topic", "x"), "INPUT=TOPIC"),
    "work of nobody": (("NET", "--bag", "BAG", *REFERENCE, "--work", "stm=3"), "stem"),
    "work that is no time": (("NET", "--bag", "BAG", *REFERENCE, "--work", "stem=x"),
                             "not a time"),
    "negative work": (("NET", "--bag", "BAG", *REFERENCE, "--work-ms", "-1"), "not a time"),
    "endless work": (("NET", "--bag", "BAG", *REFERENCE, "--work-ms", "inf"), "not a time"),
    "given and measured": (("NET", "--bag", "BAG", *REFERENCE, "--work-ms", "1", "--work",
                            "measured"), "given or measured"),
    "realtime with work": (("NET", "--bag", "BAG", *REFERENCE, "--realtime", "--work-ms", "1"),
                           "no --work-ms"),
    "no image to judge": (("NET", "--bag", "BAG", *REFERENCE, "--judge", "90:"), "no image"),
    "not a part": (("NET", "--bag", "BAG", *REFERENCE, "--judge", "all"), "FIRST:LAST"),
    "not a change": (("NET", "--bag", "BAG", *REFERENCE, "--change", "0"), "a number > 0"),
    "answers of nobody": (("NET", "--bag", "BAG", *REFERENCE, "--answers", "x=BAG"), "NAME=BAG"),
    "answers that are none": (("NET", "--bag", "BAG", *REFERENCE, "--answers", "streaming=/none"),
                              "no such recording"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_give_one_line_and_exit_code_2(case, tiny_path, bag, tmp_path, capsys):
    arguments, hint = BAD[case]
    named = {"BAG": str(bag), "NET": str(tiny_path)}
    out = tmp_path / "out"
    code = evaluate(*(named.get(a, a) for a in arguments), "--out", out)
    printed = capsys.readouterr().err
    assert code == 2, printed
    assert hint in printed and "Traceback" not in printed
    assert not out.exists() and not list(tmp_path.glob("*.part"))


def test_what_exists_is_never_written_over(tiny_path, bag, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert quick(tiny_path, bag, tmp_path / "out") == 2
    assert "will not write over" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_to_another_recording_are_refused(tiny_path, bag, tmp_path, capsys):
    with BagWriter(tmp_path / "answers") as writer:
        writer.write("/tiny/response/drive", TWIST, START_NS + 7, twist(START_NS + 5, 0.0))
    assert quick(tiny_path, bag, tmp_path / "out", "--answers",
                 f"streaming={tmp_path / 'answers'}") == 2  # fmt: skip
    printed = capsys.readouterr().err
    assert "no image's capture time" in printed and str(START_NS + 5) in printed


@pytest.mark.ros
class TestThroughRos:
    def test_what_the_nodes_answered_in_lockstep_has_the_numbers_of_the_offline_rollout(
        self, tiny_path, bag, tmp_path, namespace
    ):
        answers = tmp_path / "answers"
        assert main(["run", str(tiny_path), "--bag", str(bag), "--record", str(answers),
                     "--namespace", namespace]) == 0  # fmt: skip
        chosen = ("--rollout", "streaming")
        assert quick(tiny_path, bag, tmp_path / "played", *chosen) == 0
        assert quick(tiny_path, bag, tmp_path / "heard", *chosen, "--answers",
                     f"streaming={answers}") == 0  # fmt: skip
        played, heard = (told(tmp_path / name)["rollouts"]["streaming"]
                         for name in ("played", "heard"))  # fmt: skip
        assert heard["runs"] == "recorded in answers"
        assert heard["outputs"] == played["outputs"]

    def test_realtime_gives_the_same_measures_with_the_time_that_it_took(
        self, tiny_path, bag, tmp_path
    ):
        out = tmp_path / "out"
        assert quick(tiny_path, bag, out, "--realtime", "--rollout", "streaming") == 0
        result = told(out)
        assert result["mode"] == "realtime" and "machine" in result
        one = result["rollouts"]["streaming"]
        assert one["runs"] == "all groups at once, through ROS" and "work_ms" not in one
        measures = one["outputs"]["drive"]["all"]
        assert measures["latency_ms"]["p50"] > 0
        assert 0 < measures["images_answered"] <= 1


@pytest.mark.data
def test_a_real_drive_is_evaluated(shared_data, tmp_path):
    out = tmp_path / "out"
    assert evaluate("pilot", "--bag", shared_data / "drive_a", "--reference",
                    "/teleop/cmd_vel:twist.angular.z", "--work-ms", 35, "--judge", "500:",
                    "--out", out, "--no-video", "--no-bag") == 0  # fmt: skip
    streaming, sequential = told(out)["rollouts"].values()
    ages = [one["outputs"]["drive"]["all"]["age_ms"]["mean"] for one in (streaming, sequential)]
    rates = [one["outputs"]["drive"]["all"]["answers_hz"] for one in (streaming, sequential)]
    assert ages[0] < ages[1] / 2 and rates[0] == 20 > 3 * rates[1]
