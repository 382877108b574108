"""The verb ``train``: from bags to weights that load, repeatably, and one line for each fault."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from recordings import write_toy_bag
from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.train import bags_at
from streaming_net_ros.network import StreamingNetwork, load_weights, read_network_file

TARGET = "/cmd:twist.angular.z"


@pytest.fixture(autouse=True)
def threads_as_before():
    """The verb takes one thread; other tests in this process keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train(write_network, tiny, tmp_path, capsys):
    """Runs the verb on the tiny network; gives exit code, stdout and stderr."""
    network = write_network(tiny)
    out = tmp_path / "weights.safetensors"

    def run(*arguments, bag=None, target=TARGET, steps=4, out=out):
        if bag is None:
            bag = tmp_path / "toy"
            if not bag.exists():
                write_toy_bag(bag, frames=120)
        required = ["--bag", bag, "--target", target, "--out", out, "--steps", steps]
        code = main(["train", *map(str, [network, *required, *arguments])])
        told = capsys.readouterr()
        return code, told.out, told.err

    run.network, run.out = network, out
    return run


def weights_of(train, out=None):
    network = StreamingNetwork(read_network_file(train.network), seed=99)
    load_weights(network, out or train.out)
    return network.state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


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

    def test_a_hybrid_choice_of_rollout_is_trained(self, train):
        code, out, _ = train("--rollout", "sequential", "--json")
        assert code == 0
        assert json.loads(out)["errors"]["first_frames"] == 0


class TestWhatItTells:
    def test_errors_of_early_and_full_and_the_mean_and_the_next_command(self, train):
        code, out, err = train(steps=60)
        assert code == 0
        for word in ("60 steps", "early", "full", "mean", "angular.z", "next: streaming-net run"):
            assert word in out
        assert str(train.out) in out and "Traceback" not in err

    def test_fields_that_are_not_trained_and_a_rate_that_is_not_the_networks(self, train):
        """The toy is recorded at 20 Hz, the tiny network is for 30, and answers two fields."""
        _, _, err = train()
        assert "note: linear.x of output drive" in err and "20 Hz" in err
        _, _, err = train(target="/cmd:twist.linear.x,twist.angular.z")
        assert "at random" not in err

    def test_json_alone_on_stdout(self, train):
        code, out, _ = train("--json", "--validate", 0.25, "--batch", 4, "--window", 8)
        told = json.loads(out)
        assert code == 0
        assert (told["steps"], told["window_frames"]) == (4, 8)
        assert told["windows"] == 90 - 8 + 1
        assert len(told["losses"]) == 4 and not told["was_interrupted"]
        # Set aside: 30 frames, whose last 4 have no full answer yet.
        assert told["errors"]["images"] == 26
        assert set(told["errors"]) >= {"early", "full", "mean"}

    def test_a_part_of_each_bag(self, train):
        _, out, _ = train("--json", "--frames", "20:80", "--validate", 0, "--window", 10)
        told = json.loads(out)
        assert told["windows"] == 60 - 10 + 1
        assert told["errors"] is None

    def test_the_window_is_the_full_response_and_six_frames(self, train):
        assert json.loads(train("--json")[1])["window_frames"] == 4 + 6

    def test_bags_of_a_folder_and_several_bags_are_all_read(self, train, tmp_path):
        for number in range(3):
            write_toy_bag(tmp_path / "drives" / f"drive_{number}", frames=40, seed=number)
        write_toy_bag(tmp_path / "more", frames=40, seed=9)
        assert [path.name for path in bags_at(tmp_path / "drives")] == [
            "drive_0", "drive_1", "drive_2"
        ]  # fmt: skip
        arguments = ("--json", "--validate", 0, "--window", 10, "--bag", tmp_path / "more")
        _, out, _ = train(*arguments, bag=tmp_path / "drives")
        assert json.loads(out)["windows"] == 4 * (40 - 10 + 1)

    def test_ctrl_c_leaves_usable_weights_and_says_so(self, train, monkeypatch):
        from streaming_net_ros.training import windows

        whole = windows.augmented

        def interrupting(*arguments):
            interrupting.left -= 1
            if interrupting.left == 0:
                raise KeyboardInterrupt
            return whole(*arguments)

        interrupting.left = 6
        monkeypatch.setattr(windows, "augmented", interrupting)
        code, out, _ = train(steps=50)
        assert code == 130
        assert "interrupted" in out and "step 5" in out
        weights_of(train)


class TestFaultsAreOneLine:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            (["--target", "/cmd"], ["/cmd", "TOPIC:FIELD"]),
            (["--target", "/cmd:"], ["TOPIC:FIELD"]),
            (["--target", "/nope:twist.angular.z"], ["no such topic", "/cmd"]),
            (["--target", "/cmd:angular.z"], ["no field 'angular'", "twist"]),
            (["--target", "/cmd:twist.angular.y"], ["no output", "drive (angular.z, linear.x)"]),
            (["--image-topic", "/cmd"], ["not an image topic"]),
            (["--frames", "5"], ["--frames", "FIRST:LAST"]),
            (["--frames", "a:b"], ["--frames", "FIRST:LAST"]),
            (["--frames", "500:"], ["no frame in this part"]),
            (["--frames", "0:8"], ["no window fits"]),
            (["--window", "2"], ["--window", "more than 2 frames"]),
            (["--window", "1000"], ["no window fits", "--window"]),
            (["--validate", "1"], ["validate", "0 to 1"]),
            (["--validate", "nan"], ["validate", "0 to 1"]),
            (["--validate", "0.05"], ["no window fits", "--validate"]),
            (["--learning-rate", "0"], ["learning_rate", "above 0"]),
            (["--learning-rate", "nan"], ["learning_rate"]),
            (["--lag-ms", "nan"], ["lag-ms"]),
            (["--lag-ms", "1e9"], ["no image has a target"]),
            (["--device", "toaster"], ["--device", "toaster"]),
            (["--rollout", "sideways"], ["not a rollout"]),
            (["--init", "nothing.safetensors"], ["nothing.safetensors"]),
            (["--out", "nowhere/w.safetensors"], ["--out"]),
            (["--out", "weights.pt"], ["--out", ".safetensors"]),
            (["--bag", "nothing"], ["nothing", "no such recording"]),
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

    def test_a_network_that_does_not_exist(self, capsys):
        assert main(["train", "nope", "--bag", "b", "--target", TARGET, "--out", "w"]) == 2
        assert "error:" in capsys.readouterr().err

    def test_a_diverging_training_names_the_step_and_leaves_old_weights_alone(self, train):
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
