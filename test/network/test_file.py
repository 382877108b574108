"""Network files: what they can say, and that whatever is wrong is told in one line."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml

from networks import TINY
from streaming_net_ros.errors import NetworkFileError, RolloutError, StreamingNetError
from streaming_net_ros.frames import Deadline, FrameGrid, Period
from streaming_net_ros.network import (
    StreamingNetwork,
    parse_network,
    read_network_file,
    rollout_of,
    rules_of,
    state_shapes,
)
from streaming_net_ros.theory import format_table, sequential


def test_a_file_gives_the_shape_of_every_state(write_network):
    spec = read_network_file(write_network(TINY))
    assert state_shapes(spec) == {
        "image": (3, 12, 16), "stem": (8, 6, 8), "memory": (8, 6, 8), "deep": (8, 6, 8),
        "head": (2,),
    }  # fmt: skip
    assert str(spec.graph.edge("deep", "stem")) == "deep -> stem"
    assert spec.graph.edge("deep", "stem").delay == 1


def test_a_file_is_frozen():
    spec = parse_network(TINY)
    with pytest.raises(ValueError, match="frozen"):
        spec.rate_hz = 5


REPEATED = """
name: chain
rate_hz: 30
constants: {width: 4}
blocks:
  conv: [{Conv2d: {out_channels: $width, kernel_size: 3, padding: 1}}, ReLU]
inputs: {image: {type: image, height: 8, width: 8}}
groups:
  - name: h0
    edges: [{source: image, layers: [block: conv]}]
  - repeat: {i: [1, 3]}
    name: h{i}
    edges:
      - repeat: {j: [0, "{i-1}"]}
        source: h{j}
        layers: [block: conv]
outputs: {last: {group: h3}}
"""


def test_repetition_writes_a_dense_chain_in_a_few_lines(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(REPEATED)
    spec = read_network_file(path)
    assert [group.name for group in spec.groups] == ["h0", "h1", "h2", "h3"]
    assert [edge.source for edge in spec.group("h3").edges] == ["h0", "h1", "h2"]
    assert state_shapes(spec)["h3"] == (4, 8, 8)


def test_uses_of_a_block_have_weights_of_their_own(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(REPEATED)
    edges = StreamingNetwork(read_network_file(path)).group("h3").edges
    assert not torch.equal(edges["h0"][0].weight, edges["h1"][0].weight)


def test_merges_sum_multiply_and_concatenate(tiny):
    for merge, expected in (("sum", 5.0), ("product", 6.0), ("concat", None)):
        content = {
            "name": "merge",
            "rate_hz": 1,
            "inputs": {
                n: {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
                for n in ("left", "right")
            },
            "groups": [
                {
                    "name": "m",
                    "merge": merge,
                    "edges": [{"source": "left", "delay": 0}, {"source": "right", "delay": 1}],
                }
            ],
            "outputs": {"m": {"group": "m"}},
        }
        network = StreamingNetwork(parse_network(content))
        given = {"left": torch.tensor([[2.0]]), "right": torch.tensor([[3.0]])}
        state, first = network.step(network.init_state(), given)
        _, second = network.step(state, given)
        # What does not exist contributes nothing: to a sum, a product, and as zeros to a concat.
        assert first["m"].tolist() == ([[2.0, 0.0]] if merge == "concat" else [[2.0]])
        assert second["m"].tolist() == ([[2.0, 3.0]] if merge == "concat" else [[expected]])


def test_a_factory_makes_a_group(tiny):
    tiny["groups"][2] = {
        "name": "deep",
        "edges": [{"source": "memory"}],
        "factory": "jittery:group",
        "args": {"channels_in": [8], "channels": 8, "most_ms": 0.0},
        "shape": [8, 6, 8],
    }
    network = StreamingNetwork(parse_network(tiny)).eval()
    state = network.init_state()
    for _ in range(5):
        state, out = network.step(state, {"image": torch.zeros(1, 3, 12, 16)})
    assert out["features"].shape == (1, 8, 6, 8)


def test_inputs_are_normalised_per_channel(tiny):
    tiny["groups"] = [{"name": "stem", "edges": [{"source": "image"}]}]
    tiny["outputs"] = {"s": {"group": "stem"}}
    network = StreamingNetwork(parse_network(tiny))
    image = torch.full((1, 3, 12, 16), 51, dtype=torch.uint8)
    state, _ = network.step(network.init_state(), {"image": image})
    _, out = network.step(state, {})
    expected = [(0.2 - m) / s for m, s in ((0.4, 0.2), (0.5, 0.2), (0.6, 0.25))]
    assert torch.allclose(out["s"][0, :, 0, 0], torch.tensor(expected))


def test_an_edge_may_have_a_wait_and_a_hold_of_its_own(tiny):
    tiny["groups"][3]["edges"][1] |= {"wait_periods": 0.25, "hold_frames": 2}
    tiny["groups"][2] |= {"every": 4, "offset": 3}
    spec = parse_network(tiny)
    grid = FrameGrid(10)
    rules = rules_of(spec, rollout_of(spec), Deadline(grid, grid.period_ns, 10))
    waits = {s: (d.wait_ns, d.hold_limit_frames) for s, d in rules["head"].deadlines.items()}
    assert waits == {"stem": (100_000_000, 10), "deep": (25_000_000, 2)}
    assert rules["deep"].period == Period(4, 3) and rules["head"].period == Period()
    assert rules_of(spec, rollout_of(spec))["deep"].period == Period(4, 3)


def test_a_hybrid_rollout_names_the_edges_that_differ(tiny):
    tiny["rollout"] = {"base": "sequential", "delays": {"stem -> head": 2, "memory -> deep": 1}}
    rollout = rollout_of(parse_network(tiny))
    assert rollout.delay("stem", "head") == 2 and rollout.delay("image", "stem") == 0
    assert rollout.delay("deep", "stem") == 1  # fixed in the file


def test_a_rollout_table_chooses_the_delays(tiny, tmp_path):
    spec = parse_network(tiny)
    path = tmp_path / "mine.rollout"
    path.write_text(format_table(sequential(spec.graph)))
    assert rollout_of(spec, path) == sequential(spec.graph)


@pytest.mark.parametrize("choice", ["sideways", "/no/such/table"])
def test_a_choice_that_is_no_rollout_is_refused(choice):
    with pytest.raises(RolloutError, match="not a rollout"):
        rollout_of(parse_network(TINY), choice)


BASE = {**yaml.safe_load(REPEATED), "constants": {"width": 4, "last": 3}}
BASE["groups"][1]["repeat"]["i"] = [1, "$last"]
BASE["outputs"] = {"first": {"group": "h0"}}


def test_a_file_on_a_base_reads_as_if_it_were_written_whole(write_network):
    own = {"name": "other", "rate_hz": 5, "outputs": {"third": {"group": "h3"}}}
    write_network(BASE, "base.yaml")
    spec = read_network_file(write_network({"base": "base.yaml", **own}))
    whole = read_network_file(write_network({**BASE, **own}, "whole.yaml"))
    assert spec.model_copy(update={"path": whole.path}) == whole
    assert list(spec.outputs) == ["third"]  # replaced whole, not merged
    assert spec.path.name == "network.yaml"


def test_constants_are_merged_by_name_and_write_out_the_base(write_network):
    write_network(BASE, "base.yaml")
    spec = read_network_file(write_network({"base": "base.yaml", "constants": {"last": 5}}))
    assert [group.name for group in spec.groups] == ["h0", "h1", "h2", "h3", "h4", "h5"]
    assert state_shapes(spec)["h5"] == (4, 8, 8)  # the base's width


def test_constants_of_a_call_win_over_those_of_the_file_and_of_its_base(write_network):
    base = write_network(BASE, "base.yaml")
    path = write_network({"base": "base.yaml", "constants": {"last": 1}})
    shapes = state_shapes(read_network_file(path, constants={"last": 2, "width": 6}))
    assert shapes["h2"] == (6, 8, 8) and "h3" not in shapes
    assert len(read_network_file(path).groups) == 2  # that call's own
    assert len(read_network_file(base, constants={"last": 0}).groups) == 1


@pytest.mark.parametrize("on", [{}, {"base": "base.yaml"}])
def test_a_constant_of_a_call_that_the_file_does_not_know_is_refused(on, write_network):
    write_network(BASE, "base.yaml")
    path = write_network(on or BASE)
    with pytest.raises(NetworkFileError) as error:
        read_network_file(path, constants={"widht": 8})
    assert str(error.value) == (
        f"{path}: constant 'widht' is not one of the file's: expected one of last, width; "
        "did you mean 'width'?"
    )
    with pytest.raises(NetworkFileError, match="expected no constant"):
        read_network_file(write_network(TINY), constants={"width": 8})


def test_a_base_may_leave_a_constant_to_the_files_on_it(write_network):
    base = write_network({**BASE, "constants": {"width": 4}}, "base.yaml")
    path = write_network({"base": "base.yaml", "constants": {"last": 2}})
    assert len(read_network_file(path).groups) == 3
    assert len(read_network_file(base, constants={"last": 1}).groups) == 2
    with pytest.raises(NetworkFileError, match=r"unknown constant '\$last'"):
        read_network_file(base)


def test_a_constant_that_only_the_file_itself_uses_is_no_slip(write_network):
    write_network(BASE, "base.yaml")
    outputs = {"outputs": {"mine": {"group": "$heard"}}, "constants": {"heard": "h2"}}
    spec = read_network_file(write_network({"base": "base.yaml", **outputs}))
    assert spec.outputs["mine"].group == "h2"


def test_bases_have_bases_each_relative_to_the_file_that_names_it(tmp_path, write_network):
    (tmp_path / "far" / "farther").mkdir(parents=True)
    write_network({**BASE, "rollout": "sequential"}, "far/farther/base.yaml")
    write_network(
        {"base": "farther/base.yaml", "rate_hz": 7, "constants": {"last": 5}}, "far/middle.yaml"
    )
    path = write_network({"base": "far/middle.yaml", "constants": {"width": 2}})
    spec = read_network_file(path)
    assert (spec.rate_hz, spec.rollout) == (7, "sequential")
    assert state_shapes(spec)["h5"] == (2, 8, 8)
    absolute = {"base": str(tmp_path / "far" / "middle.yaml"), "constants": {"width": 2}}
    assert read_network_file(write_network(absolute)) == spec
    assert parse_network({**absolute, "base": "far/middle.yaml"}, path) == spec


def test_weights_and_description_are_not_inherited(write_network, tmp_path):
    told = {"weights": "base.safetensors", "description": "the base"}
    write_network({**BASE, **told}, "base.yaml")
    write_network({"base": "base.yaml"}, "middle.yaml")
    for base in ("base.yaml", "middle.yaml"):
        spec = read_network_file(write_network({"base": base}))
        assert spec.weights is None and spec.description == ""
    (tmp_path / "sub").mkdir()
    again = read_network_file(write_network({"base": "../base.yaml", **told}, "sub/again.yaml"))
    assert again.weights_path == tmp_path / "sub" / "base.safetensors"
    assert again.description == "the base"


def test_at_most_eight_bases_lie_below_one_another(write_network):
    write_network(BASE, "0.yaml")
    for i in range(1, 10):
        path = write_network({"base": f"{i - 1}.yaml"}, f"{i}.yaml")
        if i == 8:
            assert read_network_file(path).name == "chain"
    with pytest.raises(NetworkFileError, match="more than 8 bases, one below the other"):
        read_network_file(path)


ON = {"base": "base.yaml"}
# Files by name, the first of them read; where the error stands; what it says.
BROKEN_BASES = {
    "a slip in a constant": (
        {"x.yaml": {**ON, "constants": {"widht": 8}}, "base.yaml": BASE}, "x.yaml: constants: ",
        "constant 'widht' is not one of the base's: expected one of last, width; did you mean 'width'?"),
    "a slip in a base": (
        {"x.yaml": {"base": "m.yaml"}, "m.yaml": {**ON, "constants": {"lst": 8}}, "base.yaml": BASE},
        "m.yaml: constants: ", "did you mean 'last'?"),
    "a slip that hits what the base leaves open": (
        {"x.yaml": {**ON, "constants": {"lst": 8}}, "base.yaml": {**BASE, "constants": {"width": 4}}},
        "x.yaml: constants: ", "expected one of width, last; did you mean 'last'?"),
    "itself": (
        {"x.yaml": {"base": "x.yaml"}}, "x.yaml: base: ", "go in a circle: x.yaml -> x.yaml"),
    "a circle of three": (
        {"x.yaml": {"base": "y.yaml"}, "y.yaml": {"base": "./z.yaml"}, "z.yaml": {"base": "x.yaml"}},
        "z.yaml: base: ", "go in a circle: x.yaml -> y.yaml -> ./z.yaml -> x.yaml"),
    "a circle further down": (
        {"x.yaml": {"base": "y.yaml"}, "y.yaml": {"base": "z.yaml"}, "z.yaml": {"base": "y.yaml"}},
        "z.yaml: base: ", "go in a circle: x.yaml -> y.yaml -> z.yaml -> y.yaml"),
    "missing": ({"x.yaml": ON}, "x.yaml: base: ", "no such base: expected the path"),
    "missing below": (
        {"x.yaml": ON, "base.yaml": {"base": "y.yaml"}}, "base.yaml: base: ", "got y.yaml"),
    "a name without its ending": (
        {"x.yaml": {"base": "base"}, "base.yaml": BASE}, "x.yaml: base: ", "got base"),
    "a folder": ({"x.yaml": {"base": "."}}, "x.yaml: base: ", "no such base"),
    "a name that no file can have": ({"x.yaml": {"base": "a\0b"}}, "x.yaml: base: ", "no such base"),
    "a name too long": ({"x.yaml": {"base": "b" * 300}}, "x.yaml: base: ", "no such base"),
    "a number": ({"x.yaml": {"base": 3}}, "x.yaml: base: ", "expected text, got int"),
    "nothing": ({"x.yaml": {"base": None}}, "x.yaml: base: ", "expected text, got NoneType"),
    "a base that is no mapping": ({"x.yaml": ON, "base.yaml": [1]}, "base.yaml: ", "not a network file"),
    "constants of a base a list": (
        {"x.yaml": ON, "base.yaml": {**BASE, "constants": [1]}}, "base.yaml: constants: ",
        "names to values"),
    "constants a list": (
        {"x.yaml": {**ON, "constants": [1]}, "base.yaml": BASE}, "x.yaml: constants: ",
        "names to values"),
    "a key of the base": (
        {"x.yaml": ON, "base.yaml": {**BASE, "rate_hz": 0}}, "base.yaml): rate_hz: ", "greater than"),
    "a group of the base": (
        {"x.yaml": {**ON, "constants": {"last": "many"}}, "base.yaml": BASE},
        "base.yaml): groups[1].repeat.i: ", "not a range"),
    "a block of the base": (
        {"x.yaml": ON, "base.yaml": {**BASE, "blocks": {"conv": [{"block": "covn"}]}}},
        "base.yaml): blocks.conv[0]: ", "unknown block"),
    "a key of its own": (
        {"x.yaml": {**ON, "rate_hz": 0}, "base.yaml": BASE}, "x.yaml: rate_hz: ", "greater than"),
    "a rollout of the base": (
        {"x.yaml": {**ON, "constants": {"last": 1}},
         "base.yaml": {**BASE, "rollout": {"delays": {"h1 -> h2": 1}}}},
        "base.yaml): rollout: ", "no edge 'h1 -> h2'"),
    "a slip in base itself": ({"x.yaml": {**BASE, "bas": "y.yaml"}}, "x.yaml: bas: ", "did you mean 'base'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_BASES)
def test_a_broken_base_gives_one_line_with_the_file_and_the_place(case, tmp_path, write_network):
    files, place, hint = BROKEN_BASES[case]
    path, *_ = [write_network(content, name) for name, content in files.items()]
    with pytest.raises(NetworkFileError) as error:
        read_network_file(path)
    line = str(error.value)
    assert f"/{place}" in line and hint in line, line
    assert str(tmp_path) in line and "\n" not in line and len(line) < 600
    assert str(path) in line or place.endswith((".yaml: ", ": base: ", ": constants: ")), line


def _set(path, value):
    """Change one place of the tiny network; a value of ... removes it."""

    def change(content):
        place = content
        for step in path[:-1]:
            place = place[step]
        if value is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return content

    return change


CONV = {"out_channels": 8, "kernel_size": 3, "padding": 1}
STEM, MEMORY, DEEP, HEAD = (["groups", n] for n in range(4))
LAYERS = [*DEEP, "edges", 0, "layers"]
BROKEN = {
    "no name": (_set(["name"], ...), "name", "missing"),
    "name with a space": (_set(["name"], "my net"), "name", "ROS name"),
    "name that begins with a digit": (_set(["name"], "9net"), "name", "ROS name"),
    "no rate": (_set(["rate_hz"], ...), "rate_hz", "missing"),
    "rate zero": (_set(["rate_hz"], 0), "rate_hz", "greater than"),
    "rate a word": (_set(["rate_hz"], "fast"), "rate_hz", "number"),
    "rate infinite": (_set(["rate_hz"], float("inf")), "rate_hz", "finite"),
    "unknown key": (_set(["ratehz"], 3), "ratehz", "rate_hz"),
    "no inputs": (_set(["inputs"], {}), "inputs", "at least 1"),
    "input of no type": (_set(["inputs", "image", "type"], ...), "inputs.image", "type"),
    "input of unknown type": (_set(["inputs", "image", "type"], "lidar"), "inputs.image", "lidar"),
    "negative height": (_set(["inputs", "image", "height"], -4), "height", "greater than"),
    "height a fraction": (_set(["inputs", "image", "height"], 1.5), "height", "integer"),
    "unknown colour": (_set(["inputs", "image", "colour"], "infrared"), "colour", "rgb"),
    "two means for three channels": (_set(["inputs", "image", "mean"], [0, 1]), "file", "mean"),
    "std zero": (_set(["inputs", "image", "std"], 0.0), "file", "std"),
    "input that nobody hears": (
        _set(["inputs", "odd"], {"type": "image", "height": 4, "width": 4}), "inputs.odd", "hears"),
    "no groups": (_set(["groups"], []), "groups", "at least 1"),
    "group without edges": (_set([*DEEP, "edges"], []), "groups[2].edges", "at least 1"),
    "unknown source": (_set([*DEEP, "edges", 0, "source"], "memry"), "file", "did you mean 'memory'"),
    "source heard twice": (
        _set([*DEEP, "edges"], [{"source": "memory"}, {"source": "memory"}]), "groups[2]", "twice"),
    "two groups of one name": (_set([*DEEP, "name"], "memory"), "file", "two nodes"),
    "reserved name": (_set([*DEEP, "name"], "frame_source"), "groups[2].name", "taken"),
    "negative delay": (_set([*DEEP, "edges", 0, "delay"], -1), "delay", "greater than"),
    "delay a fraction": (_set([*DEEP, "edges", 0, "delay"], 0.5), "delay", "integer"),
    "delay a word": (_set([*DEEP, "edges", 0, "delay"], "one"), "delay", "integer"),
    "unknown merge": (_set([*HEAD, "merge"], "max"), "groups[3].merge", "sum"),
    "unknown layer": (_set(LAYERS, ["Convv2d"]), "deep", "Conv2d"),
    "loss as layer": (_set(LAYERS, ["MSELoss"]), "deep", "unknown layer"),
    "code as layer": (_set(LAYERS, ["__import__('os').system('x')"]), "deep", "unknown layer"),
    "layer of two keys": (_set(LAYERS, [{"ReLU": {}, "Tanh": {}}]), "layers[0]", "expected a layer"),
    "layer a number": (_set(LAYERS, [3]), "layers[0]", "expected a layer"),
    "unknown argument": (_set(LAYERS, [{"Conv2d": {**CONV, "kernal": 3}}]), "Conv2d", "kernal"),
    "missing argument": (_set(LAYERS, [{"Conv2d": {"kernel_size": 3}}]), "Conv2d", "out_channels"),
    "argument of wrong type": (
        _set(LAYERS, [{"Conv2d": {**CONV, "kernel_size": "big"}}]), "Conv2d", "refuses"),
    "argument a mapping": (_set(LAYERS, [{"Conv2d": {**CONV, "stride": {}}}]), "stride", "number"),
    "wrong in_channels": (_set(LAYERS, [{"Conv2d": {**CONV, "in_channels": 5}}]), "deep", "cannot take"),
    "kernel larger than the state": (
        _set(LAYERS, [{"Conv2d": {"out_channels": 8, "kernel_size": 30}}]), "deep", "cannot take"),
    "shapes that do not meet": (
        _set([*HEAD, "edges", 1, "layers", 1, "Linear", "out_features"], 3), "head", "stem -> head"),
    "recurrent shapes that do not meet": (
        _set([*MEMORY, "edges", 1, "layers", 0, "Conv2d", "padding"], 0), "memory", "do not meet"),
    "linear on an image": (_set([*HEAD, "edges", 1, "layers"], [{"Linear": {"out_features": 2}}]),
                           "head", "do not meet"),
    "too many parameters": (
        _set(LAYERS, ["Flatten", {"Linear": {"out_features": 100_000_000}}]), "deep", "parameters"),
    "stated shape is wrong": (_set([*DEEP, "shape"], [8, 6, 9]), "deep", "another shape"),
    "factory that is no path": (_set([*DEEP, "factory"], "os.system('x')"), "factory", "pattern"),
    "factory beside layers": (_set([*DEEP, "factory"], "jittery:group"), "groups[2]", "whole group"),
    "args without factory": (_set([*DEEP, "args"], {"a": 1}), "groups[2]", "factory"),
    "no outputs": (_set(["outputs"], {}), "outputs", "at least 1"),
    "output of no group": (_set(["outputs", "drive", "group"], "hed"), "file", "did you mean 'head'"),
    "output of an input": (_set(["outputs", "drive", "group"], "image"), "file", "image"),
    "twist without fields": (_set(["outputs", "drive", "fields"], {}), "outputs.drive", "fields"),
    "twist of an unknown field": (
        _set(["outputs", "drive", "fields"], {"yaw": 0}), "outputs.drive.fields", "angular.z"),
    "twist element that the state lacks": (
        _set(["outputs", "drive", "fields"], {"angular.z": 7}), "outputs.drive", "elements"),
    "limits the wrong way": (_set(["outputs", "drive", "limits"], [1, -1]), "outputs.drive", "least"),
    "a period of none": (_set(["groups", 0, "every"], 0), "groups[0].every", "greater than or equal to 1"),
    "an offset beyond the period": (_set(["groups", 0, "offset"], 1), "groups[0]", "below 'every' (1)"),
    "a wait that is negative": (_set(["groups", 0, "edges", 0, "wait_periods"], -0.1), "wait_periods", "greater than or equal to 0"),
    "a hold that is a share": (_set(["groups", 0, "edges", 0, "hold_frames"], 0.5), "hold_frames", "integer"),
    "an age of none": (_set(["outputs", "drive", "max_age_ms"], 0), "max_age_ms", "greater than or equal to 1"),
    "a share in percent": (_set(["outputs", "drive", "max_held"], 50), "max_held", "less than or equal to 1"),
    "a safe command that nothing sends": (_set(["outputs", "drive", "safe"], {"angular.z": 0, "linear.x": 0}), "outputs.drive", "max_age_ms"),
    "a safe command that lacks a field": (_set(["outputs", "drive", "safe"], {"angular.z": 0}), "outputs.drive", "each of angular.z, linear.x"),
    "a safe command of a tensor": (_set(["outputs", "features", "safe"], {}), "outputs.features", "publish: twist"),
    "unknown rollout": (_set(["rollout"], "sideways"), "rollout", "streaming"),
    "rollout of an unknown edge": (
        _set(["rollout"], {"delays": {"stem -> tail": 1}}), "rollout", "stem -> tail"),
    "rollout against a fixed delay": (
        _set(["rollout"], {"delays": {"deep -> stem": 0}}), "rollout", "deep -> stem"),
    "cycle without a delay": (
        lambda c: _set(["rollout"], "sequential")(_set([*STEM, "edges", 1, "delay"], ...)(c)),
        "rollout", "stem -> memory -> deep -> stem"),
    "unknown constant": (_set([*DEEP, "merge"], "$merge"), "merge", "unknown constant"),
    "unknown index": (_set([*DEEP, "name"], "deep{i}"), "name", "unknown index"),
    "a key of the reader's own": (_set(["path"], "x.yaml"), "path", "unknown key"),
    "constants a list": (_set(["constants"], [1]), "constants", "names to values"),
    "constants without a name": (_set(["constants"], {1: 2, "a": 3}), "constants", "names to values"),
    "a constant list for a key": (
        lambda c: {**c, "constants": {"w": [1]}, "inputs": {"$w": 1}}, "inputs.$w", "one value"),
    "unknown block": (_set(LAYERS, [{"block": "conv"}]), "layers[0]", "unknown block"),
    "block inside itself": (
        lambda c: {**_set(LAYERS, [{"block": "b"}])(c), "blocks": {"b": [{"block": "b"}]}},
        "blocks.b", "contains itself"),
    "unknown shared stack": (_set(LAYERS, [{"shared": "trunk"}]), "deep", "unknown shared"),
    "repeat without an index": (
        _set([*DEEP, "repeat"], 3), "groups[2].repeat", "one index"),
    "repeat without end": (
        _set([*DEEP, "repeat"], {"i": [0, 10**9]}), "groups[2].repeat", "too long"),
    "a group that nothing reaches": (
        lambda c: {**c, "groups": [*c["groups"], {"name": "island", "edges": [{"source": "island"}]}]},
        "network.yaml", "island"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_network_file_gives_one_line_with_place_and_expectation(case, write_network):
    change, place, hint = BROKEN[case]
    path = write_network(change(copy.deepcopy(TINY)))
    with pytest.raises(StreamingNetError) as error:
        state_shapes(read_network_file(path))
    line = str(error.value)
    assert str(path) in line and place in line and hint in line, line
    assert "\n" not in line and len(line) < 600


TEXTS = {
    "empty": ("", "mapping"),
    "a list": ("- a\n- b\n", "mapping"),
    "not YAML": ("name: [1, 2\nrate: }", "line 2"),
    "a key twice": ("name: a\nname: b\n", "written twice"),
    "python object": ("name: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    "tab": ("name:\n\t- a\n", "not valid YAML"),
    "two documents": ("name: a\n---\nname: b\n", "not valid YAML"),
    "alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n", "too large"),
    "an alias to itself": ("a: &a [*a]\n", "too large"),
    "an alias to itself in a constant": ("constants: {a: &a [*a]}\nb: $a\n", "too large"),
    "alias bomb in a constant": (
        "constants:\n  a: &a [x,x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "  e: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [$e, $e]\n", "too large"),
    "blocks that double": (
        "blocks:\n  b0: [ReLU]\n"
        + "".join(f"  b{i}: [block: b{i - 1}, block: b{i - 1}]\n" for i in range(1, 24))
        + "groups: [block: b23]\n", "too large"),
    "deep nesting": ("a: " + "[" * 3000 + "]" * 3000, "not valid YAML"),
    "a date as name": ("name: 2020-01-01\nrate_hz: 3\n", "name"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_a_broken_text_gives_one_line_with_the_place(case, tmp_path):
    text, hint = TEXTS[case]
    path = tmp_path / "network.yaml"
    path.write_text(text)
    with pytest.raises(NetworkFileError) as error:
        read_network_file(path)
    assert str(path) in str(error.value) and hint in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(NetworkFileError, match="cannot read"):
        read_network_file(tmp_path / "none.yaml")
    with pytest.raises(NetworkFileError, match="cannot read"):
        read_network_file(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NetworkFileError, match="not a text file"):
        read_network_file(binary)
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * (1 << 20))
    with pytest.raises(NetworkFileError, match="too large"):
        read_network_file(large)
