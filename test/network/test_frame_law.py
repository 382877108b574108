"""The frame law: step, the mailbox-driven rollout, and the definition agree bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import GOLDEN_TOY, TINY
from strategies import rollouts
from streaming_net_ros.errors import StateError
from streaming_net_ros.network import (
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    parse_network,
    rollout_of,
)
from streaming_net_ros.theory import Rollout, first_frames, response_times


def spec_of(rollout: Rollout, every: int = 1):
    """A network file with one small dense layer per edge for a random rollout.

    Groups compute in every frame, every second, ... up to ``every``, in turn.
    """
    graph = rollout.graph
    return parse_network(
        {
            "name": "random",
            "rate_hz": 10,
            "inputs": {
                name: {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
                for name in graph.inputs
            },
            "groups": [
                {
                    "name": group,
                    "edges": [
                        {
                            "source": edge.source,
                            "delay": rollout.delay(edge.source, group),
                            "layers": [{"Linear": {"out_features": 3}}],
                        }
                        for edge in graph.edges_into(group)
                    ],
                    "merge": "product" if number % 3 == 2 else "sum",
                    "apply": ["Tanh"],
                    "every": 1 + number % every,
                    "offset": number % (1 + number % every),
                }
                for number, group in enumerate(graph.groups)
            ],
            "outputs": {group: {"group": group} for group in graph.groups},
        }
    )


def images(spec, frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(frames):
        yield {
            name: torch.randint(0, 256, (1, *given.shape), generator=generator).to(
                torch.uint8 if len(given.shape) == 3 else torch.float32
            )
            for name, given in spec.inputs.items()
        }


def by_step(network, frames):
    """Per group its states, by frame."""
    state, made = network.init_state(), {group: {} for group in network.groups}
    with torch.inference_mode():
        for t, given in enumerate(frames):
            state, new = network.advance(state, given)
            for group, states in made.items():
                if new[group] is not None:
                    states[t] = new[group]
    return made


def by_mailbox(network, frames, start=1200):  # a multiple of all periods
    offline, made = OfflineRollout(network), {group: {} for group in network.groups}
    for t, frame in enumerate(frames):
        stamped = {name: StampedState(batch, 7 * t) for name, batch in frame.items()}
        for done in offline.feed(start + t, stamped):
            assert done.frame - start not in made[done.group], "computed twice"
            made[done.group][done.frame - start] = done.state
    return made


@pytest.mark.parametrize(
    "choice, answers",
    [("sequential", {0: 1, 1: 4, 2: 12, 3: 33, 4: 88}), ("streaming", {1: 1, 2: 3, 3: 7, 4: 15})],
)
def test_the_golden_toy_answers_as_the_design_says(choice, answers):
    spec = parse_network(GOLDEN_TOY)
    network = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    ones = [{"one": torch.ones(1, 1)}] * 5
    assert {t: b.item() for t, b in by_step(network, ones)["b"].items()} == answers
    offline = {t: s.batch.item() for t, s in by_mailbox(network, ones)["b"].items()}
    assert {t: value for t, value in offline.items() if t < 5} == answers


@settings(max_examples=40)
@given(rollouts(max_groups=4, max_edges=7), st.integers(0, 100), st.integers(1, 4))
def test_step_and_mailbox_agree_bit_for_bit_on_every_valid_rollout(rollout, seed, every):
    spec = spec_of(rollout, every)
    network = StreamingNetwork(spec, seed=seed).eval()
    frames = list(images(spec, 8, seed))
    stepped, offline = by_step(network, frames), by_mailbox(network, frames)
    first = first_frames(network.rollout)
    for group in network.groups:
        assert sorted(stepped[group]) == list(range(first[group], 8))
        assert sorted(offline[group]) == list(range(first[group], 8 + first[group]))
        for t, batch in stepped[group].items():
            assert torch.equal(batch, offline[group][t].batch)
            assert batch.stride() == offline[group][t].batch.stride()


def test_a_group_with_a_period_computes_in_its_frames_and_repeats_its_state_in_the_others(tiny):
    tiny["groups"][2].update(every=3, offset=1)  # deep: its first frame is 3
    network = StreamingNetwork(parse_network(tiny)).eval()
    deep = by_step(network, images(network.spec, 12))["deep"]
    fresh = [t for t in range(4, 12) if not torch.equal(deep[t], deep[t - 1])]
    assert min(deep) == 3 and fresh == [4, 7, 10]


@pytest.mark.parametrize("choice", ["streaming", "sequential"])
def test_the_first_response_comes_at_the_frame_that_theory_says(choice):
    spec = parse_network(TINY)
    network = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    stepped = by_step(network, images(spec, 8))
    for output in spec.outputs.values():
        times = response_times(network.rollout)[output.group]
        assert min(stepped[output.group]) == times.first_frames


def test_a_response_carries_the_capture_time_of_the_newest_image_inside():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec).eval()
    made = by_mailbox(network, images(spec, 8))
    first = first_frames(network.rollout)
    for group, states in made.items():
        assert {t: s.captured_ns for t, s in states.items()} == {
            t: 7 * (t - first[group]) for t in states
        }


def test_no_image_reaches_an_output_before_the_first_and_all_paths_by_the_full_response():
    """Change one image: the output changes exactly at the ages that theory lists."""
    spec = parse_network(
        {**TINY, "groups": [
            {**g, "edges": [e for e in g["edges"] if e["source"] not in ("deep", "memory")
                            or g["name"] in ("head", "deep")]}
            for g in TINY["groups"]
        ]}
    )  # fmt: skip
    network = StreamingNetwork(spec).eval()
    frames = list(images(spec, 12))
    plain = by_step(network, frames)["head"]
    frames[4] = {"image": 255 - frames[4]["image"]}
    changed = by_step(network, frames)["head"]
    differs = {t - 4 for t in plain if not torch.equal(plain[t], changed[t])}
    assert differs == set(response_times(network.rollout)["head"].ages["image"].delays)


def test_a_batch_gives_what_its_members_give():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec).eval()
    one, two = list(images(spec, 6, 1)), list(images(spec, 6, 2))
    both = [{"image": torch.cat([a["image"], b["image"]])} for a, b in zip(one, two, strict=True)]
    made = by_step(network, both)
    for member, frames in enumerate((one, two)):
        for group, states in by_step(network, frames).items():
            for t, batch in states.items():
                assert torch.allclose(made[group][t][member], batch[0], atol=1e-5)


def test_gradients_reach_every_parameter_and_every_image_of_the_window():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec)
    frames = [{"image": f["image"].float().requires_grad_()} for f in images(spec, 10)]
    state, total = network.init_state(), torch.zeros(())
    for frame in frames:
        state, outputs = network.step(state, frame)
        if outputs["drive"] is not None:
            total = total + outputs["drive"].square().sum()
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert all(f["image"].grad.abs().sum() > 0 for f in frames[:8])


def test_a_detached_state_is_cut_off_from_the_past():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec)
    state = network.init_state()
    for frame in images(spec, 5):
        state, _ = network.step(state, frame)
    kept = [s for states in state.detach().history.values() for s in states if s is not None]
    assert kept and not any(s.requires_grad for s in kept)


def test_half_precision_states_are_half_on_every_edge(tiny):
    spec = parse_network({**tiny, "state_dtype": "float16"})
    network = StreamingNetwork(spec).eval()
    stepped, offline = (f(network, list(images(spec, 6))) for f in (by_step, by_mailbox))
    for group, states in stepped.items():
        for t, batch in states.items():
            assert batch.dtype is torch.float16
            assert torch.equal(batch, offline[group][t].batch)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"image": torch.zeros(1, 3, 12, 15)}, "input of another shape"),
        ({"picture": torch.zeros(1, 3, 12, 16)}, "unknown input"),
    ],
)
def test_a_wrong_input_is_refused(given, message):
    network = StreamingNetwork(parse_network(TINY))
    with pytest.raises(StateError, match=message):
        network.step(network.init_state(), given)


def test_offline_refuses_frames_out_of_order_and_missing_inputs():
    spec = parse_network(TINY)
    network = StreamingNetwork(spec).eval()
    offline = OfflineRollout(network)
    (frame,) = images(spec, 1)
    stamped = {"image": StampedState(frame["image"], 0)}
    list(offline.feed(5, stamped))
    with pytest.raises(StateError, match="out of order"):
        list(offline.feed(9, stamped))
    with pytest.raises(StateError, match="every input"):
        list(offline.feed(6, {}))
