"""The verb ``train``: from data to weights that load, repeatably, and one line for each fault."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from networks import TINY
from recordings import write_toy_bag
from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.train_data import bags_at
from streaming_net_ros.cli.train_log import TrainingLog
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import StreamingNetwork, load_weights, read_network_file
from streaming_net_ros.training import Step
from streaming_net_ros.training.checkpoint import read_checkpoint

TARGET = "/cmd:twist.angular.z"
PLAN = {
    "learners": [
        {
            "objectives": [{"of": "drive", "target": "drive", "loss": "MSELoss"}],
            "optimizer": {"Adam": {"lr": 0.001}},
        }
    ],
    "steps": 3,
    "batch": 2,
    "responses": 4,
    "validate_every": 2,
    "augmentation": {"shift": 1, "noise": 0.1},
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A recording of 120 frames."""
    return write_toy_bag(tmp_path_factory.mktemp("bags") / "toy", frames=120)


@pytest.fixture
def train(write_network, tiny, tmp_path, toy, capsys):
    """Runs the verb on the tiny network; gives exit code, stdout and stderr."""
    network = write_network(tiny)
    out = tmp_path / "weights.safetensors"

    def run(*arguments, bag=toy, target=TARGET, steps=4, out=out, network=network):
        required = ["--out", out]
        required += ["--bag", bag] if bag else []
        required += ["--target", target] if target else []
        required += ["--steps", steps] if steps else []
        code = main(["train", *map(str, [network, *required, *arguments])])
        told = capsys.readouterr()
        return code, told.out, told.err

    run.network, run.out = network, out
    run.checkpoint = tmp_path / "weights.checkpoint.safetensors"
    run.metrics = tmp_path / "weights.metrics.jsonl"
    run.picture = tmp_path / "weights.training.png"
    return run


@pytest.fixture
def write_plan(tmp_path):
    def write(**change):
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({**PLAN, **change}))
        return path

    return write


def weights_of(train, out=None):
    network = StreamingNetwork(read_network_file(train.network), seed=99)
    load_weights(network, out or train.out)
    return network.state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def plan_of(train):
    """The plan as it was made of file and options."""
    return read_checkpoint(train.checkpoint)[1]["plan"]


def lines_of(train):
    return [json.loads(line) for line in train.metrics.read_text().splitlines()]


class TestWeights:
    def test_they_load_and_are_those_of_the_seed_bit_for_bit(self, train, tmp_path):
        for name, seed in (("one", 5), ("again", 5), ("other", 6)):
            path = tmp_path / f"{name}.safetensors"
            assert train("--seed", seed, out=path)[0] == 0
        one = weights_of(train, tmp_path / "one.safetensors")
        assert same(one, weights_of(train, tmp_path / "again.safetensors"))
        assert not same(one, weights_of(train, tmp_path / "other.safetensors"))

    def test_what_was_there_is_replaced_whole(self, train):
        train.out.write_text("no weights")
        assert train()[0] == 0
        weights_of(train)
        assert list(train.out.parent.glob("*.part")) == []

    def test_training_begins_at_given_weights(self, train, tmp_path):
        train(out=tmp_path / "first.safetensors")
        first = weights_of(train, tmp_path / "first.safetensors")
        # At a learning rate of nearly nothing, the weights stay what they were.
        train("--init", tmp_path / "first.safetensors", "--learning-rate", 1e-9, steps=1)
        for name, tensor in weights_of(train).items():
            assert torch.allclose(tensor, first[name], atol=1e-6)

    def test_the_rollout_that_is_asked_for_is_trained(self, train):
        code, out, _ = train("--rollout", "sequential", "--json")
        assert code == 0
        assert json.loads(out)["errors"]["drive"]["first_frames"] == 0


class TestWhatItTells:
    def test_errors_of_early_and_full_and_the_mean_and_the_next_command(self, train):
        code, out, err = train(steps=60)
        assert code == 0
        for word in ("60 steps", "early", "full", "mean", "angular.z", "next: streaming-net run"):
            assert word in out
        assert str(train.out) in out and "Traceback" not in err
        assert "step 60: drive angular.z" in err

    def test_fields_that_are_not_trained_and_a_rate_that_is_not_the_networks(self, train):
        """The toy is recorded at 20 Hz, the tiny network is for 30, and answers two fields."""
        _, _, err = train()
        assert "note: linear.x of output drive" in err and "20 Hz" in err
        _, _, err = train(target="/cmd:twist.linear.x,twist.angular.z")
        assert "at random" not in err

    def test_json_alone_on_stdout(self, train):
        code, out, _ = train("--json", "--validate", 0.25, "--batch", 4, "--responses", 6)
        told = json.loads(out)
        assert code == 0
        assert (told["steps"], told["frames"], told["best_step"]) == (4, 8, 4)
        assert told["sequences"] == 90 - 8 + 1
        assert len(told["losses"]) == 4
        assert not told["was_interrupted"] and not told["stopped_early"]
        (validation,) = told["validations"]
        assert validation["step"] == 4
        assert len(validation["errors"]["main/drive"]) == 6
        # Set aside: 30 frames, whose last 4 have no full answer yet.
        assert told["errors"]["drive"]["images"] == 26
        assert set(told["errors"]["drive"]) >= {"early", "full", "mean"}

    def test_a_part_of_each_bag(self, train):
        _, out, _ = train("--json", "--frames", "20:80", "--validate", 0, "--responses", 8)
        told = json.loads(out)
        assert told["sequences"] == 60 - 10 + 1
        assert told["errors"] == {} and told["validations"] == []

    def test_a_sequence_is_the_full_response_and_six_frames(self, train):
        assert json.loads(train("--json")[1])["frames"] == 4 + 6

    def test_bags_of_a_folder_and_several_bags_are_all_read(self, train, tmp_path):
        for number in range(3):
            write_toy_bag(tmp_path / "drives" / f"drive_{number}", frames=40, seed=number)
        write_toy_bag(tmp_path / "more", frames=40, seed=9)
        assert [path.name for path in bags_at(tmp_path / "drives")] == [
            "drive_0", "drive_1", "drive_2"
        ]  # fmt: skip
        arguments = ("--json", "--validate", 0, "--responses", 8, "--bag", tmp_path / "more")
        _, out, _ = train(*arguments, bag=tmp_path / "drives")
        assert json.loads(out)["sequences"] == 4 * (40 - 10 + 1)

    def test_each_output_has_its_target(self, train, tiny, write_network):
        tiny["outputs"]["brake"] = {
            "group": "head", "publish": "twist", "fields": {"linear.y": 1}
        }  # fmt: skip
        code, out, err = train("--json", "--target", "/cmd:twist.linear.y",
                               network=write_network(tiny))  # fmt: skip
        assert code == 0, err
        told = json.loads(out)
        assert set(told["errors"]) == {"drive", "brake"}
        assert set(told["validations"][0]["errors"]) == {"main/drive", "main/brake"}


class TestWhatItLeaves:
    def test_a_line_per_step_and_validation(self, train):
        assert train(steps=5)[0] == 0
        *steps, last = lines_of(train)
        assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
        for line in steps:
            assert set(line) == {"step", "loss", "norm", "learning_rate", "seconds"}
            assert set(line["loss"]) == set(line["norm"]) == {"main"}
        seconds = [line["seconds"] for line in steps]
        assert seconds == sorted(seconds) and seconds[0] > 0
        assert last["step"] == 5 and last["validation"]["columns"] == {"main/drive": ["angular.z"]}

    def test_its_losses_are_those_that_are_told(self, train):
        told = json.loads(train("--json")[1])
        assert [n["loss"]["main"] for n in lines_of(train) if "loss" in n] == told["losses"]

    def test_a_picture_and_a_checkpoint_beside_the_weights(self, train):
        train("--validate", 0)
        assert train.picture.read_bytes().startswith(b"\x89PNG")
        narrow = _width(train.picture)
        train()
        assert _width(train.picture) > narrow  # one more panel for the validations
        assert read_checkpoint(train.checkpoint)[1]["losses"]

    def test_a_training_that_begins_anew_begins_its_metrics_anew(self, train):
        train(steps=6)
        train(steps=2)
        assert [line["step"] for line in lines_of(train)] == [1, 2, 2]


def _width(png):
    return int.from_bytes(png.read_bytes()[16:20], "big")


class TestPlans:
    def test_a_file_says_all_and_options_win(self, train, write_plan):
        path = write_plan()
        assert train("--plan", path, steps=None)[0] == 0
        made = plan_of(train)
        assert (made["steps"], made["batch"], made["responses"]) == (3, 2, 4)
        assert made["learners"][0]["optimizer"]["name"] == "Adam"
        assert (made["augmentation"]["shift"], made["augmentation"]["noise"]) == (1, 0.1)
        assert not made["augmentation"]["mirror"]
        arguments = ("--plan", path, "--batch", 5, "--responses", 6, "--noise", 0.2, "--seed", 4)
        assert train(*arguments, "--mirror", steps=2)[0] == 0
        made = plan_of(train)
        assert (made["steps"], made["batch"], made["responses"], made["seed"]) == (2, 5, 6, 4)
        assert made["augmentation"] == {
            "mirror": True, "shift": 1, "brightness": 0, "contrast": 0, "noise": 0.2,
        }  # fmt: skip

    def test_without_learners_of_its_own_it_has_the_commands(self, train, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_text("accumulate: 2\n")
        assert train("--plan", path, "--learning-rate", 0.01)[0] == 0
        made = plan_of(train)
        (one,) = made["learners"]
        assert made["accumulate"] == 2
        assert one["optimizer"]["args"]["lr"] == 0.01
        assert one["scheduler"]["name"] == "OneCycleLR" and one["gradient_limit"] == 1.0

    def test_recordings_are_changed_unless_somebody_says_otherwise(self, train):
        train()
        assert plan_of(train)["augmentation"] == {
            "mirror": True, "shift": 0, "brightness": 0.15, "contrast": 0.25, "noise": 0.02,
        }  # fmt: skip
        train("--no-mirror", "--noise", 0)
        made = plan_of(train)["augmentation"]
        assert (made["mirror"], made["noise"], made["contrast"]) == (False, 0, 0.25)

    def test_the_seed_of_a_plan_draws_the_weights_too(self, train, write_plan, tmp_path):
        still = [{**PLAN["learners"][0], "optimizer": {"SGD": {"lr": 1e-30}}}]
        for seed in (1, 2):
            plan = write_plan(seed=seed, learners=still)
            assert train("--plan", plan, out=tmp_path / f"{seed}.safetensors")[0] == 0
        one, other = (weights_of(train, tmp_path / f"{seed}.safetensors") for seed in (1, 2))
        assert not same(one, other)

    @pytest.mark.parametrize(
        "change, arguments, words",
        [
            ({"stepps": 3}, [], ["stepps", "did you mean 'steps'"]),
            ({"batch": 0}, [], ["batch"]),
            ({"augmentation": 3}, [], ["augmentation", "not a mapping"]),
            ({"learners": []}, [], ["learners"]),
            ({}, ["--learning-rate", "0.1"], ["--learning-rate", "learning rates of their own"]),
            ({"learners": [{"objectives": [{"of": "drive", "target": "steer"}]}]}, [],
             ["learners[0] (main).objectives[0].target", "no such target", "steer"]),
            ({"learners": [{**PLAN["learners"][0], "optimizer": "Addam"}]}, [],
             ["unknown optimiser 'Addam'", "Adam"]),
        ],
    )  # fmt: skip
    def test_what_it_may_not_say(self, train, write_plan, change, arguments, words):
        code, out, err = train("--plan", write_plan(**change), *arguments)
        assert code == 2 and out == ""
        for word in words:
            assert word in err
        assert not train.out.exists()

    def test_a_file_that_is_none(self, train, tmp_path):
        (tmp_path / "list.yaml").write_text("- 1\n")
        for path in (tmp_path / "list.yaml", tmp_path / "nothing.yaml"):
            code, _, err = train("--plan", path)
            assert code == 2 and path.name in err

    def test_ten_steps(self, train):
        assert train(steps=10)[0] == 0


class TestLabelledPictures:
    @pytest.fixture
    def of_digits(self, write_network):
        pytest.importorskip("sklearn", reason="scikit-learn brings the digits")
        return write_network(
            {
                "name": "reader",
                "rate_hz": 10,
                "inputs": {
                    "image": {"type": "image", "height": 8, "width": 8, "colour": "mono",
                              "mean": 0.3, "std": 0.35}
                },
                "groups": [
                    {"name": "head", "edges": [
                        {"source": "image",
                         "layers": ["Flatten", {"Linear": {"out_features": 10}}]}
                    ]}
                ],
                "outputs": {"class": {"group": "head"}},
            },
            "reader.yaml",
        )  # fmt: skip

    def test_digits_are_learnt(self, train, of_digits):
        code, out, err = train("--data", "digits", "--json", "--learning-rate", 0.05, steps=150,
                               bag=None, target=None, network=of_digits)  # fmt: skip
        assert code == 0, err
        told = json.loads(out)
        assert told["errors"] == {} and told["frames"] == 1 + 6
        last = told["validations"][-1]
        assert last["columns"] == {"main/class": ["error rate"]}
        assert last["errors"]["main/class"][-1][0] < 0.2
        assert plan_of(train)["augmentation"]["noise"] == 0  # stills are shown as they are

    def test_a_share_of_them_is_set_aside(self, train, of_digits):
        arguments = ("--data", "digits", "--json", "--validate", 0.5)
        _, out, _ = train(*arguments, bag=None, target=None, network=of_digits)
        assert json.loads(out)["sequences"] == pytest.approx(1297 / 2, abs=1)

    @pytest.mark.parametrize(
        "arguments, words",
        [
            (["--data", "digit"], ["unknown kind", "digits"]),
            (["--data", "folder"], ["folder is not given"]),
            (["--data", "folder:nowhere"], ["nowhere"]),
            (["--data", "digits:here"], ["no folder"]),
            (["--data", "digits", "--validate", "1"], ["--validate", "nothing is left"]),
            (["--data", "digits", "--validate", "2"], ["validate", "0 to 1"]),
        ],
    )
    def test_data_that_are_none(self, train, of_digits, arguments, words):
        code, out, err = train(*arguments, bag=None, target=None, network=of_digits)
        assert code == 2 and out == "" and "Traceback" not in err
        for word in words:
            assert word in err

    def test_a_network_that_cannot_answer_with_so_many_classes(self, train, of_digits):
        code, _, err = train("--data", "digits", bag=None, target=None)
        assert code == 2
        assert "10 features" in err and "(2,)" in err


class TestInterruption:
    def test_ctrl_c_leaves_what_can_be_gone_on_with_bit_for_bit(
        self, train, toy, tmp_path, monkeypatch
    ):
        """A pipe in place of the metrics file holds the training back until it is read."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # the verb takes one thread itself
        assert train("--batch", 2, steps=50, out=tmp_path / "whole.safetensors")[0] == 0
        os.mkfifo(train.metrics)
        arguments = ["train", train.network, "--bag", toy, "--target", TARGET, "--steps", 50,
                     "--batch", 2, "--out", train.out]  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-m", "streaming_net_ros.cli.app", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            with train.metrics.open(encoding="utf-8") as pipe:
                # Less than 50 lines fit in: it cannot be done before it is asked to stop.
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
                first = pipe.readline()
                process.send_signal(signal.SIGINT)
                rest = pipe.read()
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "interrupted" in out and "--resume" in out and "Traceback" not in err
        weights_of(train)
        done = len(read_checkpoint(train.checkpoint)[1]["losses"])
        assert 1 <= done < 50 and (first + rest).count("\n") == done

        train.metrics.unlink()
        train.metrics.write_text(first + rest + '{"step": 49, "loss"')
        code, out, _ = train("--resume", "--json", "--batch", 2, steps=50)
        assert code == 0
        told = json.loads(out)
        assert told["steps"] == 50 and not told["was_interrupted"]
        assert same(weights_of(train), weights_of(train, tmp_path / "whole.safetensors"))
        lines = lines_of(train)
        assert [n["step"] for n in lines if "loss" in n] == list(range(1, 51))
        assert [n["loss"]["main"] for n in lines if "loss" in n] == told["losses"]

    def test_there_is_nothing_to_go_on_with(self, train):
        code, _, err = train("--resume")
        assert code == 2
        assert "cannot read the checkpoint" in err and "begin without --resume" in err

    def test_going_on_with_other_options_is_refused(self, train):
        train(steps=2)
        weights, metrics = train.out.read_bytes(), train.metrics.read_text()
        for arguments, word in ((["--seed", 8], "seed"), (["--frames", "0:100"], "sequences")):
            code, _, err = train("--resume", *arguments, steps=2)
            assert code == 2 and "of another training" in err and word in err
        assert train.out.read_bytes() == weights and train.metrics.read_text() == metrics

    def test_going_on_after_the_end_changes_nothing(self, train):
        train(steps=3)
        before, lines = weights_of(train), lines_of(train)
        assert train("--resume", steps=3)[0] == 0
        assert same(before, weights_of(train)) and lines_of(train) == lines


class TestMetrics:
    def write(self, path, done, steps):
        with TrainingLog(path) as log:
            log.begin(done)
            for number in steps:
                log.step(Step(number, {"a": 0.5}, {}, {"a": 0.1}))
        return [json.loads(line)["step"] for line in path.read_text().splitlines()]

    @pytest.mark.parametrize(
        "done, expected", [(0, [1, 2]), (1, [1, 1, 2]), (3, [1, 2, 3, 1, 2]), (9, [1, 2, 3, 1, 2])]
    )
    def test_what_came_after_the_checkpoint_is_dropped(self, tmp_path, done, expected):
        path = tmp_path / "m.jsonl"
        assert self.write(path, 0, [1, 2, 3]) == [1, 2, 3]
        assert self.write(path, done, [1, 2]) == expected

    @pytest.mark.parametrize("line", ['{"step": 2', "", "[]", '{"loss": 1}', '{"step": "two"}'])
    def test_a_line_that_is_none_is_dropped(self, tmp_path, line):
        path = tmp_path / "m.jsonl"
        self.write(path, 0, [1])
        path.write_text(path.read_text() + line)
        assert self.write(path, 1, [2]) == [1, 2]

    def test_a_line_can_be_read_as_soon_as_it_is_told(self, tmp_path):
        path = tmp_path / "m.jsonl"
        with TrainingLog(path) as log:
            log.begin(0)
            log.step(Step(1, {"a": 0.5}, {"a": 2.0}, {"a": 0.1}))
            (line,) = path.read_text().splitlines()
        told = json.loads(line)
        assert told.pop("seconds") >= 0
        assert told == {"step": 1, "loss": {"a": 0.5}, "norm": {"a": 2.0},
                        "learning_rate": {"a": 0.1}}  # fmt: skip

    def test_a_file_that_cannot_be_written(self, train):
        train.metrics.mkdir()
        code, _, err = train()
        assert code == 2 and "cannot write the metrics" in err and str(train.metrics) in err
        with pytest.raises(ParameterError, match="cannot write the metrics"):
            TrainingLog(Path("nowhere/m.jsonl")).begin(0)


class TestFaultsAreOneLine:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            (["--target", "/cmd"], ["/cmd", "TOPIC:FIELD"]),
            (["--target", "/cmd:"], ["TOPIC:FIELD"]),
            (["--target", "/cmd:twist.linear.x"], ["two targets for one output", "--target"]),
            (["--target", "/cmd:twist.angular.y"], ["no output", "drive (angular.z, linear.x)"]),
            (["--image-topic", "/cmd"], ["not an image topic"]),
            (["--frames", "5"], ["--frames", "FIRST:LAST"]),
            (["--frames", "a:b"], ["--frames", "FIRST:LAST"]),
            (["--frames", "500:"], ["no frame in this part"]),
            (["--frames", "0:8"], ["no sequence fits"]),
            (["--responses", "1000"], ["no sequence fits", "--responses"]),
            (["--validate", "1"], ["not one clip"]),
            (["--validate", "nan"], ["validate", "0 to 1"]),
            (["--validate", "-0.1"], ["validate", "0 to 1"]),
            (["--validate", "0.01"], ["no sequence fits", "--validate"]),
            (["--learning-rate", "-1"], ["learning rate", "-1"]),
            (["--learning-rate", "nan"], ["learning rate"]),
            (["--noise", "-1"], ["augmentation.noise"]),
            (["--noise", "nan"], ["augmentation.noise"]),
            (["--lag-ms", "nan"], ["lag-ms"]),
            (["--lag-ms", "1e9"], ["no image has a target"]),
            (["--device", "toaster"], ["--device", "toaster"]),
            (["--rollout", "sideways"], ["not a rollout"]),
            (["--init", "nothing.safetensors"], ["nothing.safetensors"]),
            (["--out", "nowhere/w.safetensors"], ["--out"]),
            (["--out", "weights.pt"], ["--out", ".safetensors"]),
            (["--bag", "nothing"], ["nothing", "no such recording"]),
            (["--data", "digits"], ["what to learn from", "--bag or --data", "both"]),
        ],
    )
    def test_bad_arguments(self, train, arguments, words):
        code, out, err = train(*arguments)
        assert code == 2 and out == ""
        line = " ".join(line for line in err.splitlines() if not line.startswith("note: ")).strip()
        assert line.startswith("error: ") and len(line) < 700
        for word in words:
            assert word in line
        assert not train.out.exists()

    @pytest.mark.parametrize(
        "target, words",
        [
            ("/nope:twist.angular.z", ["no such topic", "/cmd"]),
            ("/cmd:angular.z", ["no field 'angular'", "twist"]),
            (None, ["what was right?", "--target"]),
        ],
    )
    def test_bad_targets(self, train, target, words):
        code, out, err = train(target=target)
        assert code == 2 and out == ""
        for word in words:
            assert word in err

    @pytest.mark.parametrize("option", ["--steps", "--batch", "--responses"])
    def test_counts_begin_at_1(self, train, option):
        code, _, err = train(option, 0)
        assert code == 2 and option in err and not train.out.exists()

    def test_nothing_to_learn_from(self, train):
        code, _, err = train(bag=None, target=None)
        assert code == 2 and "either --bag or --data" in err and "neither" in err

    def test_a_network_that_does_not_exist(self, train):
        code, _, err = train(network="nope")
        assert code == 2 and "error:" in err and "nope" in err

    def test_a_network_that_hears_no_camera_alone(self, train, write_network):
        content = copy.deepcopy(TINY)
        content["inputs"]["speed"] = {
            "type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]
        }  # fmt: skip
        content["groups"][3]["edges"].append(
            {"source": "speed", "layers": [{"Linear": {"out_features": 2}}]}
        )
        code, _, err = train(network=write_network(content, "two.yaml"))
        assert code == 2 and "one image input" in err

    def test_a_diverging_training_names_the_step_and_leaves_the_best_so_far(
        self, train, write_plan
    ):
        rising = {
            **PLAN["learners"][0],
            "optimizer": {"Adam": {"lr": 1e-4}},
            "scheduler": {"ExponentialLR": {"gamma": 1e8}},
        }
        plan = write_plan(learners=[rising], validate_every=1, augmentation={})
        code, _, err = train("--plan", plan, steps=50)
        assert code == 3 and "no longer a number" in err and "step" in err
        steps = [line["step"] for line in lines_of(train) if "validation" in line]
        tensors, facts = read_checkpoint(train.checkpoint)
        assert steps and facts["best_step"] in steps
        for name, tensor in weights_of(train).items():
            assert torch.equal(tensor, tensors[f"best.{name}"])

    def test_a_diverging_training_without_a_best_leaves_old_weights_alone(self, train):
        train()
        before = train.out.read_bytes()
        code, _, err = train("--learning-rate", 1e20, steps=50)
        assert code == 3
        assert "no longer a number" in err and "step" in err
        assert train.out.read_bytes() == before


def test_importing_the_verb_loads_neither_torch_nor_rclpy():
    code = (
        "import sys, streaming_net_ros.cli.train, streaming_net_ros.cli.simulate;"
        "print([m for m in ('torch', 'rclpy', 'rosbags', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
