"""Saliency is the gradient: by hand, by finite differences, and zero outside of the light cone."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY
from strategies import rollouts
from streaming_net_ros.errors import ParameterError, StateError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.saliency import (
    Question,
    Saliency,
    computes_of,
    images_needed,
    inputs_of,
    response_frame,
    saliency,
)
from streaming_net_ros.theory import past_cone

STEER = Question("drive", 0, "image")
HEARS = {
    "stem": ["image", "deep"], "memory": ["stem", "memory"], "deep": ["memory"],
    "head": ["stem", "deep"],
}  # fmt: skip
AFTER = {"stem": torch.relu, "memory": torch.tanh, "deep": torch.relu, "head": torch.tanh}


@pytest.fixture(scope="module")
def network():
    return StreamingNetwork(parse_network(TINY), seed=3).eval()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (6, 3, 12, 16), generator=generator, dtype=torch.uint8)


def by_hand(doubled, images, node, frame):
    """A state of the tiny network, unrolled by hand in double precision; None if it is not."""
    if node == "image":
        given = doubled.spec.inputs["image"]
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (given.mean, given.std))
        if frame not in range(len(images)):
            return None
        return (images[frame, None] / 255 - mean[:, None, None]) / std[:, None, None]
    edges = doubled.group(node).edges
    states = {s: by_hand(doubled, images, s, frame - 1) if frame else None for s in HEARS[node]}
    heard = [edges[source](state) for source, state in states.items() if state is not None]
    return AFTER[node](sum(heard)) if heard else None


def steering_by_hand(network, images, element):
    doubled = copy.deepcopy(network).double()
    return lambda given: by_hand(doubled, given, "head", len(images) + 1)[0, element]


@pytest.mark.parametrize("element", [0, 1])
def test_the_gradient_is_that_of_the_network_unrolled_by_hand(network, images, element):
    found = saliency(network, Question("drive", element, "image"), {"image": images}, 5)
    exact = images.double().requires_grad_(True)
    value = steering_by_hand(network, images, element)(exact)
    (gradient,) = torch.autograd.grad(value, exact)
    assert found.frames == (0, 1, 2, 3, 4, 5) and found.response_frame == 7
    assert found.value == pytest.approx(value.item(), rel=1e-5)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(found.gradient.double(), gradient, rtol=1e-3, atol=1e-9)


def test_the_gradient_is_what_finite_differences_tell(network, images):
    found = saliency(network, STEER, {"image": images}, 5).gradient
    value, step = steering_by_hand(network, images, 0), 1e-3
    for t in range(len(images)):
        # The strongest pixel of each image, and one in a corner.
        for place in (int(found[t].abs().argmax()), 0):
            up, down = images.double(), images.double()
            up[t].view(-1)[place] += step
            down[t].view(-1)[place] -= step
            told = (value(up) - value(down)).item() / (2 * step)
            assert found[t].reshape(-1)[place].item() == pytest.approx(told, rel=1e-3, abs=1e-9)


def identity(rollout, every=1):
    """A network of single pixels with the shape of a rollout's graph; all states are sums."""
    graph = rollout.graph
    groups = [
        {
            "name": group,
            "edges": [{"source": e.source, "delay": rollout.delays[e.key]}
                      for e in graph.edges_into(group)],
            "shape": [1, 1, 1],
            "every": every if number == 0 else 1,
        }
        for number, group in enumerate(graph.groups)
    ]  # fmt: skip
    pixel = {"type": "image", "height": 1, "width": 1, "colour": "mono"}
    return parse_network(
        {
            "name": "sums",
            "rate_hz": 30,
            "inputs": dict.fromkeys(graph.inputs, pixel),
            "groups": groups,
            "outputs": {name: {"group": name} for name in graph.outputs},
        }
    )


@settings(max_examples=60)
@given(rollouts(max_groups=4, max_edges=7), st.integers(1, 3), st.integers(0, 4), st.data())
def test_an_image_has_a_gradient_exactly_if_it_is_in_the_light_cone(rollout, every, begun, data):
    network = StreamingNetwork(identity(rollout, every)).eval()
    spec = network.spec
    output = data.draw(st.sampled_from(list(spec.outputs)))
    question = Question(output, 0, data.draw(st.sampled_from(list(spec.inputs))))
    newest = begun + 12
    try:
        asked = response_frame(network, question, newest)
    except ParameterError as error:
        assert "no path" in str(error)
        return
    window = torch.full((13, 1, 1, 1), 7, dtype=torch.uint8)
    found = saliency(network, question, dict.fromkeys(spec.inputs, window), newest)
    cone = past_cone(network.rollout, output, asked, begun, computes_of(spec))
    lit = {frame for frame, value in zip(found.frames, found.gradient, strict=True) if value > 0}
    if every == 1:
        assert lit == set(cone.frames_of(question.image))
        assert max(lit) == newest
    else:  # a group computes in its first frame too, whatever its period
        assert set(cone.frames_of(question.image)) <= lit


def test_the_images_needed_are_those_from_the_oldest_one_in_the_cone():
    content = {
        "name": "skip",
        "rate_hz": 30,
        "inputs": {"image": {"type": "image", "height": 1, "width": 1, "colour": "mono"}},
        "groups": [
            {"name": "stem", "edges": [{"source": "image"}]},
            {"name": "deep", "edges": [{"source": "stem", "delay": 3}]},
            {"name": "head", "edges": [{"source": "stem"}, {"source": "deep"}]},
        ],
        "outputs": {"head": {"group": "head"}},
    }
    network = StreamingNetwork(parse_network(content)).eval()
    question = Question("head", 0, "image")
    assert response_frame(network, question, 9) == 11
    assert images_needed(network, question, 9) == 4  # of frames 6 and 9, and those between
    assert images_needed(network, question, 9, limit=2) == 1
    images = torch.full((4, 1, 1, 1), 3, dtype=torch.uint8)
    found = saliency(network, question, {"image": images}, 9)
    assert found.frames == (6, 7, 8, 9)
    assert found.shares == (0.5, 0.0, 0.0, 0.5)
    assert found.heat.flatten().tolist() == [1.0, 0.0, 0.0, 1.0]


def test_a_memory_needs_as_many_images_as_the_limit_allows(network):
    assert images_needed(network, STEER, 100) == 32
    assert images_needed(network, STEER, 3) == 4  # there is no frame before the first


def test_heat_is_between_0_and_1_and_shares_sum_to_1(network, images):
    found = saliency(network, STEER, {"image": images}, 5)
    assert found.heat.shape == (6, 12, 16)
    assert found.heat.min() >= 0 and found.heat.max() == 1
    assert sum(found.shares) == pytest.approx(1)
    nothing = Saliency((0,), 1, 0.0, torch.zeros(1, 3, 2, 2))
    assert nothing.heat.max() == 0 and nothing.shares == (0.0,)


def test_an_element_of_an_image_state_is_counted_by_height_width_channel(network, images):
    channels, _, width = network.shapes["deep"]
    row, column, channel = 1, 2, 3
    element = (row * width + column) * channels + channel
    found = saliency(network, Question("features", element, "image"), {"image": images}, 5)
    state = network.init_state()
    with torch.inference_mode():
        for frame in range(found.response_frame + 1):
            given = {"image": images[frame, None]} if frame < 6 else {}
            state, nodes = network.advance(state, given)
    assert found.value == pytest.approx(nodes["deep"][0, channel, row, column].item(), rel=1e-5)


def test_saliency_leaves_the_network_as_it_was(network, images):
    with torch.inference_mode():
        saliency(network, STEER, {"image": images}, 5)
    assert all(weight.grad is None for weight in network.parameters())
    assert images.dtype is torch.uint8 and not network.training


@pytest.mark.parametrize(
    "question, expected",
    [
        (Question("steering", 0, "image"), "no such output: expected one of drive, features"),
        (Question("drive", 2, "image"), "saliency of drive: no such element: expected 0 to 1"),
        (Question("drive", 0, "stem"), "no such image input: expected one of image, got stem"),
    ],
)
def test_a_question_about_what_is_not_there_is_refused(network, images, question, expected):
    with pytest.raises(ParameterError, match=expected):
        saliency(network, question, {"image": images}, 5)


def test_states_that_do_not_fit_are_refused(network, images):
    with pytest.raises(StateError, match="equally many states of every input"):
        saliency(network, STEER, {}, 5)
    with pytest.raises(StateError, match="equally many states of every input"):
        saliency(network, STEER, {"image": images[:0]}, 5)
    with pytest.raises(StateError, match="input of another shape"):
        saliency(network, STEER, {"image": images[:, :1]}, 5)


def test_who_only_teaches_need_not_be_given(images):
    given = {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data", "data"]}
    learning = {"head": {"rule": "local", "target": "label", "delay": 2}}
    content = {**TINY, "inputs": {**TINY["inputs"], "label": given}, "learning": learning}
    spec = parse_network(content)
    assert inputs_of(spec) == ("image",)
    plain = saliency(StreamingNetwork(parse_network(TINY)).eval(), STEER, {"image": images}, 5)
    taught = saliency(StreamingNetwork(spec).eval(), STEER, {"image": images}, 5)
    assert torch.equal(taught.gradient, plain.gradient)


def test_a_network_in_training_is_refused(images):
    network = StreamingNetwork(parse_network(TINY))
    with pytest.raises(ParameterError, match="training mode"):
        saliency(network, STEER, {"image": images}, 5)
