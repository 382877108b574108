"""The verb ``new``: whatever is asked for, what it writes is a network that answers."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_net_ros.cli import new as verb
from streaming_net_ros.cli.new_text import COLOURS, OUTPUTS, NewNetwork, network_text
from streaming_net_ros.network import (
    StreamingNetwork,
    parse_network,
    read_network_file,
    rollout_of,
    state_shapes,
)
from streaming_net_ros.paths import share_directory
from streaming_net_ros.theory import response_times

SHIPPED = sorted(path.stem for path in (share_directory() / "config" / "networks").glob("*.yaml"))
WANTED = st.builds(
    NewNetwork,
    name=st.sampled_from(["net", "on", "no", "null", "y", "e5", "True1", "NaN", "o7"]),
    height=st.integers(8, 130),
    width=st.integers(8, 130),
    colour=st.sampled_from(COLOURS),
    rate_hz=st.floats(0.1, 1000),
    groups=st.integers(2, 16),
    skip=st.booleans(),
    memory=st.booleans(),
    output=st.sampled_from(OUTPUTS),
    elements=st.integers(1, 12),
)


@settings(max_examples=40, deadline=None)
@given(WANTED)
def test_what_is_written_is_what_was_wanted(wanted):
    spec = parse_network(yaml.safe_load(network_text(wanted)))
    (image,) = spec.inputs.values()
    assert spec.name == wanted.name and spec.rate_hz == wanted.rate_hz
    assert (image.height, image.width, image.colour) == (
        wanted.height, wanted.width, wanted.colour
    )  # fmt: skip
    assert len(spec.groups) == wanted.groups
    (output,) = spec.outputs.values()
    assert output.publish == wanted.output
    numbers = 2 if wanted.output == "twist" else wanted.elements
    assert state_shapes(spec)[output.group] == (numbers,)
    times = response_times(rollout_of(spec))[output.group]
    assert times.full_frames == wanted.groups
    assert times.first_frames == (2 if wanted.skip else wanted.groups)
    assert times.ages["image"].is_recurrent == wanted.memory


@settings(max_examples=40, deadline=None)
@given(WANTED)
def test_every_key_of_a_beginner_s_file_is_told_of_once(wanted):
    text = network_text(wanted)
    assert max(map(len, text.splitlines())) <= 100
    assert "<<" not in text
    told = {"name", "rate_hz", "inputs", "image", "height", "mean", "std", "colour", "groups",
            "source", "layers", "apply", "outputs", "group", "publish"}  # fmt: skip
    for key in told:
        lines = re.findall(rf"(?m)^(.*\b{key}:.*)$", text)
        before = text[: text.index(lines[0])].splitlines()[-1]
        assert any("#" in line for line in lines) or before.startswith("#"), key


def test_a_new_network_runs():
    network = StreamingNetwork(
        parse_network(yaml.safe_load(network_text(NewNetwork("net", memory=True))))
    ).eval()
    images = torch.zeros(6, 1, 3, 60, 80, dtype=torch.uint8)
    with torch.inference_mode():
        answers = [answer["drive"] for answer in network({"image": images})]
    assert [answer is None for answer in answers] == [True, True, False, False, False, False]


def test_without_a_terminal_options_and_defaults_decide(streaming_net, tmp_path):
    told = streaming_net(
        "new", tmp_path / "my-net 2.yaml", "--groups", 3, "--output", "tensor", "--elements", 4
    )
    assert told.code == 0, told.err
    spec = read_network_file(tmp_path / "my-net 2.yaml")
    assert spec.name == "my_net_2"
    assert "answer: first response after 2 frames (100 ms), full response after 3" in told.out
    assert streaming_net("plan", tmp_path / "my-net 2.yaml").code == 0


@pytest.mark.parametrize("example", SHIPPED)
def test_every_shipped_network_can_be_begun_with(example, tmp_path):
    file = tmp_path / "mine.yaml"
    written = verb._copy(example, file, "mine")
    verb._check_files(written, force=False)
    verb._write(written)
    spec, original = (
        read_network_file(file),
        read_network_file(share_directory() / "config" / "networks" / f"{example}.yaml"),
    )
    assert spec.name == "mine"
    assert spec.model_copy(update={"name": original.name, "path": original.path}) == original
    assert spec.weights_path is None or spec.weights_path.is_file()


def test_nothing_is_written_over(streaming_net, tmp_path):
    file = tmp_path / "net.yaml"
    file.write_text("mine")
    told = streaming_net("new", file)
    assert told.code == 2 and "will not write over what exists" in told.err
    weights = tmp_path / "pilot.safetensors"
    weights.write_text("mine as well")
    told = streaming_net("new", tmp_path / "other.yaml", "--example", "pilot")
    assert told.code == 2 and "pilot.safetensors: will not write over" in told.err
    assert (file.read_text(), weights.read_text()) == ("mine", "mine as well")
    assert sorted(tmp_path.iterdir()) == [file, weights]
    assert streaming_net("new", file, "--force").code == 0
    assert read_network_file(file).name == "net"


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["net.txt"], "not the name of a network file"),
        (["nowhere/net.yaml"], "no such folder"),
        (["net.yaml", "--groups", "1"], "--groups: out of its range: expected 2 to 16, got 1"),
        (["net.yaml", "--rate-hz", "nan"], "--rate-hz: out of its range"),
        (["net.yaml", "--width", "4"], "--width: out of its range: expected 8 to 4096"),
        (["net.yaml", "--colour", "grey"], "--colour: not one of the choices: expected rgb or"),
        (["net.yaml", "--output", "joy"], "--output: not one of the choices"),
        (["net.yaml", "--name", "a: {b"], "--name: expected a ROS name"),
        (["net.yaml", "--name", "train"], "taken by the package itself"),
        (["net.yaml", "--example", "pilo"], "no such network file: expected a path, or one of"),
        (["net.yaml", "--example", "pilot", "--memory"], "expected no other answer than --name"),
        (["pilot.yaml", "--example", "pilot_hybrid"], "built on a file of this name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    streaming_net, tmp_path, monkeypatch, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    told = streaming_net("new", *arguments)
    assert told.code == 2 and told.err.count("\n") == 1
    assert expected in told.err
    assert list(tmp_path.iterdir()) == []


def asked(answers, given=()):
    """The questions that were asked, and what was wanted in the end."""
    questions = []

    def ask(key, question, default):
        questions.append(key)
        return answers.get(key, default)

    return questions, verb._wishes(dict(given), "net", ask)


def test_at_a_terminal_only_what_is_not_given_and_matters_is_asked():
    questions, wanted = asked({"memory": True}, {"rate_hz": 30.0})
    assert questions == ["name", "width", "height", "colour", "groups", "skip", "memory", "output"]
    assert wanted == NewNetwork("net", rate_hz=30.0, memory=True)
    questions, wanted = asked({"groups": 2, "output": "tensor", "elements": 3})
    assert "skip" not in questions and "elements" in questions
    assert (wanted.skip, wanted.elements) == (False, 3)


def test_an_answer_that_cannot_be_taken_is_asked_for_again(monkeypatch, capsys):
    answers = iter([1, 40, 6])
    monkeypatch.setattr(verb.typer, "prompt", lambda *args, **more: next(answers))
    assert verb._prompt("groups", "Layer groups", 5) == 6
    assert capsys.readouterr().err.count("--groups: out of its range") == 2
    answers = iter(["a: {b", "__", "fine"])
    assert verb._prompt("name", "Name", "net") == "fine"


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_file_s_name_makes_a_network_s_name(stem):
    verb._check_name(verb._default_name(Path("folder") / f"x{stem.replace('/', '')}.yaml"))
