from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import network, rollouts
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import FlowWindow, Mailbox, firing_rules, who_tells
from streaming_net_ros.theory import first_frames, streaming


@given(rollouts(max_groups=4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_window_lets_every_run_through_and_bounds_what_waits(rollout, size, random):
    window = FlowWindow(rollout, size)
    boxes = {name: Mailbox(rule) for name, rule in firing_rules(rollout).items()}
    graph = rollout.graph
    fed = 0

    def hand_on(node, frame):
        for edge in graph.edges_out_of(node):
            if edge.target != node:
                boxes[edge.target].arrive(node, frame, frame)

    while fed < 15:
        moved = False
        if window.may_feed(fed):
            window.fed(fed)
            for node in graph.inputs:
                hand_on(node, fed)
            fed, moved = fed + 1, True
        for group in random.sample(graph.groups, len(graph.groups)):
            if (job := boxes[group].next_job()) is not None:
                hand_on(group, job.frame)
                boxes[group].finish(job.frame, job.frame)
                window.finished(group, job.frame)
                moved = True
        assert moved, "the window has locked the run"
        longest = max(rollout.delays.values())
        for group, box in boxes.items():
            for name, source in box._run.sources.items():
                ahead = max(0, first_frames(rollout)[name] + source.delay)
                assert len(source.states) <= size + longest + ahead, (group, name)


@given(rollouts(max_groups=5), st.randoms(use_true_random=False))
def test_the_slowest_group_is_among_those_that_tell_every_frame(rollout, random):
    """Whatever the order in which groups compute: the others' progress follows from theirs."""
    first, tellers = first_frames(rollout), who_tells(rollout)
    boxes = {name: Mailbox(rule) for name, rule in firing_rules(rollout).items()}
    done = dict.fromkeys(rollout.graph.groups, -1)
    told, all_told = FlowWindow(rollout, 50), FlowWindow(rollout, 50)
    all_told._tellers = frozenset(done)
    for frame in range(8):
        for window in (told, all_told):
            window.fed(frame)
        for node in rollout.graph.inputs:
            for edge in rollout.graph.edges_out_of(node):
                boxes[edge.target].arrive(node, frame, frame)
    for _ in range(60):
        group = random.choice(list(done))
        if (job := boxes[group].next_job()) is None:
            continue
        for edge in rollout.graph.edges_out_of(group):
            if edge.target != group:
                boxes[edge.target].arrive(group, job.frame, job.frame)
        boxes[group].finish(job.frame, job.frame)
        done[group] = job.frame - first[group]
        all_told.finished(group, job.frame)
        if group in tellers:  # of the others, nothing is known
            told.finished(group, job.frame)
        assert min(done[teller] for teller in tellers) == min(done.values())
        assert told.is_drained == all_told.is_drained
        assert [told.may_feed(n) for n in (40, 50, 60)] == [
            all_told.may_feed(n) for n in (40, 50, 60)
        ]


def test_of_a_chain_only_the_last_tells_and_with_a_skip_path_who_is_behind_it():
    assert who_tells(streaming(network("image>a a>b b>c"))) == {"c"}
    # c has its first state by the skip path: it tells nothing of how far b is.
    assert who_tells(streaming(network("image>a a>b b>c a>c"))) == {"b", "c"}


def test_a_drained_run_has_nothing_outstanding():
    rollout = streaming(network("image>a a>b"))
    window = FlowWindow(rollout, 2)
    assert window.is_drained
    window.fed(10)
    assert not window.is_drained
    window.finished("a", 11)
    window.finished("b", 12)
    assert window.is_drained


def test_the_group_that_stands_still_is_named_and_not_those_that_wait_for_it():
    rollout = streaming(network("image>a a>b b>c"))
    window = FlowWindow(rollout, 4)
    for frame in (10, 11):
        window.fed(frame)
    for frame in (11, 12):
        window.finished("a", frame)
    window.finished("b", 12)
    window.finished("c", 13)
    assert window.stalled() == {"b": 13}


def test_where_somebody_stands_is_known_from_who_has_heard_him():
    """a and b need not tell every frame: what c has finished tells how far they are at least."""
    window = FlowWindow(streaming(network("image>a a>b b>c")), 30)
    for frame in range(21):
        window.fed(frame)
    window.finished("a", 6)
    window.finished("b", 7)
    window.finished("c", 20)
    assert window.stalled() == {"a": 19}  # b heard a's frame 18 for what c heard in frame 20


def test_the_automatic_window_is_one_more_than_the_groups():
    assert FlowWindow(streaming(network("image>a a>b b>c"))).size == 4


def test_a_negative_window_is_refused():
    with pytest.raises(ParameterError, match="window_frames"):
        FlowWindow(streaming(network("image>a")), -1)


def test_a_group_has_begun_when_it_has_worked_through_an_image_of_this_run():
    window = FlowWindow(streaming(network("image>a a>b")), 2)
    assert not window.has_begun("a")
    window.fed(10)
    assert not window.has_begun("a")
    window.finished("a", 11)
    assert window.has_begun("a") and not window.has_begun("b")
