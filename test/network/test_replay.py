"""A run with holds, skips and silences, computed again from its ledger: bit for bit."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.ledger import (
    RESTART,
    ChangeLine,
    FrameLine,
    InputLine,
    ResponseLine,
    Tuned,
)
from streaming_net_ros.network import (
    GroupFrame,
    StreamingNetwork,
    check_head,
    parse_network,
    replay,
    rollout_of,
    run_head,
)
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.theory import sequential
from troubled import GRID, SENSED_NETWORK, TINY_NETWORK, image, lived

networks = st.sampled_from([TINY_NETWORK, SENSED_NETWORK])
works = st.lists(st.sampled_from([0.0, 0.3, 2.5]), min_size=1, max_size=4)
losses = st.lists(st.booleans(), min_size=1, max_size=8).filter(lambda lost: not all(lost))
some_frames = st.sets(st.integers(2, 24), max_size=3)


def replayed(network, lines):
    """States and stamps by (group, frame), and responses, as a replay gives them."""
    states, responses = {}, []
    for done in replay(network, lines, lambda _, at: image(at)):
        if isinstance(done, GroupFrame):
            states[done.group, done.frame] = done.state.batch, done.state.captured_ns
        else:
            responses.append((done.line, done.state.batch, done.state.captured_ns))
    return states, responses


def assert_as_lived(network, made, lines):
    states, responses = replayed(network, lines)
    assert states.keys() == made.keys()
    assert {key: stamp_ns for key, (_, stamp_ns) in states.items()} == {
        key: stamp_ns for key, (_, stamp_ns) in made.items()
    }
    assert all(torch.equal(states[key][0], made[key][0]) for key in made)
    for line, batch, stamp_ns in responses:
        own, own_ns = made[network.spec.outputs[line.output].group, line.frame]
        assert torch.equal(batch, own) and stamp_ns == own_ns
    told = [line for line in lines if isinstance(line, ResponseLine)]
    key = lambda line: (line.output, line.frame)  # noqa: E731
    assert sorted((line for line, *_ in responses), key=key) == sorted(told, key=key)


@settings(max_examples=30, deadline=None)
@given(networks, works, losses, some_frames, some_frames)
def test_a_run_is_computed_again_bit_for_bit(network, works, losses, broken, kept_back):
    made, lines = lived(works, losses, network, broken=broken, kept_back=kept_back)
    assert_as_lived(network, made, lines)


def test_a_run_is_computed_again_by_the_backends_and_threads_that_computed_it(monkeypatch):
    _, lines = lived([0.1], [False], frames=8)
    own = run_head(TINY_NETWORK.spec, TINY_NETWORK.rollout, GRID, "realtime", weights=None)
    head = replace(own, torch_threads=3, tuned={"deep": Tuned("onnxruntime", 2)})
    made = {}

    def make(group, examples, backend, torch_threads):
        assert examples.keys() == set(group.sources)
        made[group.name] = backend, torch_threads
        return Runner(group, lambda states: group({"memory": states[0]}) + 1, examples)

    module = sys.modules["streaming_net_ros.network.replay"]  # the package names its function so
    monkeypatch.setattr(module, "make_runner", make)
    threads = torch.get_num_threads()
    try:
        states = {(d.group, d.frame): d.state.batch
                  for d in replay(TINY_NETWORK, lines, lambda _, at: image(at), head)
                  if isinstance(d, GroupFrame)}  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    assert made == {"deep": ("onnxruntime", 2)}
    with torch.inference_mode():
        eager = TINY_NETWORK.group("deep")({"memory": states["memory", 3]})
    (told,) = [line for line in lines if getattr(line, "group", "") == "deep" and line.frame == 4]
    assert told.inputs == {"memory": 3} and torch.equal(states["deep", 4], eager + 1)


def test_what_was_changed_is_gone_where_a_process_was_started_again():
    made, lines = lived([0.1], [False], frames=12)
    heads = [at for at, line in enumerate(lines) if getattr(line, "group", "") == "head"]
    doubled = ChangeLine("head", lines[heads[2]].frame, "edge.stem.gain", 2.0, 0)
    again = ChangeLine("head", 0, RESTART, "", 0)
    changed = [*lines]
    changed.insert(heads[6], again)
    changed.insert(heads[2], doubled)
    states, _ = replayed(TINY_NETWORK, changed)
    same = [torch.equal(states["head", lines[at].frame][0], made["head", lines[at].frame][0])
            for at in heads]  # fmt: skip
    assert same[:2] == [True] * 2 and not any(same[2:6]) and all(same[6:])
    assert not TINY_NETWORK.group("head").gains  # as it was before the replay


def test_the_trouble_holds_skips_repeats_breaks_and_keeps_back():
    _, lines = lived([0.0, 2.5, 0.3], [False, True, False], SENSED_NETWORK, broken=(5, 14),
                     kept_back=range(8, 20))  # fmt: skip
    frames = [line for line in lines if isinstance(line, FrameLine)]
    assert any(line.held for line in frames) and any(line.skipped for line in frames)
    assert any(line.is_repeated for line in frames)
    assert not all(line.is_finite for line in frames)
    assert not all(line.has_left for line in lines if isinstance(line, ResponseLine))


@settings(max_examples=20, deadline=None)
@given(works, losses, st.randoms(use_true_random=False))
def test_two_hosts_whose_clocks_differ_are_computed_again(works, losses, random):
    made, lines = lived(works, losses, frames=12)
    hosts = ([], [])
    for line in lines:
        name = getattr(line, "group", getattr(line, "output", ""))
        hosts[name in ("deep", "features", "head", "drive")].append(line)
    mixed = []
    while any(hosts):
        host = random.choice([host for host in hosts if host])
        mixed.append(host.pop(0))
    assert_as_lived(TINY_NETWORK, made, mixed)


def test_responses_come_after_the_states_they_are_made_of():
    _, lines = lived([0.1], [False], frames=8)
    seen = set()
    for done in replay(TINY_NETWORK, lines, lambda _, at: image(at)):
        if isinstance(done, GroupFrame):
            seen.add((done.group, done.frame))
        else:
            assert (TINY_NETWORK.spec.outputs[done.line.output].group, done.line.frame) in seen


def fed(frame):
    return [
        InputLine("image", frame, frame, frame, None, frame),
        FrameLine("stem", frame + 1, {"image": frame}, (), 0, False, True, 0, frame),
    ]


def test_a_state_is_kept_for_as_long_as_a_delay_asks_for():
    spec = parse_network(
        {**TINY, "rollout": {"base": "streaming", "delays": {"stem -> head": 700}}}
    )
    network = StreamingNetwork(spec, rollout_of(spec)).eval()
    lines = [line for frame in range(700) for line in fed(frame)]
    lines.append(FrameLine("head", 701, {"stem": 1}, (), 0, False, True, 0, 700))
    states, _ = replayed(network, lines)
    assert states["head", 701][1] == 0


def test_no_state_is_kept_after_its_last_use():
    _, lines = lived([0.0], [False], frames=60)
    given_, most = [], 0
    for done in replay(TINY_NETWORK, lines, lambda _, at: image(at)):
        given_.append(weakref.ref(done.state.batch))
        most = max(most, sum(ref() is not None for ref in given_))
    assert len(given_) > 200 and most < 20


def test_a_ledger_that_lacks_a_process_is_refused_before_anything_is_computed():
    _, lines = lived([0.1], [False])
    lacking = [line for line in lines if getattr(line, "group", "") != "memory"]

    def picture(name, captured_ns):
        raise AssertionError("computes")

    with pytest.raises(LedgerError, match=r"nobody computed frame .* of 'memory'"):
        list(replay(TINY_NETWORK, lacking, picture))


def test_states_that_wait_for_each_other_are_told():
    lines = [
        InputLine("image", 0, 0, 0, None, 1),
        FrameLine("stem", 9, {"deep": 7}, ("deep",), 0, False, True, 0, 2),
        FrameLine("stem", 5, {"image": 0}, ("image",), 0, False, True, 0, 2),
        FrameLine("memory", 6, {"stem": 5}, (), 0, False, True, 0, 2),
        FrameLine("deep", 7, {"memory": 6}, (), 0, False, True, 0, 2),
    ]
    with pytest.raises(LedgerError, match="nobody computed frame"):
        list(replay(TINY_NETWORK, lines, lambda _, at: image(at)))


def test_what_draws_and_rounds_stands_in_the_head():
    head = run_head(TINY_NETWORK.spec, TINY_NETWORK.rollout, GRID, "realtime", weights=None,
                    seed=4, torch_threads=2)  # fmt: skip
    assert (head.seed, head.torch_threads) == (4, 2)
    assert head == replace(head, torch_threads=1)


def test_a_ledger_of_another_network_rollout_or_weights_is_refused(tmp_path):
    def head(rollout=TINY_NETWORK.rollout, weights=None, seed=0, spec=TINY_NETWORK.spec):
        return run_head(spec, rollout, GRID, "realtime", weights=weights, seed=seed)

    own = head()
    check_head(own, head())
    (tmp_path / "weights").write_bytes(b"other")
    other = parse_network({**TINY, "rate_hz": 29})
    for told, what in [
        (head(rollout=sequential(TINY_NETWORK.rollout.graph)), "rollout"),
        (head(seed=1), "weights"),
        (head(weights=tmp_path / "weights"), "weights"),
        (head(spec=other), "network file"),
    ]:
        with pytest.raises(LedgerError, match=f"of another {what}"):
            check_head(told, own)
