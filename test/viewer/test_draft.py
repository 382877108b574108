"""A draft is checked as the reader checks a file; nothing in it is run, and errors have a line."""

import sys
import textwrap

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.cli.new_text import NewNetwork, network_text
from streaming_net_ros.network import parse_network, rollout_of
from streaming_net_ros.paths import share_directory
from streaming_net_ros.theory import inference_factor, response_times
from streaming_net_ros.viewer import draft as draft_module
from streaming_net_ros.viewer.draft import MAX_GROUPS, MAX_TEXT, check_draft
from streaming_net_ros.viewer.draft_place import line_of

TEXT = network_text(NewNetwork("car", memory=True))


@pytest.fixture
def check(tmp_path):
    return lambda text, file="car.yaml": check_draft(text, tmp_path, file)


def test_a_right_draft_tells_what_plan_would(check):
    draft = check(TEXT)
    assert (draft["error"], draft["line"], draft["name"]) == ("", None, "car")
    assert draft["drives"] and draft["parameters"] > 1000
    assert [plan["rollout"] for plan in draft["plans"]] == ["streaming", "sequential"]
    rollout = rollout_of(parse_network(yaml.safe_load(TEXT)))
    times = response_times(rollout)["head"]
    own = draft["plans"][0]
    assert own["factor"] == inference_factor(rollout)
    assert own["answers"] == [
        {
            "output": "drive",
            "first_frames": times.first_frames, "first_ms": 50.0 * times.first_frames,
            "full_frames": times.full_frames, "full_ms": 50.0 * times.full_frames,
        }
    ]  # fmt: skip


def test_a_draft_s_structure_and_graph_name_every_node(check):
    draft = check(yaml.safe_dump(TINY))
    inputs, groups, outputs = draft["tree"]
    assert [b["label"] for b in inputs["children"]] == ["image: image, 3 \u00d7 12 \u00d7 16"]
    assert [b["id"] for b in groups["children"]] == ["stem", "memory", "deep", "head"]
    stem = groups["children"][0]
    assert stem["label"] == "stem: 8 \u00d7 6 \u00d7 8, sum of 2"
    assert [b["label"] for b in stem["children"]] == [
        "\u2190 image, delay 1: Conv2d 8", "\u2190 deep, delay 1: Conv2d 8", "then ReLU"
    ]  # fmt: skip
    assert [b["id"] for b in outputs["children"]] == ["outputs.drive", "outputs.features"]
    for node in ("image", "stem", "memory", "deep", "head"):
        assert f'data-node="{node}"' in draft["svg"]


SHIPPED = sorted((share_directory() / "config" / "networks").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_network_is_a_right_draft(path):
    assert check_draft(path.read_text(), path.parent, path.name)["error"] == ""


def line_with(text, words):
    return next(n for n, line in enumerate(text.splitlines(), 1) if words in line)


SPOILED = {
    "an unknown layer": ("Conv2d: {out_channels: 16", "Conf2d: {out_channels: 16", "Conf2d"),
    "an unknown key": ("    colour: rgb", "    color: rgb", "color: rgb"),
    "an unknown source": ("source: layer2", "source: layr2", "source: layr2"),
    "an unknown group": ("group: head", "group: hand", "group: hand"),
    "a value out of range": ("rate_hz: 20", "rate_hz: -3", "rate_hz: -3"),
    "a bad element": ("angular.z: 0, linear.x: 1}", "angular.z: 0, linear.x: 7}", "linear.x: 7"),
    "an unknown argument": ("kernel_size: 5", "kernel: 5", "kernel: 5"),
    "a twice written key": ("    width: 80", "    width: 80\n    width: 90", "    height:"),
    "a shape that does not fit": (
        "      - source: layer3\n        layers:", "      - source: layer3\n        layers: #",
        "Linear",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILED)
def test_an_error_has_the_line_of_what_is_wrong(check, case):
    before, after, words = SPOILED[case]
    text = TEXT.replace(before, after, 1)
    if case == "a shape that does not fit":
        text = TEXT.replace("          - Flatten # Linear takes a vector\n", "", 1)
    assert text != TEXT
    draft = check(text)
    assert draft["error"]
    told = text.splitlines()[draft["line"] - 1]
    if case != "a twice written key":
        assert words in told, (draft["error"], told)


def test_broken_yaml_has_a_line_and_nothing_else_is_told(check):
    draft = check("name: x\ngroups: [\n  - }\n")
    assert "not valid YAML" in draft["error"] and draft["line"] == 3
    assert draft["plans"] == [] and draft["svg"] == ""


def test_what_fails_late_still_shows_structure_and_plan(check):
    draft = check(TEXT.replace("kernel_size: 5", "kernel_size: 5000", 1))
    assert "this layer cannot take the state" in draft["error"]
    assert len(draft["plans"]) == 2 and draft["tree"] and "data-node" in draft["svg"]


def test_a_group_that_a_repetition_wrote_has_the_line_of_the_repetition():
    text = textwrap.dedent("""\
        name: x
        groups:
          - name: h0
          - repeat: {i: [1, 3]}
            name: h{i}
            edges:
              - source: h{i-1}
        """)
    assert line_of(text, "group h2: edge h1 -> h2: layers[0].Conf2d: unknown layer") == 4
    assert line_of(text, "groups[2].edges[0].layr: unknown key") == 2
    assert line_of(text, "line 7: not valid YAML") == 7
    assert line_of("]", "groups[2]: x") is None
    assert line_of("- a", "groups[2]: x") is None


def test_a_factory_is_never_imported(check, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_factory.py").write_text("raise SystemExit('imported')")
    content = {**TINY, "groups": [*TINY["groups"][:3]]}
    made = {"name": "head", "edges": [{"source": "deep"}], "factory": "evil_factory:make",
            "shape": [2]}  # fmt: skip
    text = yaml.safe_dump({**content, "groups": [*content["groups"], made]})
    draft = check(text)
    assert "a factory is Python code of yours, which no page may run" in draft["error"]
    assert text.splitlines()[draft["line"] - 1].strip().startswith("factory")
    assert "evil_factory" not in sys.modules
    assert draft["plans"]


@pytest.mark.parametrize("key", ["base", "weights"])
@pytest.mark.parametrize("named", ["/etc/passwd", "../secret.yaml", "link.yaml", "\0"])
def test_no_file_outside_of_the_folder_is_opened(tmp_path, key, named):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.yaml").write_text("name: secret_word")
    (root / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    draft = check_draft(yaml.safe_dump({**TINY, key: named}), root, "car.yaml")
    assert "must lie below the viewer's folder" in draft["error"]
    assert "secret_word" not in draft["error"]


@pytest.mark.parametrize("named", ["../secret.yaml", "link.yaml"])
def test_no_base_of_a_base_is_opened_outside_of_the_folder(tmp_path, named):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.yaml").write_text("secret_word: [")
    (root / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (root / "lower.yaml").write_text(yaml.safe_dump({"base": named, "name": "lower"}))
    draft = check_draft("base: lower.yaml\nname: mine\n", root, "car.yaml")
    assert "a base must lie below the folder" in draft["error"]
    assert "secret_word" not in draft["error"] and str(tmp_path) not in draft["error"]


def test_weights_that_are_not_there_are_told_and_no_error(check, tmp_path):
    text = TEXT + "weights: car.safetensors\n"
    assert (check(text)["error"], check(text)["missing"]) == ("", "car.safetensors")
    (tmp_path / "car.safetensors").touch()
    assert check(text)["missing"] == ""


def test_a_base_below_the_folder_is_read(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    draft = check_draft("base: tiny.yaml\nname: mine\n", tmp_path, "car.yaml")
    assert (draft["error"], draft["name"]) == ("", "mine")
    draft = check_draft("base: tiny.yaml\nrate_hz: x\n", tmp_path, "sub/../car.yaml")
    assert "rate_hz" in draft["error"] and str(tmp_path) not in draft["error"]


def test_a_draft_that_is_too_large_is_refused_in_words(check):
    assert "too long for this page" in check("#" * (MAX_TEXT + 1))["error"]
    many = textwrap.dedent(f"""\
        name: many
        rate_hz: 1
        inputs: {{image: {{type: image, height: 8, width: 8}}}}
        groups:
          - {{name: g0, edges: [{{source: image}}]}}
          - repeat: {{i: [1, {MAX_GROUPS}]}}
            name: g{{i}}
            edges: [{{source: "g{{i-1}}"}}]
        outputs: {{last: {{group: g0}}}}
        """)
    assert "too many groups for this page" in check(many)["error"]


def test_edges_are_counted_before_anything_is_planned(check, monkeypatch):
    monkeypatch.setattr(draft_module, "MAX_EDGES", 2)
    monkeypatch.setattr(draft_module, "lay_out", None)
    assert "too many edges for this page" in check(TEXT)["error"]


HOSTILE = [
    "", "\0", "a", "- 1", "&a [*a]", "name: &x [*x, *x]", "!!python/object/apply:os.system [ls]",
    "? {a: b}\n: c", "[" * 500, "{a: " * 500, "name: \ud800",
    "a: &a [x,x]\n" + "\n".join(f"b{i}: &b{i} [*a,*a]" for i in range(40)),
    "base: [1]", "base: {a: b}", "weights: 3", "constants: 7", "blocks: []",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_draft_gives_an_error_and_nothing_more(check, text):
    draft = check(text)
    assert draft["error"]
    assert "Traceback" not in draft["error"] and "\n" not in draft["error"].strip()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_spoiled_text_gives_an_outcome(tmp_path_factory, data):
    lines = TEXT.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(
            st.sampled_from(["", lines[at][3:], lines[at] + " {", "x: [", "- 1"])
        )
    draft = check_draft("\n".join(lines), tmp_path_factory.getbasetemp(), "car.yaml")
    assert draft["line"] is None or 1 <= draft["line"] <= len(lines) + 1
    assert draft["error"] or draft["plans"]
