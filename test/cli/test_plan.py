"""The verb ``plan``: what it prints is what theory says, in three forms, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from networks import TINY
from strategies import POSTER, POSTER_MARKED, cifar_dsr, network
from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.plan_text import ages_told, number_told
from streaming_net_ros.network import read_network_file, rollout_of, state_shapes
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import (
    Ages,
    count_valid_rollouts,
    format_table,
    format_tableau,
    inference_factor,
    lemma1_bounds,
    light_cone,
    parse_table,
    response_times,
    streaming,
    tableau,
)


def as_file(graph, rollout="streaming"):
    """A network of single numbers with the shape of a graph."""
    number = {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
    edges = {
        group: [
            {"source": e.source} | ({} if e.delay is None else {"delay": e.delay})
            for e in graph.edges_into(group)
        ]
        for group in graph.groups
    }
    return {
        "name": graph.name,
        "rate_hz": 30,
        "inputs": dict.fromkeys(graph.inputs, number),
        "groups": [{"name": name, "edges": into} for name, into in edges.items()],
        "outputs": {name: {"group": name} for name in graph.outputs},
        "rollout": rollout,
    }


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def write(tmp_path):
    def write(content, name="network.yaml"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


@pytest.fixture
def told(capsys):
    """Run the verb; what it printed. Nothing may go to stderr."""

    def told(*arguments):
        assert main(["plan", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return told


@pytest.fixture
def refused(capsys):
    """Run the verb on bad input: exit code 2 and one line on stderr, which is returned."""

    def refused(*arguments):
        assert main(["plan", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    return refused


def networks():
    hybrid = {"base": "sequential", "delays": {"h1 -> h2": 1, "h2 -> hd": 2}}
    two = network("camera>eye odometry>body eye>b body>b b>b b>w eye>w:0", name="two")
    return {
        "tiny": TINY,
        "half": {**TINY, "state_dtype": "float16"},
        "poster": as_file(POSTER_MARKED),
        "dsr3": as_file(cifar_dsr(3), hybrid),
        "two": as_file(two),
    }


@pytest.mark.parametrize("content", networks().values(), ids=networks())
def test_json_says_what_theory_says(told, write, content):
    path = write(content)
    spec = read_network_file(path)
    data = json.loads(told(path, "--json"))
    count, bounds = count_valid_rollouts(spec.graph), lemma1_bounds(spec.graph)
    assert data["valid_rollouts"] == dict(
        zip(("count", "lower", "upper"), (count, *bounds), strict=True)
    )
    assert data["outputs"] == {name: out.group for name, out in spec.outputs.items()}
    names = [rollout["name"] for rollout in data["rollouts"]]
    assert names == list(dict.fromkeys([rollout_of(spec).name, "streaming", "sequential"]))
    for shown, choice in zip(data["rollouts"], [None, *names[1:]], strict=True):
        rollout = rollout_of(spec, choice)
        assert shown["delays"] == {f"{u} -> {v}": d for (u, v), d in rollout.delays.items()}
        assert shown["inference_factor"] == inference_factor(rollout)
        if rollout.max_delay == 1:  # Theorem 1, even where the file fixes a delay of 0
            assert shown["equally_model_parallel"] == (shown["inference_factor"] == 1)
        assert shown["is_streaming"] == rollout.is_streaming
        assert shown["max_delay"] == rollout.max_delay
        frames = len(next(iter(shown["tableau"].values())))
        steps = tableau(rollout, frames - 1)
        assert shown["tableau"] == {
            group: [steps[frame, group] for frame in range(frames)] for group in spec.graph.groups
        }
        for output, times in shown["responses"].items():
            right = response_times(rollout)[spec.outputs[output].group]
            assert times["group"] == right.output
            for key in ("first_frames", "full_frames", "first_step", "period_steps"):
                assert times[key] == getattr(right, key)
            assert times["ages"] == {
                name: {"delays": list(ages.delays), "is_recurrent": ages.is_recurrent}
                for name, ages in right.ages.items()
            }
            assert times["first_ms"] == pytest.approx(right.first_frames * data["period_ms"])
            assert times["full_ms"] == pytest.approx(right.full_frames * data["period_ms"])


@pytest.mark.parametrize("name", ["tiny", "half"])
def test_json_gives_every_state_its_shape_and_its_bytes_on_the_wire(told, write, name):
    path = write(networks()[name])
    data = json.loads(told(path, "--json"))
    shapes = state_shapes(read_network_file(path))
    for node in data["inputs"] + data["groups"]:
        assert tuple(node["shape"]) == shapes[node["name"]]
    assert data["inputs"] == [{"name": "image", "shape": [3, 12, 16], "bytes": 576}]  # 8-bit
    stem = data["groups"][0]
    assert stem["sources"] == ["image", "deep"]
    assert stem["bytes"] == 8 * 6 * 8 * (2 if name == "half" else 4)


def rows(text, block):
    """The lines of one block by their label, each cut into its columns."""
    lines = text.split(f"{block}:", 1)[1].split("\n\n")[0].splitlines()
    cut = [re.split(r"\s{2,}", line.strip()) for line in lines]
    return [(row[0], row[1:]) for row in cut]


def test_the_text_of_the_pilot_tells_every_number(told):
    text, data = told("pilot"), json.loads(told("pilot", "--json"))
    assert max(map(len, text.splitlines())) <= 80
    states = dict(rows(text, "States"))
    for node in data["inputs"] + data["groups"]:
        shape, kibibytes, *_ = states[node["name"]]
        assert shape == " x ".join(map(str, node["shape"]))
        size = node["bytes"] / 1024
        assert kibibytes == (f"{size:.1f}" if size >= 0.05 else "<0.1")
    responses = iter(rows(text, "Responses"))
    shown = data["rollouts"]

    def cells(label):
        return next(cells for row, cells in responses if row == label)

    for output in data["outputs"]:
        next(row for row, _ in responses if row.split(" (")[0] == output)
        times = [rollout["responses"][output] for rollout in shown]
        for kind in ("first", "full"):
            right = [(t[f"{kind}_frames"], f"{t[f'{kind}_ms']:g} ms") for t in times]
            got = [
                re.fullmatch(r"(\d+) frames?, (.*)", cell) for cell in cells(f"{kind} response")
            ]
            assert [(int(cell[1]), cell[2]) for cell in got] == right
        ages = [
            ages_told(
                Ages(tuple(t["ages"]["image"]["delays"]), t["ages"]["image"]["is_recurrent"])
            )
            for t in times
        ]
        assert cells("ages of image") == ages
        assert cells("first update step") == [str(t["first_step"]) for t in times]
        assert [int(c.split()[0]) for c in cells("response period")] == [
            t["period_steps"] for t in times
        ]
    assert cells("inference factor") == [str(r["inference_factor"]) for r in shown]
    parallel = ["yes" if r["equally_model_parallel"] else "no" for r in shown]
    assert cells("equally model-parallel") == parallel
    assert [int(c.split()[0]) for c in cells("longest delay")] == [r["max_delay"] for r in shown]
    found = data["valid_rollouts"]
    assert f"{found['count']:,} of {2 ** len(shown[0]['delays']):,} patterns" in text
    assert f"{found['lower']:,} to {found['upper']:,}" in text


@pytest.mark.parametrize("content", networks().values(), ids=networks())
def test_the_text_holds_every_tableau_and_fits_the_terminal(told, write, content):
    path = write(content)
    text = told(path)
    spec = read_network_file(path)
    assert max(map(len, text.splitlines())) <= 80
    for shown in json.loads(told(path, "--json"))["rollouts"]:
        frames = len(next(iter(shown["tableau"].values())))
        choice = shown["name"] if shown["name"] in ("streaming", "sequential") else None
        for line in format_tableau(rollout_of(spec, choice), frames - 1).splitlines():
            assert line in text


def test_tableaus_that_are_too_wide_are_cut_and_say_so(told, write):
    text = told(write(TINY), "--frames", 60)
    assert re.search(r"frames 0 to \d+ of 60", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("choice", [(), ("--rollout", "streaming"), ("--rollout", "sequential")])
def test_the_table_is_nothing_but_the_rollout_and_reads_back(told, write, choice):
    spec = read_network_file(find_network("pilot"))
    text = told("pilot", "--table", *choice)
    rollout = rollout_of(spec, *choice[1:])
    assert text == format_table(rollout)
    assert parse_table(text, spec.graph) == rollout


def test_an_edited_table_is_planned_under_a_heading_that_names_its_file(told, write):
    printed = told("pilot", "--table")
    path = write(re.sub(r"(stem -> steer +)1", r"\g<1>3", printed), "my.rollout")
    data = json.loads(told("pilot", "--rollout", "streaming", "--rollout", path, "--json"))
    plain, edited = data["rollouts"]
    assert (plain["name"], edited["name"]) == ("streaming", "streaming (my.rollout)")
    assert edited["delays"] == {**plain["delays"], "stem -> steer": 3}
    assert edited["max_delay"] == 3
    assert told("pilot", "--rollout", path, "--table") == Path(path).read_text()


def test_no_rollout_is_there_twice(told, write):
    path = write(told("pilot", "--table"), "same.rollout")
    choices = ["--rollout", "streaming", "--rollout", path, "--rollout", "streaming"]
    assert len(json.loads(told("pilot", *choices, "--json"))["rollouts"]) == 1


def test_a_network_without_a_sequential_rollout_says_why(told, write):
    path = write(as_file(POSTER))
    data = json.loads(told(path, "--json"))
    assert [rollout["name"] for rollout in data["rollouts"]] == ["streaming"]
    assert "no delay on the cycle" in data["left_out"]["sequential"]
    assert "sequential is left out: " in told(path)


def test_a_chosen_rollout_that_the_network_does_not_have_is_refused(refused, write):
    err = refused(write(as_file(POSTER)), "--rollout", "sequential")
    assert "rollout sequential of poster: no delay on the cycle" in err


def test_rollouts_that_are_too_many_to_count_keep_their_bounds(told, write):
    ring = [f"g{i}>g{(i + 1) % 17}" for i in range(17)]
    path = write(as_file(network(" ".join(["image>g0", *ring]), outputs=("g5",))))
    found = json.loads(told(path, "--json"))["valid_rollouts"]
    # The one cycle takes every pattern but all zeros; the edge into it is free.
    assert found == {"count": None, "lower": 2**17 - 1, "upper": 2**18}
    text = told(path)
    assert "not counted (too many groups on common cycles) of 262,144 patterns" in text
    assert "131,071 to 262,144" in text


def test_another_rate_changes_milliseconds_and_no_frames(told):
    slow, fast = (
        json.loads(told("pilot", "--json", "--rate-hz", rate))["rollouts"][0]["responses"]["drive"]
        for rate in (10, 40)
    )
    assert slow["first_frames"] == fast["first_frames"]
    assert slow["full_ms"] == 4 * fast["full_ms"] == slow["full_frames"] * 100


def test_frames_are_as_many_as_asked_for(told):
    for shown in json.loads(told("pilot", "--json", "--frames", 9))["rollouts"]:
        assert {len(row) for row in shown["tableau"].values()} == {9}


def test_default_frames_go_three_beyond_the_full_response_and_are_bounded(told, write):
    def frames(path):
        (row, *_) = json.loads(told(path, "--json"))["rollouts"][0]["tableau"].values()
        return len(row)

    assert frames(write(TINY)) == 4 + 3
    chain = network(" ".join(["image>g0"] + [f"g{i}>g{i + 1}" for i in range(40)]))
    assert frames(write(as_file(chain))) == 16


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        (Ages((2,), False), "2"),
        (Ages((2, 4), True), "2, 4 and older (recurrent)"),
        (Ages((1, 2, 4, 5, 6, 9), False), "1, 2, 4 to 6, 9"),
    ],
)
def test_ages_are_told_in_words(ages, words):
    assert ages_told(ages) == words


def test_numbers_of_any_size_stay_readable():
    told = [number_told(value) for value in (0, 33.333, 66.6666, 50.0, 4194304, 2**2000)]
    assert told == ["0", "33.3", "66.7", "50", "4,194,304", "1.14e602"]


def test_an_unknown_network_is_refused_with_the_shipped_ones(refused):
    assert "nope: no such network file" in refused("nope")


def test_a_broken_network_file_is_refused_with_its_place(refused, write):
    broken = {**TINY, "outputs": {"drive": {"group": "haed"}}}
    err = refused(write(broken, "broken.yaml"))
    assert "broken.yaml" in err
    assert "did you mean 'head'?" in err


def test_a_broken_rollout_file_is_refused_with_file_and_line(refused, told, write):
    path = write(told("pilot", "--table").replace("stem -> steer", "stem -> ster"), "b.rollout")
    err = refused("pilot", "--rollout", path)
    assert "b.rollout: rollout table, line 8: no such edge" in err
    assert "nowhere.rollout: not a rollout" in refused("pilot", "--rollout", "nowhere.rollout")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--picture", "a.gif"),
            "--picture: not a kind of picture: expected .svg or .png, got a.",
        ),
        (("--picture", "nowhere/a.svg"), "nowhere/a.svg: cannot write the picture"),
        (("--output", "brake"), "--output: no such output of pilot: expected one of drive, road"),
        (("--frames", "1"), "--frames: bad number of frames: expected 2 to 100, got 1"),
        (("--frames", "101"), "--frames: bad number of frames: expected 2 to 100, got 101"),
        (("--rate-hz", "0"), "rate_hz: not a frame rate"),
        (("--table", "--json"), "--table, --json: choose one of two prints"),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(
    refused, monkeypatch, tmp_path, arguments, line
):
    monkeypatch.chdir(tmp_path)
    assert line in refused("pilot", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tiny", "poster", "dsr3", "two"])
def test_pictures_are_written_and_svg_is_the_same_byte_for_byte(told, write, tmp_path, name):
    path = write(networks()[name])
    pictures = [tmp_path / file for file in ("a.svg", "b.SVG", "c.png")]
    for picture in pictures:
        assert f"Picture: {picture.name}" in told(path, "--picture", picture).replace(
            f"{tmp_path}/", ""
        )
    svg, again, png = (picture.read_bytes() for picture in pictures)
    assert svg == again
    assert b"</svg>" in svg
    assert png.startswith(b"\x89PNG")


def test_with_json_a_picture_adds_nothing_to_the_output(told, tmp_path):
    plain = told("pilot", "--json")
    assert told("pilot", "--json", "--picture", tmp_path / "a.svg") == plain


@pytest.mark.parametrize("output", ["drive", "road"])
def test_the_picture_lights_exactly_the_cone_of_states_that_exist(output):
    from matplotlib.colors import to_hex

    from streaming_net_ros.cli.plan_data import make_plan
    from streaming_net_ros.cli.plan_picture import CONE, draw_plan

    planned = make_plan("pilot", ["streaming"])
    _, window = draw_plan(planned, output).axes
    names = [label.get_text() for label in window.get_yticklabels()]
    colours = {}
    for line in window.lines:
        if line.get_fillstyle() == "full":
            cell = (int(line.get_xdata()[0]), names[int(line.get_ydata()[0])])
            colours[cell] = to_hex(line.get_color())
    rollout, last = planned.rollouts["streaming"], planned.frames - 1
    assert len(colours) == planned.frames * len(rollout.graph.nodes)
    # Before an image has come all the way, a state does not exist and influences nobody.
    exist = {"image": 0, "stem": 1, "shape": 2, "scene": 3, "road": 4, "steer": 2}
    cone = light_cone(rollout, planned.spec.outputs[output].group, last, last)
    lit = {cell for cell, colour in colours.items() if colour == CONE.lower()}
    assert lit == {(frame, node) for frame, node in cone if frame >= exist[node]}
    hollow = {cell for cell, colour in colours.items() if colour == "#ffffff"}
    assert hollow == {cell for cell in colours if cell[0] < exist[cell[1]]}


def test_streaming_is_not_repeated_beside_a_file_that_streams(told, write):
    spec = read_network_file(write(TINY))
    assert rollout_of(spec) == streaming(spec.graph)
    data = json.loads(told(spec.path, "--json"))
    assert [rollout["name"] for rollout in data["rollouts"]] == ["streaming", "sequential"]


def test_importing_the_verb_loads_no_torch_no_ros_and_no_matplotlib():
    code = (
        "import sys, streaming_net_ros.cli.plan; "
        "print([m for m in ('torch', 'rclpy', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={"PYTHONPATH": "src"}, check=True,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name, tip", [("drive", ("head", 8)), ("image", ("image", 0))])
def test_a_cone_can_be_drawn_alone(told, write, tmp_path, name, tip):
    picture = tmp_path / "cone.svg"
    told(write(TINY), "--cone", name, "--picture", picture, "--frames", 9)
    (marks,) = re.findall(
        r'class="cell ([^"]*tip[^"]*)" data-node="(\w+)" data-frame="(\d+)"', picture.read_text()
    )
    assert (marks[1], int(marks[2])) == tip


def test_a_cone_of_nothing_or_without_a_picture_is_refused(refused, write, tmp_path):
    path = write(TINY)
    assert "--cone: a cone is a picture" in refused(path, "--cone", "drive")
    assert "--cone: a cone is a picture" in refused(path, "--cone", "drive", "--picture", "x.png")
    told = refused(path, "--cone", "stem", "--picture", tmp_path / "cone.svg")
    assert "no such output or input of tiny: expected one of drive, features, image" in told
