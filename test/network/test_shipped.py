"""The networks that come with the package: what the published ones are known to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming_net_ros.network import read_network_file, rollout_of, state_shapes
from streaming_net_ros.theory import inference_factor, response_times

NETWORKS = Path(__file__).parents[2] / "config" / "networks"
DSR = [f"cifar_dsr{more}" for more in range(7)]
MNIST = ["mnist_sr", "mnist_s", "mnist_ff", "mnist_hybrid"]
DIGITS = ["digits_sr", "digits_hybrid"]
PUBLISHED = [*DSR, "gtsrb_dsr4", *MNIST, *DIGITS]

# The published DSR6. A smaller DSR is what remains of it without the groups that were added last.
DSR6 = """
    image>h1 h1>h1 h1>h11 h1>h12 h11>h12 h1>h13 h11>h13 h12>h13
    h1>h2 h11>h2 h12>h2 h13>h2 h2>h21 h2>h22 h21>h22 h2>h23 h21>h23 h22>h23
    h2>hd h21>hd h22>hd h23>hd hd>class
"""
ADDED = ["h11", "h21", "h12", "h22", "h13", "h23"]


def shipped(name):
    return read_network_file(NETWORKS / f"{name}.yaml")


def edges(spec):
    return {f"{edge.source}>{edge.target}" for edge in spec.graph.edges}


def first_frames(spec, choice):
    return response_times(rollout_of(spec, choice))["class"].first_frames


def layers(spec):
    """What each edge does to its source: ``3`` convolves with 3 x 3, and nothing else."""
    return {
        f"{edge.source}>{group.name}": " ".join(
            str(layer.args.get("kernel_size", layer.name)) for layer in edge.layers
        )
        for group in spec.groups
        for edge in group.edges
    }


def test_all_the_published_networks_are_there():
    assert {path.stem for path in NETWORKS.glob("*.yaml")} >= {"pilot", *PUBLISHED}


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_network_is_whole(path):
    spec = read_network_file(path)
    assert spec.name == path.stem  # found by this name
    assert spec.description
    assert set(state_shapes(spec)) == set(spec.graph.nodes)
    assert spec.weights_path is None or spec.weights_path.is_file()
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_one_output_and_no_weights(name):
    spec = shipped(name)
    assert {output: told.group for output, told in spec.outputs.items()} == {"class": "class"}
    assert spec.weights is None
    assert "1806.04965" in (NETWORKS / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_hidden_group_ends_in_relu_and_then_dropout(name):
    late = {"h2", "hd"} if "dsr" not in name else {"hd"}
    for group in shipped(name).groups:
        ends = [(layer.name, dict(layer.args)) for layer in group.apply]
        dropout = ("Dropout", {"p": 0.5 if group.name in late else 0.25})
        assert ends == ([] if group.name == "class" else [("ReLU", {}), dropout])


@pytest.mark.parametrize("more", range(7))
def test_a_dsr_is_densely_connected(more):
    spec = shipped(DSR[more])
    without = set(ADDED[more:])
    assert edges(spec) == {e for e in DSR6.split() if not without.intersection(e.split(">"))}
    assert len(spec.groups) == 4 + more
    assert spec.graph.edge("h1", "h1").delay == 1


@pytest.mark.parametrize("more", range(7))
def test_a_dsr_streams_its_first_response_after_4_frames_and_needs_4_and_k_steps(more):
    spec = shipped(DSR[more])
    assert first_frames(spec, "streaming") == 4
    assert inference_factor(rollout_of(spec, "streaming")) == 1
    assert inference_factor(rollout_of(spec, "sequential")) == 4 + more
    assert rollout_of(spec).is_streaming


@pytest.mark.parametrize("name", [*DSR, "gtsrb_dsr4"])
def test_a_dsr_has_the_published_shapes_and_layers(name):
    spec = shipped(name)
    shapes = state_shapes(spec)
    sizes = {"im": (3, 32, 32), "h1": (32, 32, 32), "h2": (64, 16, 16), "hd": (512, 4, 4)}
    classes = shapes.pop("class")
    assert classes == ((43,) if name.startswith("gtsrb") else (10,))
    assert shapes == {group: sizes[group[:2]] for group in shapes}
    assert layers(spec) == {
        **dict.fromkeys(edges(spec), "3"), "image>h1": "5", "hd>class": "Flatten Linear",
    }  # fmt: skip


def test_the_gtsrb_network_is_dsr4_without_its_self_edge():
    spec = shipped("gtsrb_dsr4")
    without = {"h13", "h23"}
    dsr4 = {e for e in DSR6.split() if not without.intersection(e.split(">"))}
    assert edges(spec) == dsr4 - {"h1>h1"}
    assert first_frames(spec, "streaming") == 4
    assert inference_factor(rollout_of(spec, "sequential")) == 8


CHAIN = {"image>h1", "h1>h2", "h2>class"}
SKIP, RECURRENT = {"h1>class"}, {"h1>h1"}


@pytest.mark.parametrize(
    ("name", "expected", "frames"),
    [
        ("mnist_ff", CHAIN, 3),
        ("mnist_s", CHAIN | SKIP, 2),
        ("mnist_sr", CHAIN | SKIP | RECURRENT, 2),
        ("mnist_hybrid", CHAIN | SKIP | RECURRENT, 2),
        ("digits_sr", CHAIN | SKIP | RECURRENT, 2),
        ("digits_hybrid", CHAIN | SKIP | RECURRENT, 2),
    ],
)
def test_the_skip_edge_streams_the_first_response_after_2_frames_not_3(name, expected, frames):
    spec = shipped(name)
    assert edges(spec) == expected
    assert first_frames(spec, "streaming") == frames
    assert inference_factor(rollout_of(spec, "streaming")) == 1
    assert inference_factor(rollout_of(spec, "sequential")) == 3


@pytest.mark.parametrize("name", [*MNIST, *DIGITS])
def test_an_mnist_network_has_the_published_shapes_and_layers_and_digits_smaller_ones(name):
    spec = shipped(name)
    image, h1, h2 = (1, 28, 28), (16, 7, 7), (128,)
    if name in DIGITS:
        image, h1, h2 = (1, 8, 8), (16, 4, 4), (64,)
    assert state_shapes(spec) == {"image": image, "h1": h1, "h2": h2, "class": (10,)}
    dense = "Flatten Linear"
    known = {"h1>h1": "3", "h1>h2": dense, "h1>class": dense, "h2>class": "Linear"}
    known["image>h1"] = "3" if name in DIGITS else "7"
    assert layers(spec) == {edge: known[edge] for edge in edges(spec)}


@pytest.mark.parametrize("name", ["mnist_hybrid", "digits_hybrid"])
def test_the_hybrid_rollout_needs_two_steps_for_a_frame(name):
    rollout = rollout_of(shipped(name))
    delays = {f"{source}>{target}": delay for (source, target), delay in rollout.delays.items()}
    assert delays == {"image>h1": 0, "h1>h1": 1, "h1>h2": 1, "h2>class": 0, "h1>class": 1}
    assert inference_factor(rollout) == 2
    assert response_times(rollout)["class"].first_frames == 1
