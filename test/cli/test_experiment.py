"""The verb ``experiment``: no run is made twice, the outcome adds up, faults are one line."""

from __future__ import annotations

import copy
import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml

from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.experiment_outcome import Outcome
from streaming_net_ros.network import (
    StreamingNetwork,
    load_weights,
    read_network_file,
    rollout_of,
    state_shapes,
)
from streaming_net_ros.paths import find_network
from streaming_net_ros.training.experiment import ExperimentSpec, protocol_of
from streaming_net_ros.training.experiment_run import RunResult

pytest.importorskip("sklearn", reason="digits come with scikit-learn: pip install scikit-learn")

SMALL = {
    "name": "small",
    "title": "Small: accuracy while answers come",
    "data": {"kind": "digits", "limit": 60, "test_limit": 40},
    "plan": {
        "learners": [
            {
                "objectives": [{"of": "class", "target": "class", "combine": "sum"}],
                "optimizer": {"RMSprop": {"lr": 3e-3}},
            }
        ],
        "augmentation": {"noise": 0.2},
        "responses": 3,
        "batch": 8,
        "steps": 5,
        "validate_every": 2,
    },
    "variants": {
        "in stream": {"network": "digits_sr", "rollout": "streaming", "published": {3: 0.5}},
        "sequential": {"network": "digits_sr", "rollout": "sequential"},
    },
    "seeds": 2,
    "horizon_steps": 6,
    "target_accuracy": 0.2,
    "reduced": {"constants": {"width2": 16}, "plan": {"batch": 4}},
}
RUNS = [f"{name}-{seed}" for name in ("in_stream", "sequential") for seed in (0, 1)]
STEPS = {"in stream": [2, 3, 4], "sequential": [3, 6, 9]}  # of digits_sr's three groups


def experiment_file(folder, **changes):
    """The small experiment in a file; keyword by keyword something else."""
    path = folder / "small.yaml"
    content = {**copy.deepcopy(SMALL), **changes}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def call(file, out, *arguments):
    """Run the verb on a CPU, one run at a time; (exit code, stdout, stderr)."""
    given = ["experiment", file, "--out", out, "--device", "cpu", "--jobs", 1, *arguments]
    with redirect_stdout(io.StringIO()) as told, redirect_stderr(io.StringIO()) as err:
        code = main([*map(str, given)])
    return code, told.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The small experiment, run once: its file, its folder, and what was told. Only to read."""
    folder = tmp_path_factory.mktemp("done")
    file, out = experiment_file(folder), folder / "out"
    threads = torch.get_num_threads()
    code, told, err = call(file, out, "--json")
    torch.set_num_threads(threads)
    assert code == 0, err
    return SimpleNamespace(file=file, out=out, told=told, err=err)


@pytest.fixture
def copied(done, tmp_path):
    """A copy of it all, to change at will."""
    for path in (done.out / "runs").iterdir():
        target = tmp_path / "out" / "runs" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return SimpleNamespace(file=experiment_file(tmp_path), out=tmp_path / "out")


@pytest.fixture
def trained(monkeypatch):
    """The runs that are made, (variant, seed), as they are made."""
    from streaming_net_ros.training import experiment_run

    made, run_variant = [], experiment_run.run_variant

    def counting(spec, protocol, name, seed, **more):
        made.append((name, seed))
        return run_variant(spec, protocol, name, seed, **more)

    monkeypatch.setattr(experiment_run, "run_variant", counting)
    return made


def results(out):
    """What each run found, without how long it took."""
    found = {}
    for path in sorted((out / "runs").glob("*.json")):
        words = json.loads(path.read_text())
        found[path.stem] = {key: words[key] for key in words if key != "seconds"}
    return found


def one_line(err):
    """The one line of an error, after what the verb tells of its protocol."""
    assert "Traceback" not in err
    *before, line = err.splitlines()
    assert line.startswith("error: ")
    assert not [text for text in before if text.startswith(("error", "Error"))]
    return line


class TestOutcome:
    def test_everything_that_was_found_is_in_the_folder_and_nothing_else(self, done):
        files = {str(path.relative_to(done.out)) for path in done.out.rglob("*") if path.is_file()}
        runs = {f"runs/{run}.{kind}" for run in RUNS for kind in ("json", "safetensors")}
        assert files == runs | {
            "experiment.json", "table.md", "accuracy.png", "confusion.png",
            "runs/digits_sr.yaml",
        }  # fmt: skip

    def test_the_json_is_what_was_told(self, done):
        assert json.loads(done.told) == json.loads((done.out / "experiment.json").read_text())

    def test_it_names_the_protocol_and_the_machine(self, done):
        words = json.loads(done.told)
        assert words["experiment"] == "small"
        assert words["horizon_steps"] == 6
        assert words["target_accuracy"] == 0.2
        assert words["machine"].endswith(f"torch {torch.__version__}")
        protocol = words["protocol"]
        assert (protocol["is_reduced"], protocol["seeds"]) == (True, 2)
        assert protocol["constants"] == {"width2": 16}
        assert protocol["plan"] == {**SMALL["plan"], "batch": 4}
        assert protocol["data"] == {**SMALL["data"], "test_share": None}

    def test_what_is_reduced_is_told(self, done):
        assert "small: reduced protocol on" in done.err
        assert "reduced constants: width2 16" in done.err
        assert "reduced plan: batch 4" in done.err

    def test_means_and_deviations_are_those_of_the_runs(self, done):
        runs = results(done.out)
        rows = json.loads(done.told)["variants"]
        assert [row["variant"] for row in rows] == ["in stream", "sequential"]
        for row in rows:
            of_name = [runs[f"{row['variant'].replace(' ', '_')}-{seed}"] for seed in (0, 1)]
            accuracy = np.array([run["accuracy"] for run in of_name])
            hold = np.array([np.mean(run["hold"]) for run in of_name])
            assert row["seeds"] == 2
            assert row["steps"] == STEPS[row["variant"]]
            assert row["accuracy"] == accuracy.mean(0).round(4).tolist()
            # Of two numbers the sample's deviation is their distance over the root of two.
            apart = np.abs(accuracy[0] - accuracy[1]) / np.sqrt(2)
            assert row["accuracy_deviation"] == pytest.approx(apart.tolist(), abs=1e-4)
            assert row["hold_mean"] == pytest.approx(hold.mean(), abs=1e-4)
            apart = abs(hold[0] - hold[1]) / np.sqrt(2)
            assert row["hold_mean_deviation"] == pytest.approx(apart, abs=1e-4)
            at = [next((s for s, a in zip(run["steps"], run["accuracy"], strict=True) if a >= 0.2),
                       None) for run in of_name]  # fmt: skip
            assert row["steps_to_target"] == (None if None in at else np.mean(at))
        assert [row["published"] for row in rows] == [{"3": 0.5}, {}]

    def test_each_run_says_what_was_asked_of_it(self, done):
        for run, words in results(done.out).items():
            name, _, seed = run.rpartition("-")
            assert (words["variant"].replace(" ", "_"), words["seed"]) == (name, int(seed))
            assert len(words["losses"]) == 5
            assert words["protocol"]["plan"]["batch"] == 4
            assert words["protocol"]["seeds"] == 2

    def test_the_table_has_a_row_for_each_variant(self, done):
        head, rule, *rows = (done.out / "table.md").read_text().splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *rows)]
        assert set(rule) == {"|", "-", " "}
        assert cells[0] == ["variant", "first response", "last response",
                            "hold mean (U 1-6)", "steps to 20%", "published"]  # fmt: skip
        for row, words in zip(cells[1:], json.loads(done.told)["variants"], strict=True):
            assert row[0] == f"{words['variant']} (2 seeds)"
            for cell, k in zip(row[1:3], (0, -1), strict=True):
                mean, deviation = words["accuracy"][k], words["accuracy_deviation"][k]
                assert cell == f"{mean:.3f} ± {deviation:.3f} (U{words['steps'][k]})"
            assert row[3] == f"{words['hold_mean']:.3f} ± {words['hold_mean_deviation']:.3f}"
        assert [row[5] for row in cells[1:]] == ["U3 0.500", "-"]

    def test_steps_to_the_target_are_a_mean_over_seeds_or_never(self):
        reaching = {"in stream": ([0.1, 0.3, 0.4], [0.2, 0.2, 0.4]),
                    "sequential": ([0.1, 0.1, 0.5], [0.1, 0.1, 0.19])}  # fmt: skip
        spec = ExperimentSpec.model_validate(SMALL)
        runs = [
            RunResult(name, seed, STEPS[name], accuracy, [0.5] * 6, [], [], [], 1.0)
            for name, of_name in reaching.items()
            for seed, accuracy in enumerate(of_name)
        ]
        outcome = Outcome(spec, protocol_of(spec, reduced=False), "cpu", runs)
        assert [row["steps_to_target"] for row in outcome.rows()] == [2.5, None]
        *_, streaming, sequential = outcome.table().splitlines()
        assert "| 2.5 |" in streaming
        assert "| never |" in sequential

    def test_the_two_pictures_differ(self, done):
        one, other = (done.out / f"{name}.png" for name in ("accuracy", "confusion"))
        assert one.read_bytes() != other.read_bytes()

    @pytest.mark.parametrize("picture", ["accuracy.png", "confusion.png"])
    def test_pictures_show_something(self, done, picture):
        path = done.out / picture
        assert path.read_bytes().startswith(b"\x89PNG")
        pixels = cv2.imread(str(path))
        assert min(pixels.shape[:2]) > 300
        colours = np.unique(pixels.reshape(-1, 3), axis=0)
        assert len(colours) > 50

    def test_weights_and_the_network_file_beside_them_load(self, done):
        spec = read_network_file(done.out / "runs" / "digits_sr.yaml")
        assert state_shapes(spec)["h2"] == (16,)
        for rollout, run in (("streaming", "in_stream-1"), ("sequential", "sequential-0")):
            network = StreamingNetwork(spec, rollout_of(spec, rollout), seed=99)
            drawn = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            load_weights(network, done.out / "runs" / f"{run}.safetensors")
            changed = [n for n, t in network.state_dict().items() if not torch.equal(t, drawn[n])]
            assert changed == list(drawn)

    def test_without_json_the_table_is_told(self, copied, trained):
        code, told, _ = call(copied.file, copied.out)
        assert code == 0
        table, _, written = told.partition("written to")
        assert table == (copied.out / "table.md").read_text()
        assert str(copied.out) in written


class TestKeptRuns:
    def test_a_second_call_makes_no_run_again(self, copied, done, trained):
        runs = {path: path.stat().st_mtime_ns for path in (copied.out / "runs").iterdir()}
        code, told, _ = call(copied.file, copied.out, "--json")
        assert code == 0
        assert trained == []
        assert {path: path.stat().st_mtime_ns for path in runs} == runs
        assert json.loads(told) == json.loads(done.told)

    def test_only_what_is_missing_is_made_and_comes_out_the_same(self, copied, done, trained):
        (copied.out / "runs" / "in_stream-1.json").unlink()
        assert call(copied.file, copied.out)[0] == 0
        assert trained == [("in stream", 1)]
        assert results(copied.out) == results(done.out)

    def test_a_run_on_a_cpu_takes_one_thread(self, copied, monkeypatch):
        """The same seed promises the same bits on one thread."""
        from streaming_net_ros.training import experiment_run

        (copied.out / "runs" / "in_stream-1.json").unlink()
        threads, run_variant = [], experiment_run.run_variant

        def counting(*arguments, **more):
            threads.append(torch.get_num_threads())
            return run_variant(*arguments, **more)

        monkeypatch.setattr(experiment_run, "run_variant", counting)
        torch.set_num_threads(2)
        assert call(copied.file, copied.out)[0] == 0
        assert threads == [1]

    def test_more_seeds_add_to_those_that_are_there(self, copied, trained):
        code, told, _ = call(copied.file, copied.out, "--seeds", 3, "--json")
        assert code == 0
        assert trained == [("in stream", 2), ("sequential", 2)]
        assert [row["seeds"] for row in json.loads(told)["variants"]] == [3, 3]

    @pytest.mark.parametrize(
        "changes",
        [
            {"plan": {**SMALL["plan"], "steps": 6}},
            {"data": {**SMALL["data"], "limit": 50}},
            {"reduced": {**SMALL["reduced"], "constants": {"width2": 8}}},
            {"reduced": None},
            {"horizon_steps": 7},
            {"variants": {**SMALL["variants"],
                          "in stream": {"network": "digits_hybrid"}}},
            {"variants": {**SMALL["variants"],
                          "sequential": {**SMALL["variants"]["sequential"],
                                         "plan": {"steps": 9}}}},
        ],
        ids=["steps", "data", "constants", "not reduced", "horizon", "network", "variant's plan"],
    )  # fmt: skip
    def test_results_of_another_protocol_are_not_mixed_in(
        self, copied, tmp_path, trained, changes
    ):
        before = results(copied.out)
        code, told, err = call(experiment_file(tmp_path, **changes), copied.out)
        assert (code, told) == (2, "")
        line = one_line(err)
        assert "there are results of another protocol" in line
        assert str(copied.out / "runs") in line and "choose another --out" in line
        assert trained == []
        assert results(copied.out) == before

    def test_the_full_protocol_is_another_one(self, copied, trained):
        code, _, err = call(copied.file, copied.out, "--no-reduced")
        assert code == 2
        assert "small: full protocol" in err
        assert "there are results of another protocol" in one_line(err)

    def test_published_figures_are_no_part_of_a_protocol(self, copied, tmp_path, trained):
        variants = copy.deepcopy(SMALL["variants"])
        variants["in stream"]["published"] = {4: 0.7}
        file = experiment_file(tmp_path, variants=variants, title="another title")
        code, told, _ = call(file, copied.out, "--json")
        assert (code, trained) == (0, [])
        assert json.loads(told)["variants"][0]["published"] == {"4": 0.7}

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"protocol": {}, "machine": ""}'])
    def test_a_damaged_result_is_refused_in_one_line(self, copied, trained, content):
        damaged = copied.out / "runs" / "in_stream-0.json"
        damaged.write_text(content)
        code, _, err = call(copied.file, copied.out)
        assert code == 2
        assert str(damaged) in one_line(err)
        assert trained == []

    def test_ctrl_c_ends_it_and_the_same_call_goes_on(self, done, tmp_path, trained, monkeypatch):
        from streaming_net_ros.training.trainer import Trainer

        file, out = experiment_file(tmp_path), tmp_path / "out"
        steps, step = [], Trainer.step

        def interrupted(self):
            steps.append(self.steps + 1)
            if len(steps) == 8:  # the second run's third
                signal.raise_signal(signal.SIGINT)
            return step(self)

        monkeypatch.setattr(Trainer, "step", interrupted)
        assert call(file, out)[0] == 130
        assert steps == [1, 2, 3, 4, 5, 1, 2, 3]
        assert list(results(out)) == ["in_stream-0"]
        assert not (out / "experiment.json").exists()

        assert call(file, out)[0] == 0
        # It goes on in the middle of the run that was interrupted.
        assert steps[8:] == [4, 5] + [1, 2, 3, 4, 5] * 2
        assert trained == [
            ("in stream", 0), ("sequential", 0),
            ("sequential", 0), ("in stream", 1), ("sequential", 1),
        ]  # fmt: skip
        assert results(out) == results(done.out)


class TestChoices:
    def test_one_variant_alone(self, done, tmp_path, trained):
        file, out = experiment_file(tmp_path), tmp_path / "out"
        arguments = ("--variant", "sequential", "--variant", "sequential", "--seeds", 1, "--json")
        code, told, _ = call(file, out, *arguments)
        assert code == 0
        assert trained == [("sequential", 0)]
        (row,) = json.loads(told)["variants"]
        assert (row["variant"], row["seeds"]) == ("sequential", 1)
        # Of one run there is no deviation, and its numbers are those among others.
        assert row["accuracy_deviation"] == [0, 0, 0]
        assert (
            results(out)["sequential-0"]["accuracy"]
            == (results(done.out)["sequential-0"]["accuracy"])
        )

    def test_the_full_protocol_leaves_the_networks_as_they_are(self, tmp_path):
        file, out = experiment_file(tmp_path), tmp_path / "out"
        arguments = ("--no-reduced", "--variant", "in stream", "--seeds", 1, "--json")
        code, told, _ = call(file, out, *arguments)
        assert code == 0
        protocol = json.loads(told)["protocol"]
        assert (protocol["is_reduced"], protocol["constants"]) == (False, {})
        (left,) = (out / "runs").glob("*.yaml")
        assert set(yaml.safe_load(left.read_text())) == {"base"}
        network = StreamingNetwork(read_network_file(find_network("digits_sr")))
        load_weights(network, out / "runs" / "in_stream-0.safetensors")

    def test_a_switch_of_the_stimulus_has_a_picture_of_its_own(self, tmp_path):
        plan = {key: value for key, value in SMALL["plan"].items() if key != "responses"}
        file = experiment_file(tmp_path, plan={**plan, "horizon_steps": 6}, switch_step=3)
        code, told, _ = call(file, tmp_path / "out", "--seeds", 1, "--json")
        assert code == 0
        for row in json.loads(told)["variants"]:
            (run,) = (r for r in results(tmp_path / "out").values()
                      if r["variant"] == row["variant"])  # fmt: skip
            assert row["switched"] == pytest.approx(run["switched"], abs=1e-4)
            assert run["switched"][:2] == run["hold"][:2]
        assert (tmp_path / "out" / "switch.png").read_bytes().startswith(b"\x89PNG")


class TestSideBySide:
    def test_runs_side_by_side_find_the_same_numbers(self, done, tmp_path):
        file, out = experiment_file(tmp_path), tmp_path / "out"
        code, told, err = call(file, out, "--jobs", 2, "--json")
        assert code == 0, err
        assert json.loads(told)["variants"] == [
            {**row, "training_s": other["training_s"]}
            for row, other in zip(
                json.loads(done.told)["variants"], json.loads(told)["variants"], strict=True
            )
        ]
        assert results(out) == results(done.out)
        assert list((out / "runs").glob("*.part")) == []

    def test_an_error_in_a_process_of_its_own_is_one_line(self, tmp_path):
        file = experiment_file(tmp_path, data={"kind": "cifar10"})
        code, told, err = call(file, tmp_path / "out", "--jobs", 2)
        assert (code, told) == (2, "")
        assert "the folder is not given" in one_line(err)


class TestFaultsAreOneLine:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--variant", "sideways"], ["--variant: no such variant: expected one of in stream, "
                                         "sequential, got sideways"]),
            (["--data", "somewhere"], ["digits", "it lies in no folder", "give no path"]),
            (["--device", "toaster"], ["--device: cannot use this device", "toaster"]),
        ],
    )  # fmt: skip
    def test_bad_arguments(self, tmp_path, arguments, words):
        code, told, err = call(experiment_file(tmp_path), tmp_path / "out", *arguments)
        assert (code, told) == (2, "")
        for word in words:
            assert word in one_line(err)
        assert not (tmp_path / "out" / "experiment.json").exists()

    def test_data_that_nobody_has_given_are_asked_for(self, tmp_path):
        file = experiment_file(tmp_path, data={"kind": "cifar10"})
        code, _, err = call(file, tmp_path / "out")
        assert code == 2
        line = one_line(err)
        assert "the folder is not given" in line
        assert "cifar" in line.lower()

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "out").write_text("mine")
        code, _, err = call(experiment_file(tmp_path), tmp_path / "out")
        assert code == 2
        assert "--out: cannot make the folder" in one_line(err)
        assert (tmp_path / "out").read_text() == "mine"

    def test_an_experiment_that_does_not_exist(self, tmp_path):
        code, _, err = call("nope", tmp_path / "out")
        assert code == 2
        line = one_line(err)
        assert "nope: no such experiment file" in line
        assert "digits" in line
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"sead": 1}, "did you mean 'seeds'?"),
            ({"plan": {**SMALL["plan"], "stepz": 1}}, "variants.in stream.plan: stepz"),
            ({"variants": {"a": {"network": "nope"}}}, "nope: no such network file"),
            ({"reduced": {"constants": {"wiidth2": 8}}}, "did you mean 'width2'?"),
        ],
    )
    def test_a_wrong_file(self, tmp_path, changes, words):
        code, _, err = call(experiment_file(tmp_path, **changes), tmp_path / "out")
        assert code == 2
        assert words in one_line(err)


def test_importing_the_verb_loads_no_torch_no_ros_and_no_matplotlib():
    code = (
        "import sys, streaming_net_ros.cli.experiment;"
        "print([m for m in ('torch', 'rclpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
