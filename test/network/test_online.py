"""A group that learns while it streams: what an update is, when it counts, and how it ends."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from networks import TINY
from streaming_net_ros.errors import NetworkFileError, RolloutError
from streaming_net_ros.network import (
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    learners_of,
    parse_network,
    rollout_of,
)
from streaming_net_ros.network.flat import flattened
from streaming_net_ros.network.local import relative_change, within
from streaming_net_ros.network.online import OnlineLearner

TELEOP = {
    "type": "vector",
    "topic_type": "geometry_msgs/msg/TwistStamped",
    "fields": ["twist.angular.z", "twist.linear.x"],
}
TAUGHT = {"rule": "local", "target": "teleop", "delay": 2, "rate": 0.1, "period_frames": 4}


def taught(learning=TAUGHT, group="head", **keys):
    """The tiny network with a driver's commands beside the camera, and one group that learns."""
    content = copy.deepcopy(TINY)
    content["learning"] = {group: learning}
    if learning.get("target") == "teleop":
        content["inputs"]["teleop"] = TELEOP
    return {**content, **keys}


def network_of(content, seed=0):
    return StreamingNetwork(parse_network(content), seed=seed).eval()


def fed(frame, spec):
    generator = torch.Generator().manual_seed(frame)
    image = torch.randint(0, 256, (1, 3, 12, 16), dtype=torch.uint8, generator=generator)
    inputs = {"image": StampedState(image, frame)}
    if "teleop" in spec.inputs:
        label = torch.tensor([[0.8, -0.5]])
        inputs["teleop"] = StampedState(label, frame)
    return inputs


def stream(network, frames=30, is_on=True, on=lambda frame, learner: None):
    """Lives some frames; gives (states by (group, frame), the learner)."""
    learners = learners_of(network)
    (learner,) = learners.values()
    if is_on:
        learner.begin()
    rollout, made = OfflineRollout(network, learners), {}
    for frame in range(frames):
        on(frame, learner)
        for done in rollout.feed(frame, fed(frame, network.spec)):
            made[done.group, done.frame] = done.state.batch
    return made, learner


def weights(network):
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def changed(before, network):
    return [name for name, p in network.named_parameters() if not torch.equal(before[name], p)]


# --- off, on, and at which frame -------------------------------------------------------------


def test_nothing_is_learnt_unless_it_was_turned_on():
    network = network_of(taught())
    before = weights(network)
    made, learner = stream(network, is_on=False)
    plain, _ = stream(network_of(taught()), is_on=False)
    assert not changed(before, network) and learner.updates == 0
    assert all(torch.equal(made[key], plain[key]) for key in plain)


def test_only_the_groups_own_weights_change_and_the_same_frames_give_the_same():
    network, other = network_of(taught()), network_of(taught())
    before = weights(network)
    made, learner = stream(network)
    again, _ = stream(other)
    names = changed(before, network)
    assert names and all(name.startswith("groups.head.") for name in names)
    assert made.keys() == again.keys()
    assert all(torch.equal(made[key], again[key]) for key in made)
    # 'head' has states in frames 2 to 31; from frame 4 on all of its sources exist, and teach.
    assert learner.updates == 28 // 4 and learner.loss is not None


def test_an_update_counts_from_the_frame_after_its_last_lesson():
    learnt, _ = stream(network_of(taught()))
    plain, _ = stream(network_of(taught()), is_on=False)
    frames = sorted(frame for group, frame in learnt if group == "head")
    first = next(f for f in frames if not torch.equal(learnt["head", f], plain["head", f]))
    # 'deep' reaches 'head' in its frame 4; it is the last source to exist. Then four lessons.
    assert first == 4 + 4


def test_it_learns_what_it_is_told():
    content = taught({**TAUGHT, "rate": 0.01, "optimizer": "adam", "limit": 100.0})
    made, _ = stream(network_of(content), 120)
    label = torch.tensor([0.8, -0.5])
    wrong = [float((made["head", frame] - label).abs().mean()) for frame in (8, 121)]
    assert wrong[1] < 0.6 * wrong[0]


def test_what_was_collected_before_it_was_turned_off_is_forgotten():
    learner = OnlineLearner(network_of(taught()), "head")
    learner.begin()
    heard = dict.fromkeys(("stem", "deep", "teleop"), torch.zeros(1, 2))
    for frame in range(3):
        learner.hear(frame, heard)
    learner.end()
    learner.hear(3, heard)
    learner.begin()
    learner.hear(4, heard)
    assert not learner.due()


def test_a_frame_without_its_target_or_one_of_its_sources_teaches_nothing():
    learner = OnlineLearner(network_of(taught({**TAUGHT, "period_frames": 1})), "head")
    learner.begin()
    state = torch.zeros(1, 2)
    learner.hear(1, {"stem": state, "deep": state})
    learner.hear(2, {"stem": state, "teleop": state})
    assert not learner.due()
    learner.hear(3, {"stem": state, "deep": state, "teleop": state})
    assert [lesson.frame for lesson in learner.due()] == [3]


def test_an_update_of_an_earlier_beginning_has_no_effect():
    network = network_of(taught())
    learner = OnlineLearner(network, "head")
    update = learnable(learner, network)
    learner.end()
    before = weights(network)
    assert not learner.apply(update)
    learner.begin()
    assert not learner.apply(update) and not changed(before, network)


def learnable(learner, network, spoil=None):
    """An update from random lessons."""
    learner.begin()
    generator = torch.Generator().manual_seed(1)
    for frame in range(learner.spec.period_frames):
        heard = {
            source: torch.rand((1, *network.shapes[source]), generator=generator)
            for source in (*network.group("head").sources, "teleop")
        }
        if spoil is not None:
            heard = {source: spoil(state) for source, state in heard.items()}
        learner.hear(frame, heard)
    return learner.compute(learner.due())


def test_flattened_layers_see_what_was_learnt_and_work_under_inference():
    network = network_of(taught())
    learner = OnlineLearner(network, "head")
    flat = flattened(network.group("head"))
    heard = {source: torch.rand(1, *network.shapes[source]) for source in ("stem", "deep")}
    with torch.inference_mode():
        old = flat(heard)
        assert learner.apply(learnable(learner, network))
        new = flat(heard)
        assert torch.equal(new, network.group("head")(heard)) and not torch.equal(new, old)


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_no_tensor_goes_further_than_the_limit(optimizer):
    network = network_of(taught({**TAUGHT, "rate": 50.0, "limit": 0.1, "optimizer": optimizer}))
    before = weights(network)
    _, learner = stream(network)
    changes = [relative_change(p.detach(), before[name]) for name, p in network.named_parameters()]
    assert max(changes) == pytest.approx(0.1, rel=1e-3)
    assert learner.change == pytest.approx(max(changes), rel=1e-3)


def test_the_limit_counts_from_the_first_beginning_unless_it_begins_anew():
    network = network_of(taught({**TAUGHT, "rate": 50.0, "limit": 0.1}))
    before = weights(network)

    def on(frame, learner):
        if frame in (12, 20):
            learner.end()
            learner.begin(anew=frame == 20)

    stream(network, 19, on=on)
    far = {n: relative_change(p.detach(), before[n]) for n, p in network.named_parameters()}
    assert max(far.values()) <= 0.1 * 1.001
    stream(network, 40, on=on)
    far = {n: relative_change(p.detach(), before[n]) for n, p in network.named_parameters()}
    assert max(far.values()) > 0.1 * 1.01


def test_a_tensor_of_noughts_stays_one():
    base = torch.zeros(3)
    assert relative_change(base, base) == 0 and relative_change(torch.ones(3), base) == math.inf
    assert torch.equal(within(torch.ones(3), base, 0.5), base)


def test_nan_stops_learning_and_changes_nothing():
    network = network_of(taught())
    learner = OnlineLearner(network, "head")
    before = weights(network)
    update = learnable(learner, network, spoil=lambda state: state * math.nan)
    assert update.weights is None and not learner.apply(update)
    assert not changed(before, network)
    assert not learner.is_on and "NaN or infinity in the update from frame 3" in learner.stopped
    learner.begin()
    assert learner.is_on and not learner.stopped


def test_a_state_that_becomes_nan_brings_the_weights_before_the_last_update_back():
    content = taught({**TAUGHT, "rate": 1e-3, "limit": 100.0})
    content["groups"][-1]["apply"] = []  # no Tanh: what is too large overflows
    network = network_of(content)
    kept = {}

    def on(frame, learner):
        if frame == 15:
            kept.update(weights(network))
            learner.apply(broken(learner, network))

    made, learner = stream(network, 30, on=on)
    assert not changed(kept, network)
    assert not learner.is_on and "weights before the last update are back" in learner.stopped
    assert all(bool(batch.isfinite().all()) for batch in made.values())


def broken(learner, network):
    """Finite weights that make an infinite state."""
    update = learner.compute([learner._lessons[-1]])
    huge = {name: torch.full_like(tensor, 3e38) for name, tensor in update.weights.items()}
    return type(update)(update.frames, update.rate, update.loss, huge, update.pupil)


def test_an_infinite_state_that_learning_did_not_make_changes_nothing():
    learner = OnlineLearner(network_of(taught()), "head")
    assert not learner.take_back()
    learner.begin()
    assert not learner.take_back() and learner.is_on


# --- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["hebbian", "anti_hebbian", "oja"])
def test_a_hebbian_rule_changes_the_dense_layer_as_by_hand(rule):
    content = taught({"rule": rule, "edge": "deep", "rate": 0.01, "period_frames": 2})
    network = network_of(content)
    learner = OnlineLearner(network, "head")
    weight = network.group("head").edges["deep"][-1].weight.detach().clone()
    learner.begin()
    group, expected = network.group("head"), torch.zeros_like(weight)
    for frame in range(2):
        heard = {source: torch.rand(1, *network.shapes[source]) for source in group.sources}
        learner.hear(frame, heard)
        x, y = heard["deep"].flatten(), group(heard).detach()[0]
        change = torch.outer(y, x)
        expected += {
            "hebbian": change,
            "anti_hebbian": -change,
            "oja": change - y.square()[:, None] * weight,
        }[rule]
    assert learner.apply(learner.compute(learner.due()))
    now = network.group("head").edges["deep"][-1].weight
    assert torch.allclose(now, weight + 0.01 * expected / 2, atol=1e-6)
    assert learner.loss is None


@pytest.mark.parametrize(
    "learning, group",
    [
        ({"rule": "local", "target": "stem"}, "memory"),  # another group's state, by its edge
        ({"rule": "local", "target": "memory"}, "memory"),  # its own last state
        ({"rule": "local", "target": "deep", "delay": 3}, "memory"),  # one that it does not hear
        (
            {
                "rule": "local",
                "target": "image",
                "readout": [{"ConvTranspose2d": {"out_channels": 3, "kernel_size": 2,
                                                 "stride": 2}}],
            },
            "stem",
        ),  # reconstruction
    ],
)  # fmt: skip
def test_a_target_may_be_any_node(learning, group):
    network = network_of(taught({**learning, "period_frames": 3}, group))
    before = weights(network)
    made, learner = stream(network, 20)
    assert learner.updates > 2 and learner.loss is not None
    assert changed(before, network)
    assert all(name.startswith(f"groups.{group}.") for name in changed(before, network))
    assert all(bool(batch.isfinite().all()) for batch in made.values())


def test_patterns_choose_among_the_groups_weights():
    network = network_of(taught({**TAUGHT, "parameters": ["*.bias"]}))
    before = weights(network)
    stream(network)
    names = changed(before, network)
    assert names == ["groups.head.edges.stem.2.bias", "groups.head.edges.deep.1.bias"]


# --- what a network file says ----------------------------------------------------------------


def test_who_is_heard_for_learning_alone_is_no_part_of_the_state():
    spec = parse_network(taught())
    assert spec.teachers == {"head": "teleop"}
    assert rollout_of(spec).delay("teleop", "head") == 2
    plain, spec_plain = network_of(taught()), network_of(TINY)
    one, _ = stream(plain, is_on=False)
    rollout = OfflineRollout(spec_plain)
    for frame in range(30):
        inputs = {"image": fed(frame, spec_plain.spec)["image"]}
        for done in rollout.feed(frame, inputs):
            assert torch.equal(done.state.batch, one[done.group, done.frame])


def test_a_group_does_not_hear_its_teacher_before_there_is_anything_to_teach():
    with pytest.raises(NetworkFileError, match=r"write 'delay: 2' into that section"):
        parse_network(taught({**TAUGHT, "delay": 1}))
    spec = parse_network({**taught({**TAUGHT, "delay": 0}), "rollout": "sequential"})
    with pytest.raises(RolloutError, match="before there is anything to teach"):
        rollout_of(spec, "streaming")


@pytest.mark.parametrize(
    "learning, group, expected",
    [
        ({**TAUGHT}, "hed", r"'learning' names group 'hed'.*did you mean 'head'"),
        ({"rule": "local"}, "head", "rule 'local' needs a 'target'"),
        ({"rule": "oja"}, "head", "rule 'oja' needs an 'edge'"),
        ({"rule": "oja", "edge": "deep", "target": "stem"}, "head", "'target' does not belong"),
        ({"rule": "oja", "edge": "memory"}, "head", "no edge comes from 'memory'"),
        ({"rule": "local", "target": "teleopp"}, "head", "neither an input nor a group"),
        ({"rule": "local", "target": "stem", "delay": 1}, "head", "remove 'delay'"),
        ({**TAUGHT, "rate": -1}, "head", "greater than 0"),
        ({**TAUGHT, "period": 3}, "head", "did you mean 'period_frames'"),
        ({**TAUGHT, "limit": math.inf}, "head", "finite"),
    ],
)
def test_a_section_that_cannot_be_is_told(learning, group, expected):
    with pytest.raises(NetworkFileError, match=expected) as told:
        parse_network(taught(learning, group))
    assert "network.yaml" in str(told.value)


@pytest.mark.parametrize(
    "learning, group, expected",
    [
        ({"rule": "local", "target": "deep"}, "head", "differ in shape.*readout"),
        ({**TAUGHT, "loss": "CrossEntropyLoss"}, "head", "unknown loss.*one of MSELoss"),
        ({**TAUGHT, "loss": {"HuberLoss": {"delta": -1}}}, "head", "torch refuses"),
        ({**TAUGHT, "parameters": ["edges.stam.*"]}, "head", "no weight of the group"),
        ({"rule": "oja", "edge": "stem"}, "memory", "Hebbian rule is for a dense edge"),
        ({**TAUGHT, "readout": [{"shared": "no"}]}, "head", "cannot use a shared stack"),
    ],
)
def test_a_rule_that_does_not_fit_its_group_is_told(learning, group, expected):
    with pytest.raises(NetworkFileError, match=expected):
        learners_of(network_of(taught(learning, group)))
