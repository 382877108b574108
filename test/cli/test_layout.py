"""``streaming-net layout``: what it writes can be read, and shows topics that the network has."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from networks import GOLDEN_TOY
from streaming_net_ros.cli.app import main
from streaming_net_ros.network import read_network_file
from streaming_net_ros.network.measured import measured_names
from streaming_net_ros.paths import find_network

NETWORKS = ["pilot", "digits_sr", "tiny"]


@pytest.fixture
def network(request, write_network, tiny):
    """Path of a network: a shipped one, or the tiny one with two drivers and limits."""
    if request.param != "tiny":
        return find_network(request.param)
    tiny["outputs"] |= {
        "arm": {
            "group": "memory", "publish": "twist", "fields": {"linear.x": 0, "angular.y": 1},
            "max_age_ms": 150, "max_held": 0.5, "safe": {"linear.x": 0, "angular.y": 0},
        }
    }  # fmt: skip
    return write_network(tiny)


def written(path, folder, *more):
    """Both layouts of a network, as they are read."""
    files = folder / "layout.json", folder / "layout.xml"
    arguments = ["--foxglove", files[0], "--plotjuggler", files[1], *more]
    assert main(["layout", str(path), *map(str, arguments)]) == 0
    return json.loads(files[0].read_text()), ElementTree.parse(files[1]).getroot()


def plots(foxglove):
    return {k: v for k, v in foxglove["configById"].items() if k.startswith("Plot!")}


def is_line(path):
    return path["value"][0].isdigit()


def foxglove_curves(foxglove):
    """(topic, field) of every curve."""
    paths = [path for plot in plots(foxglove).values() for path in plot["paths"]]
    return [tuple(path["value"].split(".", 1)) for path in paths if not is_line(path)]


def plotjuggler_curves(root):
    return [curve.get("name") for curve in root.iter("curve")]


def offered(spec, namespace):
    """(topic, field) of every number that a network tells and that can be plotted."""
    debug = {(f"{namespace}/debug/{name}", "vector.x") for name in measured_names(spec)}
    return debug | {
        (f"{namespace}/response/{name}", f"twist.{field}")
        for name, output in spec.outputs.items()
        for field in output.fields
    }


def panels_in(tree, configs):
    """Panels that a layout's tree leads to, tabs included."""
    if isinstance(tree, dict):
        assert tree["direction"] in ("row", "column") and 0 < tree["splitPercentage"] < 100
        return panels_in(tree["first"], configs) + panels_in(tree["second"], configs)
    assert tree in configs, tree
    tabs = configs[tree].get("tabs", [])
    return [tree, *(panel for tab in tabs for panel in panels_in(tab["layout"], configs))]


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_everything_that_a_network_tells_is_plotted_once_and_nothing_else(network, tmp_path):
    spec = read_network_file(network)
    foxglove, plotjuggler = written(network, tmp_path, "--namespace", "robot/eyes")
    expected = offered(spec, "/robot/eyes")
    curves = foxglove_curves(foxglove)
    assert len(curves) == len(set(curves)) and set(curves) == expected
    names = plotjuggler_curves(plotjuggler)
    flat = {f"{topic}/{field.replace('.', '/')}" for topic, field in expected}
    assert len(names) == len(set(names)) and set(names) == flat


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_the_tree_of_the_foxglove_layout_shows_every_panel_once(network, tmp_path):
    foxglove, _ = written(network, tmp_path)
    configs = foxglove["configById"]
    shown = panels_in(foxglove["layout"], configs)
    assert sorted(shown) == sorted(configs)
    assert configs["DiagnosticSummary!all"]["topicToRender"] == "/diagnostics"
    for plot in plots(foxglove).values():
        assert plot["foxglovePanelTitle"].endswith(")"), "a title tells the unit"
        labels = [path["label"] for path in plot["paths"]]
        assert len(labels) == len(set(labels)), labels


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_plotjuggler_subscribes_to_what_it_plots(network, tmp_path):
    _, root = written(network, tmp_path)
    streamer = root.find("previouslyLoaded_Streamer").get("name")
    (plugin,) = root.iterfind("Plugins/plugin")
    topics = plugin.find("selected_topics").get("value").split(";")
    assert streamer == plugin.get("ID") == "ROS2 Topic Subscriber"
    assert len(topics) == len(set(topics)) and "/diagnostics" in topics
    for name in plotjuggler_curves(root):
        assert sum(name.startswith(f"{topic}/") for topic in topics) == 1, name
    for splitter in root.iter("DockSplitter"):
        assert len(splitter) == int(splitter.get("count")) == len(splitter.get("sizes").split(";"))
        for area in splitter:
            assert [child.tag for child in area] == ["plot"] and area.get("name").endswith(")")


@pytest.mark.parametrize("network", ["tiny"], indirect=True)
def test_the_plots_show_the_limits_of_the_file(network, tmp_path):
    foxglove, _ = written(network, tmp_path)
    lines = {
        path["label"]: float(path["value"])
        for plot in plots(foxglove).values()
        for path in plot["paths"]
        if is_line(path)
    }
    assert lines == {
        "period at 30 Hz": pytest.approx(1e3 / 30, rel=1e-3),
        "max_age_ms of arm": 150,
    }


@pytest.mark.parametrize(
    "given, topic",
    [
        ([], "/tiny/image"),
        (["--namespace", "/eyes/"], "/eyes/image"),
        (["--namespace", "/"], "/image"),
        (["--image-topic", "/camera/image_raw/compressed"], "/camera/image_raw/compressed"),
        (["--image-topic", "camera"], "/tiny/camera"),
    ],
)
def test_the_camera_is_shown_where_it_publishes(given, topic, write_network, tiny, tmp_path):
    foxglove, _ = written(write_network(tiny), tmp_path, *given)
    assert foxglove["configById"]["Image!camera0"]["imageMode"]["imageTopic"] == topic


def test_a_network_without_a_camera_has_no_image(write_network, tmp_path):
    foxglove, _ = written(write_network(GOLDEN_TOY), tmp_path)
    assert not [panel for panel in foxglove["configById"] if panel.startswith("Image!")]


WRONG = {
    "nothing to write": ([], "what to write?"),
    "one file for two": (["--foxglove", "a", "--plotjuggler", "a"], "cannot be one file"),
    "no such folder": (["--foxglove", "none/a.json"], "cannot be written"),
    "a namespace that is none": (["--foxglove", "a", "--namespace", "a b"], "not a ROS name"),
    "a topic that is none": (["--foxglove", "a", "--image-topic", "/a//b"], "not a ROS name"),
    "no such network": (["--foxglove", "a"], "network"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gives_one_clear_error_and_no_file(case, write_network, tiny, tmp_path, capsys,
                                                     monkeypatch):  # fmt: skip
    given, expected = WRONG[case]
    path = "nonesuch" if case == "no such network" else write_network(tiny)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert main(["layout", str(path), *given]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and expected in told and told.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_camera_topic_of_a_network_without_a_camera_is_an_error(write_network, tmp_path, capsys):
    path = write_network(GOLDEN_TOY)
    given = ["--foxglove", str(tmp_path / "a"), "--image-topic", "/camera"]
    assert main(["layout", str(path), *given]) == 2
    assert "no camera" in capsys.readouterr().err and not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", ["--foxglove", "--plotjuggler"])
def test_no_file_is_written_over_and_none_beside_it(kind, write_network, tiny, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    other = {"--foxglove": "--plotjuggler", "--plotjuggler": "--foxglove"}[kind]
    given = [other, str(tmp_path / "new"), kind, str(tmp_path / "mine")]
    assert main(["layout", str(write_network(tiny)), *given]) == 2
    assert "will not write over" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "new").exists()


@pytest.mark.ros
def test_a_running_network_offers_exactly_the_topics_of_the_layout(
    write_network, tiny, namespace, tmp_path
):
    from harness import composed

    path = write_network(tiny)
    foxglove, _ = written(path, tmp_path, "--namespace", namespace)
    with composed(path, namespace, mode="realtime") as (container, _):
        told = {topic for m in container.members for topic, _ in own_topics(m)}
    shown = {topic for topic, _ in foxglove_curves(foxglove)}
    assert {topic for topic in told if "/debug/" in topic} == {
        topic for topic in shown if "/debug/" in topic
    }
    assert shown <= told


def own_topics(node):
    """What a node itself publishes."""
    return node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace())
