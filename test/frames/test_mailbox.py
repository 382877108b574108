"""The firing rule, for all rollouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import network, rollouts
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import (
    Arrival,
    Deadline,
    FrameGrid,
    Mailbox,
    firing_rules,
)
from streaming_net_ros.theory import first_frames, hybrid, sequential, streaming

GRID = FrameGrid(10)  # 100 ms


def chain():
    return network("image>a a>a a>b b>c a>c")


def mailbox(rollout, group):
    return Mailbox(firing_rules(rollout)[group])


def drive(rollout, start, frames, order):
    """Feed inputs, fire in any order; per node the frames with the frames they were made from."""
    graph = rollout.graph
    boxes = {name: Mailbox(rule) for name, rule in firing_rules(rollout).items()}
    made = {node: {} for node in graph.nodes}

    def hand_on(node, frame, content):
        made[node][frame] = content
        for edge in graph.edges_out_of(node):
            if edge.target != node:
                assert boxes[edge.target].arrive(node, frame, frame) is Arrival.ACCEPTED

    fed = dict.fromkeys(graph.inputs, 0)
    while True:
        can = [n for n in graph.inputs if fed[n] < frames]
        jobs = [g for g in graph.groups if boxes[g].next_frame is not None]
        choices = [("feed", n) for n in can] + [("fire", g) for g in jobs]
        progress = False
        for kind, node in order(choices):
            if kind == "feed":
                hand_on(node, start + fed[node], {})
                fed[node] += 1
                progress = True
            elif (job := boxes[node].next_job()) is not None:
                hand_on(node, job.frame, {s: i.frame for s, i in job.inputs.items()})
                boxes[node].finish(job.frame, job.frame)
                progress = True
        if not progress:
            return made


@given(rollouts(max_groups=4), st.integers(0, 10**12), st.randoms(use_true_random=False))
def test_lockstep_fires_every_frame_once_from_exactly_the_inputs_of_the_frame_law(
    rollout, start, random
):
    frames = 8

    def shuffled(choices):
        random.shuffle(choices)
        return choices

    made = drive(rollout, start, frames, shuffled)
    first = first_frames(rollout)
    for group in rollout.graph.groups:
        numbers = list(made[group])
        assert numbers == list(range(start + first[group], start + frames + first[group]))
        for frame, inputs in made[group].items():
            assert inputs == {
                source: frame - delay
                for source, delay in rollout.delays_into(group).items()
                if frame - delay >= start + first[source]
            }


@given(rollouts(max_groups=4))
def test_lockstep_keeps_no_more_states_than_the_longest_delay_once_it_has_caught_up(rollout):
    boxes = {name: Mailbox(rule) for name, rule in firing_rules(rollout).items()}
    first = first_frames(rollout)
    for group, box in boxes.items():
        sources = rollout.delays_into(group)
        for frame in range(20):
            for source in sources:
                if source != group:
                    box.arrive(source, frame + first[source], "state")
            while (job := box.next_job()) is not None:
                box.finish(job.frame, "state")
        for name, source in box._run.sources.items():
            ahead = first[name] + source.delay - first[group]  # how long it lies before it is due
            assert len(source.states) <= source.delay + max(0, ahead)


def test_lockstep_tells_a_lost_state_from_a_repeated_one():
    box = mailbox(streaming(chain()), "b")
    assert box.arrive("a", 5, "five") is Arrival.ACCEPTED
    assert box.arrive("a", 5, "again") is Arrival.DUPLICATE
    assert box.arrive("a", 7, "seven") is Arrival.GAP
    assert box.arrive("a", 6, "six") is Arrival.ACCEPTED


def test_a_busy_group_gets_no_second_job():
    box = mailbox(streaming(chain()), "b")
    box.arrive("a", 5, "five")
    box.arrive("a", 6, "six")
    assert box.next_job().frame == 6
    assert box.is_busy and box.next_job() is None
    box.finish(6, "b6")
    assert box.next_job().frame == 7


def test_finish_without_its_job_is_refused():
    box = mailbox(streaming(chain()), "b")
    with pytest.raises(ParameterError, match="finish without its job"):
        box.finish(3, "state")


def test_missing_names_the_sources_that_are_waited_for():
    box = mailbox(sequential(chain()), "c")
    box.arrive("a", 4, "a4")
    assert box.next_job() is None
    assert box.missing() == ("b",)


@pytest.mark.parametrize("wait_ns, limit", [(-1, 0), (0, -1)])
def test_a_negative_deadline_is_refused(wait_ns, limit):
    with pytest.raises(ParameterError, match="negative"):
        Deadline(GRID, wait_ns, limit)


def test_longer_delays_hear_older_states():
    graph = network("image>a a>b")
    rollout = hybrid(graph, {("a", "b"): 3})
    box = mailbox(rollout, "b")
    for frame in range(4):
        box.arrive("a", 11 + frame, frame)
    job = box.next_job()
    assert job.frame == 14 and job.inputs["a"].frame == 11
