"""Back-propagation through a rollout, against differences and against a graph written by hand.

Groups hand their states on in float32: in that precision central differences tell little. So the
two exact comparisons run in float64, for which the tests exchange the two places where a group
casts (``_take_in`` at its door, ``dtype`` at its end) and nothing else: ``advance``, the order of
groups, delays, histories, merges and layers are the package's own. The unchanged float32 network
is then compared with the same hand-written graph, to float32's precision.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from streaming_net_ros.network import LayerGroup, StreamingNetwork, parse_network

FRAMES, BATCH = 6, 2

# A skip past a recurrent group, feedback, maps and vectors, a sum and a concatenation; all smooth.
NETWORK = {
    "name": "loops",
    "rate_hz": 10,
    "inputs": {
        "image": {"type": "image", "height": 4, "width": 4, "colour": "mono", "mean": 0.5,
                  "std": 0.25}
    },
    "groups": [
        {
            "name": "stem",
            "edges": [
                {"source": "image",
                 "layers": [{"Conv2d": {"out_channels": 2, "kernel_size": 3, "stride": 2,
                                        "padding": 1}}]},
                {"source": "memory", "delay": 1,
                 "layers": [{"Conv2d": {"out_channels": 2, "kernel_size": 1}}]},
            ],
            "apply": ["Tanh"],
        },
        {
            "name": "memory",
            "edges": [
                {"source": "stem", "layers": [{"Conv2d": {"out_channels": 2, "kernel_size": 1}}]},
                {"source": "memory",
                 "layers": [{"Conv2d": {"out_channels": 2, "kernel_size": 1}}]},
            ],
            "apply": ["Tanh"],
        },
        {
            "name": "head",
            "merge": "concat",
            "edges": [
                {"source": "stem", "layers": ["Flatten", {"Linear": {"out_features": 2}}]},
                {"source": "memory", "layers": ["Flatten", {"Linear": {"out_features": 1}}]},
            ],
            "apply": ["Softplus", {"Linear": {"out_features": 2}}],
        },
    ],
    "outputs": {"out": {"group": "head"}},
}  # fmt: skip

# Delays of image, feedback, into memory, its own, of the skip, and of the long way.
ROLLOUTS = {
    "streaming": ("streaming", (1, 1, 1, 1, 1, 1)),
    "sequential": ("sequential", (0, 1, 0, 1, 0, 0)),
    "hybrid": ({"base": "streaming", "delays": {"image -> stem": 0, "memory -> head": 0}},
               (0, 1, 1, 1, 1, 0)),
    "delays of 2": ({"base": "streaming", "delays": {"memory -> memory": 2, "stem -> head": 2}},
                    (1, 1, 1, 2, 2, 1)),
    "feedback of 2": ("sequential", (0, 2, 0, 1, 0, 0)),
}  # fmt: skip


@pytest.fixture(params=list(ROLLOUTS))
def made(request):
    """A network under one rollout, its delays, and images."""
    rollout, delays = ROLLOUTS[request.param]
    content = copy.deepcopy(NETWORK)
    content["rollout"] = rollout
    content["groups"][0]["edges"][1]["delay"] = delays[1]
    network = StreamingNetwork(parse_network(content), seed=3)
    keys = [("image", "stem"), ("memory", "stem"), ("stem", "memory"), ("memory", "memory"),
            ("stem", "head"), ("memory", "head")]  # fmt: skip
    assert dict(zip(keys, delays, strict=True)) == network.rollout.delays
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (FRAMES, BATCH, 1, 4, 4), generator=rng, dtype=torch.uint8)
    return network, delays, images


@pytest.fixture
def in_double(monkeypatch):
    """Gives what brings a network to float64 through and through."""

    def take_in(group, source, state):
        return (group.intakes[source](state) if source in group.intakes else state).double()

    def doubled(network):
        monkeypatch.setattr(LayerGroup, "_take_in", take_in)
        network.double()
        for name in network.groups:
            network.group(name).dtype = torch.float64
        return network

    return doubled


def weighed(responses):
    """A number that every element of every response moves in its own way."""
    weights = torch.linspace(-1, 1, FRAMES * BATCH * 2, dtype=torch.float64).view(FRAMES, BATCH, 2)
    return sum((weights[t] * r.double().sin()).sum() for t, r in responses.items())


def rolled_out(network, images):
    """Responses by frame, of ``StreamingNetwork.advance``."""
    state, responses = network.init_state(), {}
    for t, image in enumerate(images):
        state, nodes = network.advance(state, {"image": image})
        if nodes["head"] is not None:
            responses[t] = nodes["head"]
    return responses


def by_hand(weights, delays, images):
    """Responses by frame, every frame and group written out; nothing of the package is used.

    Within a frame: stem, memory, head. That order fits every rollout here: wherever an edge's
    delay is 0, its source comes first.
    """
    d_image, d_back, d_memory, d_self, d_skip, d_long = delays
    states = {"stem": {}, "memory": {}, "head": {}}

    def conv(name, state, **how):
        return F.conv2d(state, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], **how)

    def linear(name, state):
        return F.linear(state, weights[f"{name}.weight"], weights[f"{name}.bias"])

    for t in range(len(images)):
        heard = []
        if t - d_image >= 0:
            image = images[t - d_image].float() * (1 / 255)
            image = (image.to(weights["stem.edges.image.0.weight"]) - 0.5) / 0.25
            heard.append(conv("stem.edges.image", image, stride=2, padding=1))
        if t - d_back in states["memory"]:
            heard.append(conv("stem.edges.memory", states["memory"][t - d_back]))
        if heard:
            states["stem"][t] = torch.tanh(sum(heard[1:], heard[0]))

        heard = []
        if t - d_memory in states["stem"]:
            heard.append(conv("memory.edges.stem", states["stem"][t - d_memory]))
        if t - d_self in states["memory"]:
            heard.append(conv("memory.edges.memory", states["memory"][t - d_self]))
        if heard:
            states["memory"][t] = torch.tanh(sum(heard[1:], heard[0]))

        is_skip, is_long = t - d_skip in states["stem"], t - d_long in states["memory"]
        if is_skip or is_long:
            none = torch.zeros(BATCH, 1).to(images[0].device, weights["head.after.1.weight"].dtype)
            skip, long = none.expand(-1, 2), none
            if is_skip:
                skip = linear("head.edges.stem.1", states["stem"][t - d_skip].flatten(1))
            if is_long:
                long = linear("head.edges.memory.1", states["memory"][t - d_long].flatten(1))
            merged = F.softplus(torch.cat([skip, long], dim=1))
            states["head"][t] = linear("head.after.1", merged)
    return states["head"]


def named(network):
    return {name.removeprefix("groups."): p for name, p in network.named_parameters()}


def gradients(number, parameters):
    found = torch.autograd.grad(number, list(parameters.values()))
    return dict(zip(parameters, found, strict=True))


def copies(network):
    """Leaves of the same values, which the network knows nothing of."""
    return {n: p.detach().clone().requires_grad_() for n, p in named(network).items()}


class TestBackPropagation:
    def test_agrees_with_central_differences_for_every_weight(self, made, in_double):
        network, _, images = made
        in_double(network)
        parameters = {n: p.detach().clone() for n, p in network.named_parameters()}

        def number(*values):
            state = dict(zip(parameters, values, strict=True))
            return torch.func.functional_call(_Rolled(network), _below(state), (images,))

        values = [v.requires_grad_() for v in parameters.values()]
        assert sum(v.numel() for v in values) > 50
        assert torch.autograd.gradcheck(number, values, eps=1e-6, atol=1e-8, rtol=1e-6)

    def test_agrees_with_the_graph_written_by_hand_for_every_weight(self, made, in_double):
        network, delays, images = made
        in_double(network)
        responses, weights = rolled_out(network, images), copies(network)
        expected = by_hand(weights, delays, images)
        assert list(responses) == list(expected)
        for t, response in responses.items():
            assert torch.allclose(response, expected[t], rtol=1e-12, atol=1e-12)
        found = gradients(weighed(responses), named(network))
        for name, gradient in gradients(weighed(expected), weights).items():
            assert gradient.abs().sum() > 0, name
            assert torch.allclose(found[name], gradient, rtol=1e-9, atol=1e-11), name

    def test_agrees_with_it_as_it_runs_in_single_precision(self, made):
        network, delays, images = made
        weights = copies(network)
        responses, expected = rolled_out(network, images), by_hand(weights, delays, images)
        assert list(responses) == list(expected)
        found = gradients(weighed(responses), named(network))
        for name, gradient in gradients(weighed(expected), weights).items():
            scale = float(gradient.abs().max())
            assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5 * scale), name

    def test_of_the_last_response_reaches_every_weight_through_the_frames(self, made):
        network, _, images = made
        last = rolled_out(network, images)[FRAMES - 1]
        for name, gradient in gradients(last.sum(), named(network)).items():
            assert gradient.abs().sum() > 0, name

    def test_of_an_early_response_knows_nothing_of_what_it_has_not_heard(self):
        network = StreamingNetwork(parse_network(NETWORK))
        images = torch.randint(0, 256, (3, BATCH, 1, 4, 4), dtype=torch.uint8)
        (first,) = rolled_out(network, images).values()  # through the skip alone
        first.sum().backward()
        reached = {name for name, p in named(network).items() if p.grad is not None}
        assert reached == {
            f"{layer}.{kind}"
            for layer in ("stem.edges.image.0", "head.edges.stem.1", "head.after.1")
            for kind in ("weight", "bias")
        }


class _Rolled(torch.nn.Module):
    """A rollout as one number, so that torch can put other weights into it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return weighed(rolled_out(self.network, images))


def _below(state):
    return {f"network.{name}": value for name, value in state.items()}
