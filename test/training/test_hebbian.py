"""Hebbian rules: the change is that of both sides by hand, and of no other weight."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.training import Piece, parse_plan, sequences_of
from streaming_net_ros.training.hebbian import HebbianLearner
from streaming_net_ros.training.learners import make_learners
from training.toys import (
    SMALL,
    changed,
    dense,
    drive_clips,
    learner,
    resumed_and_whole,
    same,
    small_network,
    small_plan,
    weights_of,
)


def hebbian(edge="stem -> memory", every=1, name="hebb", **rule):
    return {"name": name, "every": every, "hebbian": {"edge": edge, **rule}}


def hebbian_learner(network, **rule):
    plan = parse_plan({"learners": [hebbian(**rule)]})
    (one,) = make_learners(plan, network, drive_clips())
    return one


def heard_sequence(network, *learners, frames=6, seed=0):
    """The network lives a sequence and the learners hear it; gives the piece."""
    plan = small_plan(responses=frames - 2, seed=seed)
    batch = sequences_of(plan, drive_clips(), network).batch(0, 4, seed)
    state, piece = network.init_state(), Piece(batch, 0, True)
    for image in batch.images():
        state, nodes = network.advance(state, {"image": image})
        piece.nodes.append(nodes)
        for one in learners:
            one.hear(nodes)
    return piece


def change_by_hand(rule, weight, pairs, after=lambda x: x):
    """The mean over frames and batch of what a rule says of (x, y), element by element."""
    total, count = torch.zeros_like(weight), 0
    for x, y in pairs:
        for one, other in zip(after(x), y, strict=True):
            correlation = torch.outer(other, one)
            total += {
                "hebbian": correlation,
                "anti_hebbian": -correlation,
                "oja": correlation - (other**2)[:, None] * weight,
            }[rule]
            count += 1
    return total / count


class TestWhatItChanges:
    @pytest.mark.parametrize("rule", ["hebbian", "anti_hebbian", "oja"])
    @pytest.mark.parametrize(
        "rollout, edge, delay",
        [
            ("streaming", "stem -> memory", 1),
            ("streaming", "memory -> memory", 1),
            ("sequential", "stem -> memory", 0),
            ({"base": "streaming", "delays": {"memory -> memory": 2}}, "memory -> memory", 2),
        ],
    )
    def test_the_change_is_that_of_both_sides_by_hand(self, rule, rollout, edge, delay):
        network = small_network(rollout)
        one = hebbian_learner(network, edge=edge, rule=rule, rate=0.1)
        source, target = edge.split(" -> ")
        piece = heard_sequence(network, one)
        nodes = piece.nodes
        pairs = [
            (nodes[t - delay][source], nodes[t][target])
            for t in range(delay, len(nodes))
            if nodes[t - delay][source] is not None
        ]
        assert len(pairs) >= 2
        linear = network.group(target).edges[source][0]
        before = weights_of(network)
        change = 0.1 * change_by_hand(rule, linear.weight.detach().clone(), pairs)
        norm = one.update()
        change = change.detach()
        assert torch.allclose(
            linear.weight, before[f"groups.{target}.edges.{source}.0.weight"] + change, atol=1e-6
        )
        assert norm == pytest.approx(float(change.norm()), rel=1e-5) and norm > 0
        assert changed(before, network) == {f"{target}.edges.{source}.0.weight"}

    def test_an_image_is_heard_as_the_linear_hears_it(self):
        network = small_network("sequential")
        one = hebbian_learner(network, edge="image -> stem", rule="hebbian", rate=0.1)
        piece = heard_sequence(network, one)
        pairs = [((n["image"].flatten(1) / 255 - 0.5) / 0.25, n["stem"]) for n in piece.nodes]
        linear = network.group("stem").edges["image"][1]
        before = linear.weight.detach().clone()
        one.update()
        by_hand = 0.1 * change_by_hand("hebbian", before, pairs)
        assert torch.allclose(linear.weight, before + by_hand, atol=1e-5)

    def test_hebbian_and_anti_hebbian_are_opposite(self):
        moved = []
        for rule in ("hebbian", "anti_hebbian"):
            network = small_network()
            before = network.group("memory").edges["stem"][0].weight.detach().clone()
            one = hebbian_learner(network, rule=rule, rate=0.01)
            heard_sequence(network, one)
            one.update()
            moved.append(network.group("memory").edges["stem"][0].weight - before)
        assert torch.allclose(moved[0], -moved[1], atol=1e-7) and moved[0].abs().sum() > 0

    @pytest.mark.parametrize("rule", ["hebbian", "anti_hebbian", "oja"])
    def test_no_units_weights_grow_beyond_the_limit(self, rule):
        network = small_network()
        one = hebbian_learner(network, rule=rule, rate=5.0, limit=0.7)
        heard_sequence(network, one)
        one.update()
        norms = network.group("memory").edges["stem"][0].weight.norm(dim=1)
        assert (norms <= 0.7 + 1e-6).all()

    def test_weights_within_the_limit_are_not_scaled(self):
        network = small_network()
        before = network.group("memory").edges["stem"][0].weight.detach().clone()
        one = hebbian_learner(network, rule="hebbian", rate=1e-12, limit=1e3)
        heard_sequence(network, one)
        one.update()
        assert torch.equal(network.group("memory").edges["stem"][0].weight, before)

    def test_what_nobody_heard_changes_nothing(self):
        network = small_network()
        one = hebbian_learner(network)
        before = weights_of(network)
        heard_sequence(network, one, frames=3)  # memory hears the stem from frame 2 on
        assert one.update() > 0
        after = weights_of(network)
        assert one.update() == 0.0 and same(after, weights_of(network))
        assert not same(before, after)

    def test_it_changes_weights_every_third_step_by_the_mean(self):
        network = small_network()
        one = hebbian_learner(network, rule="hebbian", rate=0.1)
        pieces = [heard_sequence(network, one, seed=seed) for seed in range(3)]
        pairs = [
            (p.nodes[t - 1]["stem"], p.nodes[t]["memory"])
            for p in pieces
            for t in range(2, len(p.nodes))
        ]
        linear = network.group("memory").edges["stem"][0]
        before = linear.weight.detach().clone()
        one.update()
        by_hand = 0.1 * change_by_hand("hebbian", before, pairs)
        assert torch.allclose(linear.weight, before + by_hand, atol=1e-6)

    def test_it_learns_beside_a_loss_and_goes_on_bit_for_bit(self, tmp_path):
        plan = small_plan(
            learner(parameters=["head.*"]),
            hebbian(edge="memory -> memory", every=2, rate=0.05),
            steps=7,
        )
        (tensors, facts), (other, others) = resumed_and_whole(plan, tmp_path)
        assert same(tensors, other) and facts == others
        name = "weights.groups.memory.edges.memory.0.weight"
        start = weights_of(small_network())
        assert not torch.equal(tensors[name], start[name.removeprefix("weights.")])
        assert torch.equal(tensors["weights.groups.stem.edges.image.1.weight"],
                           start["groups.stem.edges.image.1.weight"])  # fmt: skip

    def test_ojas_rule_finds_the_first_principal_direction_at_unit_norm(self):
        content = {
            "name": "oja",
            "rate_hz": 10,
            "inputs": {
                "x": {"type": "vector", "topic_type": "std_msgs/msg/Float64",
                      "fields": ["a", "b", "c"]}
            },
            "groups": [
                {"name": "relay", "edges": [{"source": "x"}]},
                {"name": "unit", "edges": [
                    {"source": "relay",
                     "layers": [{"Linear": {"out_features": 1, "bias": False}}]}
                ]},
            ],
            "outputs": {"unit": {"group": "unit"}},
        }  # fmt: skip
        network = StreamingNetwork(parse_network({**content, "rollout": "sequential"}), seed=2)
        one = hebbian_learner(network, edge="relay -> unit", rule="oja", rate=0.05)
        direction = torch.tensor([2.0, -1.0, 2.0]) / 3
        rng = torch.Generator().manual_seed(0)
        weight = network.group("unit").edges["relay"][0].weight
        for _ in range(400):
            x = 0.3 * torch.randn(32, 3, generator=rng)
            x = x + 1.5 * torch.randn(32, 1, generator=rng) * direction
            with torch.no_grad():
                _, nodes = network.advance(network.init_state(), {"x": x})
            one.hear(nodes)
            one.update()
        assert weight.detach().norm().item() == pytest.approx(1, abs=0.05)
        assert abs(float(weight.detach()[0] @ direction / weight.detach().norm())) > 0.99

    def test_a_change_that_is_no_number_is_none(self):
        network = small_network()
        one = hebbian_learner(network)
        nodes = heard_sequence(network).nodes[-1]
        before = weights_of(network)
        one.hear(nodes | {"memory": torch.full_like(nodes["memory"], torch.nan)})
        assert math.isnan(one.update())
        assert same(before, weights_of(network)) and one.update() == 0.0

    def test_what_a_judged_network_hears_teaches_nothing(self):
        network = small_network()
        one = hebbian_learner(network)
        heard_sequence(network.eval(), one)
        assert one.update() == 0.0


class TestWhatItIsNot:
    @pytest.mark.parametrize(
        "edge, change, words",
        [
            ("stem > memory", None, ["no such edge", "stem -> memory", "stem > memory"]),
            ("memory -> image", None, ["no such edge"]),
            ("head -> memory", None, ["no such edge"]),
            ("stem -> memory", ["Tanh"], ["for a dense edge", "end in a Linear"]),
            ("stem -> memory", [], ["for a dense edge"]),
        ],
    )
    def test_edges_that_are_none_or_end_in_no_linear_are_refused(self, edge, change, words):
        content = copy.deepcopy(SMALL)
        if change is not None:
            content["groups"][1]["edges"] = [
                {"source": "stem", "layers": [dense(5), *change] if change else []}
            ]
        with pytest.raises(ParameterError) as error:
            hebbian_learner(StreamingNetwork(parse_network(content)), edge=edge)
        for word in ["learners[0] (hebb).hebbian.edge", *words]:
            assert word in str(error.value)

    def test_a_group_whose_state_has_other_elements_than_the_units_is_refused(self):
        content = copy.deepcopy(SMALL)
        content["groups"][1]["apply"] = [dense(4)]
        content["groups"][1]["edges"].pop()
        content["groups"][0]["edges"].pop()
        with pytest.raises(ParameterError, match="one element per unit") as error:
            hebbian_learner(StreamingNetwork(parse_network(content)))
        assert "expected (5,), got (4,)" in str(error.value)

    def test_it_has_no_loss(self):
        network = small_network()
        one = hebbian_learner(network)
        assert isinstance(one, HebbianLearner)
        piece = heard_sequence(network, one)
        assert one.follow(piece, 1.0, keep_graph=True) is None
