"""A run with holds, skips and silences, computed again from its ledger: bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames import (
    ResponseLine,
    Deadline,
    FrameGrid,
    FrameLine,
    InputLine,
    Origin,
    VirtualRun,
)
from streaming_net_ros.network import (
    StreamingNetwork,
    check_head,
    parse_network,
    replay,
    rules_of,
    run_head,
)
from streaming_net_ros.theory import sequential

GRID = FrameGrid(10)
NETWORK = StreamingNetwork(parse_network(TINY)).eval()


def image(captured_ns):
    generator = torch.Generator().manual_seed(captured_ns % 10**6)
    return torch.randint(0, 256, (1, 3, 12, 16), dtype=torch.uint8, generator=generator)


def lived(works, losses, network=NETWORK):
    """A realtime run under trouble: its states by (group, frame), and its ledger."""
    made, lines = {}, []
    sent = iter(losses * 1000)

    def compute(group, job):
        inputs = {source: given_.frame for source, given_ in job.inputs.items()}
        lines.append(
            FrameLine(group, job.frame, inputs, job.held, job.skipped, False, True, 0, run.now_ns)
        )
        with torch.inference_mode():
            heard = {s: given_.state for s, given_ in job.inputs.items()}
            made[group, job.frame] = network.group(group)(heard)
        return made[group, job.frame]

    run = VirtualRun(
        network.rollout,
        rules_of(network.spec, network.rollout, Deadline(GRID, GRID.period_ns, 4)),
        compute,
        lambda group, frame: round(works[frame % len(works)] * GRID.period_ns),
        workers=2,
        carry=lambda source, target, frame, at_ns: () if next(sent) else (at_ns,),
    )
    for frame in range(25):
        list(run.play(GRID.stamp_ns(frame)))
        lines.append(InputLine("image", frame, 7 * frame, None, run.now_ns))
        batch = network.checked_input("image", image(7 * frame))
        run.feed("image", frame, batch, Origin(7 * frame, frame))
    list(run.play(GRID.stamp_ns(40)))
    return made, lines


troubles = (
    st.lists(st.sampled_from([0.0, 0.3, 2.5]), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=8).filter(lambda losses: not all(losses)),
)


@settings(max_examples=30, deadline=None)
@given(*troubles)
def test_a_run_is_computed_again_bit_for_bit(works, losses):
    made, lines = lived(works, losses)
    again = {(d.group, d.frame): d.state for d in replay(NETWORK, lines, lambda _, at: image(at))}
    assert again.keys() == made.keys()
    assert all(torch.equal(again[key].batch, made[key]) for key in made)


def test_the_trouble_holds_and_skips():
    _, lines = lived([0.0, 2.5], [False, True, False])
    frames = [line for line in lines if isinstance(line, FrameLine)]
    assert any(line.held for line in frames) and any(line.skipped for line in frames)


def test_lines_that_come_a_little_early_wait_for_what_they_need():
    made, lines = lived([0.1], [False])
    swapped = [*lines[1:6], lines[0], *lines[6:]]
    again = {(d.group, d.frame) for d in replay(NETWORK, swapped, lambda _, at: image(at))}
    assert again == made.keys()


def test_answers_come_between_the_states_they_are_made_of():
    lines = [
        InputLine("image", 0, 0, None, 1),
        FrameLine("stem", 1, {"image": 0}, (), 0, False, True, 0, 2),
        ResponseLine("drive", 1, True, 3),
    ]
    told = list(replay(NETWORK, lines, lambda _, at: image(at)))
    assert [type(one).__name__ for one in told] == ["GroupFrame", "ResponseLine"]


def test_a_ledger_that_lacks_a_process_is_refused():
    _, lines = lived([0.1], [False])
    lacking = [line for line in lines if getattr(line, "group", "") != "memory"]
    with pytest.raises(LedgerError, match=r"nobody computed frame .* of 'memory'"):
        list(replay(NETWORK, lacking, lambda _, at: image(at)))


def test_a_ledger_of_another_network_rollout_or_weights_is_refused(tmp_path):
    def head(rollout=NETWORK.rollout, weights=None, seed=0, spec=NETWORK.spec):
        return run_head(spec, rollout, GRID, "realtime", weights=weights, seed=seed)

    own = head()
    check_head(own, head())
    (tmp_path / "weights").write_bytes(b"other")
    other = parse_network({**TINY, "rate_hz": 29})
    for told, what in [
        (head(rollout=sequential(NETWORK.rollout.graph)), "rollout"),
        (head(seed=1), "weights"),
        (head(weights=tmp_path / "weights"), "weights"),
        (head(spec=other), "network file"),
    ]:
        with pytest.raises(LedgerError, match=f"of another {what}"):
            check_head(told, own)
