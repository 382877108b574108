"""The pages of docs/ say what the code does: their networks are read, their tables compared."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from networks import GOLDEN_TOY
from streaming_net_ros.errors import StreamingNetError
from streaming_net_ros.network import (
    StreamingNetwork,
    read_network_file,
    rollout_of,
    state_shapes,
)
from streaming_net_ros.network.schema import LearningSpec
from streaming_net_ros.theory import first_frames, response_times
from streaming_net_ros.training import (
    Augmentation,
    Clips,
    HebbianSpec,
    ObjectiveSpec,
    TrainingPlan,
    parse_plan,
    sequences_of,
    train,
)

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def whole_files(language, word="file"):
    """The page's fenced blocks that begin with ``# file: NAME``, by page and name."""
    found = {}
    for page in PAGES:
        for kind, text in _FENCE.findall(page.read_text(encoding="utf-8")):
            named = re.match(rf"# {word}: (\S+)\n", text)
            if kind == language and named:
                found[f"{page.name}/{named.group(1)}"] = text
    return found


NETWORKS = whole_files("yaml")
PLANS = whole_files("yaml", "plan") | {
    path.name: path.read_text() for path in sorted((ROOT / "config" / "plans").glob("*.yaml"))
}


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a network of a page, and the page's Python files beside it, where they import."""

    def write(name):
        for other, text in {**whole_files("python"), **NETWORKS}.items():
            (tmp_path / other.split("/")[1]).write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path / name.split("/")[1]

    return write


def test_the_pages_show_whole_networks():
    assert {"network_file.md/minimal.yaml", "time.md/early.yaml"} <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_docs_is_read_and_answers_when_theory_says(name, written):
    spec = read_network_file(written(name))
    shapes = state_shapes(spec)
    network = StreamingNetwork(spec).eval()
    state, first = network.init_state(), {}
    given = {node: torch.zeros(1, *known.shape) for node, known in spec.inputs.items()}
    times = response_times(network.rollout)
    for frame in range(1 + max(one.full_frames for one in times.values())):
        with torch.inference_mode():
            state, responses = network.step(state, given)
        for output, response in responses.items():
            if response is not None:
                assert tuple(response.shape[1:]) == shapes[spec.outputs[output].group]
                first.setdefault(output, frame)
    expected = {name: times[output.group].first_frames for name, output in spec.outputs.items()}
    assert first == expected


@pytest.mark.parametrize("name", PLANS)
def test_a_training_plan_of_the_docs_trains_a_step(name):
    """On the network that its objectives name: the digits, or the pilot."""
    plan = parse_plan({**yaml.safe_load(PLANS[name]), "steps": 1, "batch": 2, "compile": False})
    is_of_digits = any(o.target == "class" for ln in plan.learners for o in ln.objectives)
    path = ROOT / "config" / "networks" / ("digits_sr.yaml" if is_of_digits else "pilot.yaml")
    network = StreamingNetwork(read_network_file(path))
    (given,) = network.spec.inputs.values()
    images = torch.randint(0, 256, (40, *given.shape), dtype=torch.uint8)
    if is_of_digits:
        clips = Clips.of_stills(images, torch.arange(40) % 10, list("0123456789"), "toy", "class")
    else:
        clips = Clips(
            images,
            {"drive": torch.randn(40, 2)},
            torch.tensor([[0, 40]]),
            fields={"drive": ("angular.z", "linear.x")},
            stamps_ns=torch.arange(40),
        )
    history = train(network, sequences_of(plan, clips, network), plan)
    assert len(history.losses) == 1 and math.isfinite(history.losses[0])


def test_every_key_of_a_plan_stands_in_the_docs():
    table = page("training.md")
    for model in (TrainingPlan, ObjectiveSpec, Augmentation, HebbianSpec):
        for key in model.model_fields:
            assert re.search(rf"\b{key}\b", table), f"{model.__name__}.{key}"


def test_every_key_of_learning_stands_in_the_docs():
    for key in LearningSpec.model_fields:
        assert re.search(rf"^\| `{key}` \|", page("network_file.md"), re.MULTILINE), key


def answers(spec, choice, frames=5):
    network = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    state, told = network.init_state(), []
    for _ in range(frames):
        state, responses = network.step(state, {"one": torch.ones(1, 1)})
        told.append("silent" if responses["b"] is None else f"{responses['b'].item():g}")
    return told


@pytest.mark.parametrize("choice", ["streaming", "sequential"])
def test_the_golden_toy_of_the_docs_answers_as_its_table_says(choice, written):
    spec = read_network_file(written("network_file.md/golden.yaml"))
    delays = [(str(edge), edge.delay) for edge in spec.graph.edges]
    assert delays == [
        (f"{edge['source']} -> {group['name']}", edge.get("delay"))
        for group in GOLDEN_TOY["groups"]
        for edge in group["edges"]
    ]
    row = f"| {choice} | {' | '.join(answers(spec, choice))} |"
    assert row in page("network_file.md"), row


def test_the_diagram_of_early_and_full_response_counts_as_theory_does(written):
    spec = read_network_file(written("time.md/early.yaml"))
    rollout = rollout_of(spec)
    times = response_times(rollout)["head"]
    text = page("time.md")
    assert f"first response: {times.first_frames} frames" in text
    assert f"full response: {times.full_frames} frames" in text
    for node, first in first_frames(rollout).items():
        cells = ["." if t < first else f"i{t - first}" for t in range(6)]
        (row,) = re.findall(rf"^{node} +(?:\.|i\d).*$", text, re.MULTILINE)
        assert row.split()[1:7] == cells, row


SPOILED = {
    "an unknown layer": ("Conv2d", "Conf2d"),
    "an unknown source": ("source: stem", "source: stm"),
    "a shape that does not fit": ("Flatten, ", ""),
}


@pytest.mark.parametrize("case", SPOILED)
def test_the_errors_in_the_docs_are_those_that_the_code_gives(case, written):
    path = written("network_file.md/minimal.yaml")
    before, after = SPOILED[case]
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(StreamingNetError) as error:
        state_shapes(read_network_file(path))
    line = f"error: {str(error.value).replace(str(path), path.name)}"
    if case == "a shape that does not fit":  # in brackets: torch's own words, which may change
        line, _, rest = line.partition(" (a and b")
        assert rest
    assert line in page("network_file.md"), line


def parameter_row(name, row):
    """A parameter as the page's table tells it."""
    kind = {str: "string", list: "string array", float: "double", int: "integer", bool: "bool"}
    default = {"": "`''`", "['']": "`[]`"}.get(str(row.default), f"`{row.default}`".lower())
    allowed = ", ".join(row.choices)
    if math.isfinite(row.least):
        allowed = f"{row.least:,.10g} to {row.greatest:,.10g}"
    return f"| `{name}` | {kind[type(row.default)]} | {default} | {allowed} | {row.text} |"


@pytest.mark.ros
def test_every_parameter_stands_in_the_docs_as_the_code_describes_it():
    from streaming_net_ros.nodes.settings import _TABLE

    (section,) = re.findall(r"^## Parameters$(.*?)^## ", page("ros_interface.md"), re.M | re.S)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [parameter_row(name, row) for name, row in _TABLE.items()]


@pytest.mark.ros
def test_parameters_that_can_be_set_while_it_runs_stand_in_the_docs():
    from streaming_net_ros.nodes.conductor import _ROWS
    from streaming_net_ros.nodes.throttled import _ROW

    rows = {**_ROWS, "throttle_hz": _ROW}
    text = page("ros_interface.md")
    for name, row in rows.items():
        assert parameter_row(name, row).removeprefix("| ") in text, name


def launch_arguments():
    """ARGUMENTS of the launch file, without importing launch."""
    tree = ast.parse((ROOT / "launch" / "streaming_net.launch.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARGUMENTS"
    )
    return ast.literal_eval(value)


def test_every_launch_argument_stands_in_the_docs_as_the_launch_file_describes_it():
    (section,) = re.findall(r"^## Launch$(.*?)^## ", page("ros_interface.md"), re.M | re.S)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{name}` | `{default or repr('')}` | {text} |"
        for name, (default, text) in launch_arguments().items()
    ]


@pytest.mark.ros
def test_every_key_of_diagnostics_stands_in_the_docs(write_network, tiny, namespace):
    from harness import composed

    (section,) = re.findall(r"^## Diagnostics$(.*?)^## ", page("ros_interface.md"), re.M | re.S)
    rows = re.findall(r"^\| (`[^|]+`)(?:, \.\.\.)? \|", section, re.M)
    told = {named(key) for row in rows for key in re.findall(r"`([^`]+)`", row)}
    with composed(write_network(tiny), namespace, mode="realtime") as (container, robot):
        for answers in range(1, 6):
            robot.look()
            assert robot.hears(answers)
        keys = {named(key) for member in container.members for key in member.health().values}
    only_in_trouble = {"held", "absent", "hop_ms", "transport_reason", "overwritten"}
    only_to_learn = {key for key in told if key.partition("_")[0] == "learning"}
    assert keys <= told and told <= keys | only_in_trouble | only_to_learn


def named(key):
    """A key of diagnostics without its source or output, and without its quantile."""
    return re.sub(r"_(p50|p99|max)_ms", "_ms", re.sub(r"/.*", "", key))


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_of_the_pages_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    relative = [link for link in links if "://" not in link]
    assert [link for link in relative if not (path.parent / link).exists()] == []
