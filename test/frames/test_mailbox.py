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
MS = 1_000_000


def chain():
    return network("image>a a>a a>b b>c a>c")


def mailbox(rollout, group, wait_ms=None, limit=3):
    deadline = None if wait_ms is None else Deadline(GRID, wait_ms * MS, limit)
    return Mailbox(firing_rules(rollout, deadline)[group])


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
        for name, source in box._sources.items():
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


def test_realtime_fires_as_soon_as_its_inputs_are_there():
    box = mailbox(streaming(chain()), "c", wait_ms=100)
    box.arrive("a", 9, "a9")
    assert box.next_job(now_ns=900 * MS) is None
    box.arrive("b", 9, "b9")
    job = box.next_job(now_ns=901 * MS)
    assert job.frame == 10 and job.held == () and list(job.inputs) == ["b", "a"]


def test_realtime_holds_the_newest_state_at_the_deadline_and_counts_it():
    box = mailbox(streaming(chain()), "c", wait_ms=100)
    for source in "ab":
        box.arrive(source, 9, f"{source}9")
    box.finish(box.next_job(900 * MS).frame, "c10")
    box.arrive("a", 10, "a10")
    assert box.next_job(1199 * MS) is None
    assert box.wake_at_ns() == 1200 * MS
    job = box.next_job(1200 * MS)
    assert job.frame == 11 and job.held == ("b",)
    assert job.inputs["b"].state == "b9" and job.inputs["b"].frame == 9
    assert job.inputs["a"].state == "a10"


def test_realtime_waits_for_nobody_whose_newer_state_is_here():
    box = mailbox(streaming(chain()), "c", wait_ms=100)
    for source in "ab":
        box.arrive(source, 9, f"{source}9")
    box.finish(box.next_job(900 * MS).frame, "c10")
    box.arrive("a", 10, "a10")
    box.arrive("b", 11, "b11")  # 10 was lost
    job = box.next_job(1000 * MS)
    assert job.frame == 11 and job.held == ("b",) and job.inputs["b"].frame == 9


def test_realtime_takes_an_input_as_absent_beyond_the_hold_limit():
    box = mailbox(streaming(chain()), "c", wait_ms=0, limit=2)
    for source in "ab":
        box.arrive(source, 9, f"{source}9")
    box.finish(box.next_job(1000 * MS).frame, "c10")
    seen = []
    for frame in (11, 12, 13):
        box.arrive("a", frame - 1, "a")
        job = box.next_job(frame * 100 * MS)
        seen.append((job.frame, job.held, sorted(job.inputs)))
        box.finish(job.frame, "c")
    assert seen == [(11, ("b",), ["a", "b"]), (12, ("b",), ["a", "b"]), (13, (), ["a"])]


def test_realtime_skips_to_the_newest_frame_and_never_builds_a_backlog():
    box = mailbox(streaming(chain()), "b", wait_ms=100)
    box.arrive("a", 9, "a9")
    assert box.next_job(1000 * MS).frame == 10
    for frame in range(10, 30):
        box.arrive("a", frame, f"a{frame}")
    box.finish(10, "b10")
    job = box.next_job(3000 * MS)  # frame 28's deadline is 2.9 s, frame 29's 3.0 s
    assert job.frame == 29 and job.skipped == 18 and job.inputs["a"].frame == 28
    assert len(box._sources["a"].states) <= 3


def test_realtime_falls_silent_when_a_group_would_hear_only_itself():
    box = mailbox(streaming(chain()), "a", wait_ms=0, limit=1)
    box.arrive("image", 9, "i9")
    fired = []
    for frame in range(10, 20):
        job = box.next_job(frame * 100 * MS)
        if job is not None:
            fired.append((job.frame, sorted(job.inputs)))
            box.finish(job.frame, f"a{job.frame}")
    assert fired == [(10, ["image"]), (11, ["a", "image"])]


def test_realtime_stays_silent_while_nothing_exists():
    box = mailbox(streaming(chain()), "b", wait_ms=0, limit=0)
    box.arrive("a", 9, "a9")
    box.finish(box.next_job(1000 * MS).frame, "b10")
    assert box.next_job(2000 * MS) is None
    box.arrive("a", 25, "a25")
    job = box.next_job(2600 * MS)
    assert job.frame == 26 and job.inputs["a"].frame == 25


@given(rollouts(max_groups=4, max_delay=2))
def test_realtime_equals_lockstep_when_nothing_is_late(rollout):
    graph, first = rollout.graph, first_frames(rollout)
    for group in graph.groups:
        lockstep = Mailbox(firing_rules(rollout)[group])
        realtime = Mailbox(firing_rules(rollout, Deadline(GRID, 10**9, 5))[group])
        sources = [s for s in rollout.delays_into(group) if s != group]
        if not sources:
            continue
        seen = {}
        for name, box in (("lockstep", lockstep), ("realtime", realtime)):
            jobs = []
            for frame in range(12):
                for source in sources:
                    if frame >= first[source]:
                        box.arrive(source, frame, (source, frame))
                while (job := box.next_job(frame * GRID.period_ns)) is not None:
                    jobs.append((job.frame, {s: i.frame for s, i in job.inputs.items()}, job.held))
                    box.finish(job.frame, (group, job.frame))
            seen[name] = jobs
        late = [job for job in seen["realtime"] if job not in seen["lockstep"]]
        # Realtime cannot know which states will never exist; it waits for them until a deadline.
        assert late == []


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
