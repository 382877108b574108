"""A flattened group gives what the group gives, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY, jittery_network
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.flat import flattened, only_reads
from streaming_net_ros.network.layout import all_finite

LAYERS = [
    {"Conv2d": {"out_channels": 4, "kernel_size": 3, "padding": 1}},
    {"Conv2d": {"out_channels": 4, "kernel_size": 1, "bias": False}},
    {"Conv2d": {"out_channels": 4, "kernel_size": 3, "padding": "same", "dilation": 2}},
    {"Conv2d": {"out_channels": 4, "kernel_size": 3, "padding": 1, "groups": 2}},
    {"Conv2d": {"out_channels": 4, "kernel_size": 3, "padding": 1, "padding_mode": "circular"}},
    {"ConvTranspose2d": {"out_channels": 4, "kernel_size": 3, "padding": 1}},
    {"BatchNorm2d": {}},
    {"Dropout": {"p": 0.5}},
    {"GroupNorm": {"num_groups": 2}},
    "ReLU",
    {"LeakyReLU": {"negative_slope": 0.1}},
    "Tanh",
    {"MaxPool2d": {"kernel_size": 3, "stride": 1, "padding": 1}},
    {"shared": "both"},
    {"shared": "deep"},
]
stacks = st.lists(st.sampled_from(LAYERS), max_size=3)


@st.composite
def networks(draw):
    """A group that hears an image, a vector's map, itself and another group, and that group.

    All states are of 4 channels of 6 by 8, so that any stacks can meet in any merge.
    """

    def edge(source, **more):
        # The image has 3 channels; what hears it begins with what makes 4 of them.
        first = [LAYERS[0]] if source == "image" else []
        return {"source": source, "layers": first + draw(stacks), **more}

    merge = draw(st.sampled_from(["sum", "product", "concat"]))
    widen = [LAYERS[0]] if merge == "concat" else []
    return parse_network(
        {
            "name": "random",
            "rate_hz": 10,
            "state_dtype": draw(st.sampled_from(["float32", "float16"])),
            "inputs": {"image": {"type": "image", "height": 6, "width": 8, "mean": [0.4] * 3,
                                 "std": [0.2] * 3}},
            "shared": {"both": [LAYERS[1], "ReLU"], "deep": [LAYERS[0], {"BatchNorm2d": {}}]},
            "groups": [
                {"name": "stem", "edges": [edge("image")], "apply": draw(stacks)},
                {
                    "name": "heart",
                    "edges": [edge("image"), edge("stem"), edge("heart", delay=1)],
                    "merge": merge,
                    "shape": [4, 6, 8],
                    "apply": widen + draw(stacks),
                },
            ],
            "outputs": {"heart": {"group": "heart"}},
        }
    )  # fmt: skip


def states_of(network, group, missing=(), seed=0):
    """Random states of all sources of a group, as they arrive in a node."""
    generator = torch.Generator().manual_seed(seed)
    states = {}
    for source in group.sources:
        shape = (1, *network.shapes[source])
        numbers = torch.randn(shape, generator=generator)
        is_image = source in network.spec.inputs and len(shape) == 4
        states[source] = (numbers * 50).abs().byte() if is_image else numbers.to(group.dtype)
        if source in missing:
            states[source] = None
    return states


def check_equal(network, name, missing=(), seed=0, flat=None):
    group = network.group(name)
    flat = flat or flattened(group)
    with torch.inference_mode():
        states = states_of(network, group, missing, seed)
        kept = {s: None if state is None else state.clone() for s, state in states.items()}
        got, expected = flat(states), group(kept)
    if expected is None:
        assert got is None
        return
    assert got.dtype is expected.dtype and got.stride() == expected.stride()
    assert got.shape == expected.shape
    assert got.contiguous().numpy().tobytes() == expected.contiguous().numpy().tobytes()


def built(spec, seed=0):
    """The network, with weights (and means of normalisations) that are not the initial ones."""
    network = StreamingNetwork(spec, seed=seed).eval()
    change_weights(network, seed)
    return network


def change_weights(network, seed):
    """In place, as an optimizer or a loader of weights does it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) / 4)


subsets = st.sets(st.sampled_from(["image", "stem", "heart"]))


@settings(deadline=None, max_examples=20)
@given(networks(), st.sampled_from(["stem", "heart"]), subsets, st.integers(0, 99))
def test_a_flattened_group_gives_what_the_group_gives(spec, name, missing, seed):
    check_equal(built(spec, seed), name, missing, seed)


@settings(deadline=None, max_examples=20)
@given(networks(), st.sampled_from(["stem", "heart"]), st.integers(0, 99))
def test_it_follows_weights_that_change_in_place(spec, name, seed):
    network = built(spec)
    flat = flattened(network.group(name))
    check_equal(network, name, flat=flat)
    change_weights(network, seed)
    check_equal(network, name, flat=flat)


@pytest.mark.parametrize("content", [TINY, jittery_network()], ids=["tiny", "factories"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_so_do_the_groups_of_whole_networks(content, dtype):
    content = copy.deepcopy(content)
    for group in content["groups"]:
        group.get("args", {})["most_ms"] = 0.0
        if "factory" not in group:
            group.pop("args", None)
    network = built(parse_network({**content, "state_dtype": dtype}))
    for group in content["groups"]:
        sources = network.group(group["name"]).sources
        for missing in [(), *([source] for source in sources), sources]:
            check_equal(network, group["name"], missing)


def test_a_vector_input_is_taken_in_as_the_group_takes_it():
    spec = {
        "name": "sensed",
        "rate_hz": 10,
        "inputs": {
            "speed": {
                "type": "vector",
                "topic_type": "geometry_msgs/msg/TwistStamped",
                "fields": ["twist.linear.x", "twist.linear.y"],
            }
        },
        "groups": [
            {
                "name": "g",
                "edges": [{"source": "speed", "layers": [{"Linear": {"out_features": 3}}]}],
            }
        ],
        "outputs": {"g": {"group": "g"}},
    }
    for dtype in ("float32", "float16"):
        network = built(parse_network({**spec, "state_dtype": dtype}))
        group, states = network.group("g"), {"speed": torch.tensor([[1.5, -2.0]])}
        with torch.inference_mode():
            assert torch.equal(flattened(group)(states), group(states))


# --- all_finite -------------------------------------------------------------------------------

odd = [float("inf"), float("-inf"), float("nan")]
numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40, 60000.0, -60000.0, 3e38, -3e38, *odd])


@given(
    st.lists(numbers, max_size=40), st.sampled_from(["float16", "float32", "float64", "bfloat16"])
)
def test_all_finite_is_what_isfinite_says_of_all_numbers(values, dtype):
    batch = torch.tensor([values], dtype=torch.float64).to(getattr(torch, dtype))
    assert all_finite(batch) is bool(torch.isfinite(batch).all())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), float("-inf")])
def test_one_number_in_a_large_state_that_overflows_its_sum_is_seen(dtype, odd):
    batch = torch.full((1, 8, 40, 40), torch.finfo(getattr(torch, dtype)).max).to(
        getattr(torch, dtype), memory_format=torch.channels_last
    )
    assert all_finite(batch)
    if odd is not None:
        batch[0, 5, 39, 20] = odd
        assert not all_finite(batch)


def test_a_sum_that_cancels_hides_nothing():
    assert not all_finite(torch.tensor([[float("inf"), float("-inf")]]))
    assert all_finite(torch.tensor([[3e38, 3e38, -3e38, -3e38]]))


@pytest.mark.parametrize(
    "edges, apply",
    [
        ([[]], ["ReLU"]),  # what a single edge without layers gives is the source's own state
        ([[{"Dropout": {"p": 0.5}}]], ["ReLU"]),
        ([["ReLU"]], ["ReLU"]),
        ([[LAYERS[0], {"Dropout": {"p": 0.5}}]], ["ReLU", "ReLU"]),
        ([[LAYERS[0]], []], ["ReLU"]),
    ],
)
def test_a_relu_is_made_in_place_only_where_nobody_else_has_what_it_is_made_of(edges, apply):
    sources = ["a", "b"][: len(edges)]
    content = {
        "name": "relus",
        "rate_hz": 10,
        "inputs": {"image": {"type": "image", "height": 6, "width": 8}},
        "groups": [
            {"name": name, "edges": [{"source": "image", "layers": [LAYERS[0]]}]}
            for name in sources
        ]
        + [
            {
                "name": "heart",
                "edges": [
                    {"source": source, "layers": layers}
                    for source, layers in zip(sources, edges, strict=True)
                ],
                "apply": apply,
            }
        ],
        "outputs": {"heart": {"group": "heart"}},
    }
    group = StreamingNetwork(parse_network(content)).eval().group("heart")
    with torch.inference_mode():
        given = {name: torch.randn(1, 4, 6, 8) for name in sources}
        kept = {name: state.clone() for name, state in given.items()}
        state = flattened(group)(given)
        assert torch.equal(state, group(kept))
    assert all(torch.equal(given[name], kept[name]) for name in sources)
    assert any(float(state.min()) < 0 for state in kept.values())  # a ReLU would be seen


@pytest.mark.parametrize(
    "layers, is_known", [(["ReLU"], True), ([{"ReLU": {"inplace": True}}], False)]
)
def test_of_torchs_layers_only_those_with_inplace_may_write_to_an_input(layers, is_known):
    content = copy.deepcopy(TINY)
    edge = content["groups"][0]["edges"][0]
    edge["layers"] = [*layers, *edge["layers"]]
    group = StreamingNetwork(parse_network(content)).eval().group(content["groups"][0]["name"])
    assert only_reads(group) is is_known
    # Layers of a shared stack are not registered in the group, and are called by it.
    content = copy.deepcopy(TINY)
    content["shared"] = {**content.get("shared", {}), "first": layers}
    edge = content["groups"][0]["edges"][0]
    edge["layers"] = [{"shared": "first"}, *edge["layers"]]
    group = StreamingNetwork(parse_network(content)).eval().group(content["groups"][0]["name"])
    assert only_reads(group) is is_known


def test_a_factorys_module_says_itself_that_it_only_reads():
    group = StreamingNetwork(parse_network(jittery_network())).eval().group("stem")
    assert not only_reads(group)
    group.made.only_reads_inputs = True
    assert only_reads(group)
