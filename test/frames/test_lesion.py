"""Lesions: what is held or silenced, for all rollouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import network, rollouts
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import LESIONS, Deadline, FrameGrid, Mailbox, Origin, firing_rules
from streaming_net_ros.theory import first_frames, streaming

FRAMES = 9


@st.composite
def lesioned(draw):
    """A rollout, and at which frames of which groups what is lesioned."""
    rollout = draw(rollouts(max_groups=4))
    graph = rollout.graph
    places = [(group, None) for group in graph.groups]
    places += [(edge.target, edge.source) for edge in graph.edges]
    change = st.tuples(st.integers(0, FRAMES), st.sampled_from(places), st.sampled_from(LESIONS))
    return rollout, draw(st.lists(change, max_size=8))


def content(group, inputs):
    """A state that tells what it was made from; None if from nothing."""
    heard = tuple(sorted((s, g) for s, g in inputs.items() if g is not None))
    return hash((group, heard)) if heard else None


def by_mailboxes(rollout, changes, put_away_after=None):
    boxes = {name: Mailbox(rule) for name, rule in firing_rules(rollout).items()}
    made = {node: {} for node in rollout.graph.nodes}

    def hand_on(node, frame, state):
        made[node][frame] = state
        for edge in rollout.graph.edges_out_of(node):
            if edge.target != node:
                boxes[edge.target].arrive(node, frame, state)

    for frame in range(FRAMES):
        for name in rollout.graph.inputs:
            hand_on(name, frame, hash((name, frame)))
        while True:
            fired = False
            for group, box in boxes.items():
                for at, (target, source), lesion in changes:
                    if target == group and at == box.next_frame:
                        box.lesions.set(lesion, source)
                if (job := box.next_job()) is not None:
                    fired = True
                    heard = {s: g.state for s, g in job.inputs.items()}
                    state = job.repeated
                    if state is None:
                        state = content(group, heard)
                    assert job.is_silent == (state is None)
                    box.finish(job.frame, state)
                    hand_on(group, job.frame, state)
            if not fired:
                break
        if frame == put_away_after:
            for group, box in boxes.items():
                boxes[group] = Mailbox(box.rule)
                boxes[group].recall(box.memory())
    return made


def by_the_frame_law(rollout, changes):
    first = first_frames(rollout)
    made = {name: {t: hash((name, t)) for t in range(FRAMES)} for name in rollout.graph.inputs}
    made |= {group: {} for group in rollout.graph.groups}
    now = {}
    last: dict = {group: {} for group in rollout.graph.groups}  # what each heard last
    kept: dict = {}
    for frame in range(FRAMES + max(first.values())):
        for group in rollout.frame_order:
            if not first[group] <= frame < FRAMES + first[group]:
                continue
            for at, (target, source), lesion in changes:
                if target == group and at == frame:
                    if lesion == "hold" and now.get((group, source)) != "hold":
                        kept[group, source] = last[group].get(source)
                    now[group, source] = lesion
            heard = {}
            for source, delay in rollout.delays_into(group).items():
                lesion = now.get((group, source), "none")
                if lesion == "none" and frame - delay >= first[source]:
                    heard[source] = made[source][frame - delay]
                elif lesion == "hold":
                    heard[source] = kept[group, source]
            own = now.get((group, None), "none")
            if own == "none":
                last[group] = heard
                made[group][frame] = content(group, heard)
            else:
                made[group][frame] = made[group].get(frame - 1) if own == "hold" else None
    return made


@given(lesioned())
def test_lesioned_mailboxes_keep_the_frame_law_without_what_is_lesioned(given_lesions):
    rollout, changes = given_lesions
    assert by_mailboxes(rollout, changes) == by_the_frame_law(rollout, changes)


@given(lesioned(), st.integers(0, FRAMES - 1))
def test_mailboxes_that_were_put_away_and_taken_up_by_others_go_on_as_they_were(
    given_lesions, frame
):
    rollout, changes = given_lesions
    assert by_mailboxes(rollout, changes, frame) == by_mailboxes(rollout, changes)


def chain():
    return network("image>a a>b a>c b>c")


def test_silence_of_the_only_way_to_a_group_silences_it_and_nobody_waits():
    box = Mailbox(firing_rules(streaming(chain()))["b"])
    box.lesions.set("silence", "a")
    box.arrive("a", 5, "a5")
    job = box.next_job()
    assert job.is_silent and not job.held
    box.finish(job.frame, None)
    box.lesions.set("none", "a")
    box.arrive("a", 6, "a6")
    assert box.next_job().inputs["a"].state == "a6"


def test_a_held_edge_counts_as_held_and_keeps_the_age_of_what_it_holds():
    box = Mailbox(firing_rules(streaming(chain()))["b"])
    for frame in (5, 6):
        box.arrive("a", frame, f"a{frame}", Origin(100 * frame, frame))
    box.finish(box.next_job().frame, "b6")
    box.lesions.set("hold", "a")
    job = box.next_job()
    assert (job.inputs["a"].state, job.held) == ("a5", ("a",))
    assert job.origin == Origin(500, 5, held=1.0)


def copied(source, given):
    """A copy; None of what its owner says is gone."""
    return None if given.state == ["gone"] else given._replace(state=list(given.state))


def test_a_held_edge_holds_what_its_owner_makes_of_a_state_that_is_lent():
    box = Mailbox(firing_rules(streaming(network("image>a")))["a"], keep=copied)
    lent = [1.0]
    box.arrive("image", 0, lent)
    assert box.next_job().inputs["image"].state is lent
    box.finish(1, [])
    box.lesions.set("hold", "image")
    lent[0] = 2.0  # whoever lent it writes there again
    box.arrive("image", 1, lent)
    assert box.next_job().inputs["image"].state == [1.0]


def test_an_edge_that_is_held_after_the_group_heard_nothing_holds_what_was_heard_then():
    """However often whoever lent it has written there since."""
    box = Mailbox(firing_rules(streaming(network("image>a")))["a"], keep=copied)
    lent = [1.0]
    for frame in range(3):
        box.arrive("image", frame, lent)
        assert box.next_job() is not None
        box.finish(frame + 1, [])
        if frame == 0:
            box.lesions.set("silence")
        else:
            lent[0] = 7.0 + frame
    box.lesions.set("hold", "image")
    box.lesions.set("none")
    box.arrive("image", 3, lent)
    assert box.next_job().inputs["image"].state == [1.0]


def test_what_is_gone_before_it_could_be_kept_is_not_held():
    box = Mailbox(firing_rules(streaming(network("image>a")))["a"], keep=copied)
    lent = [1.0]
    box.arrive("image", 0, lent)
    box.next_job()
    box.finish(1, [])
    lent[0] = "gone"
    box.lesions.set("hold", "image")
    box.arrive("image", 1, [2.0])
    assert box.next_job().inputs["image"].state is None


def test_realtime_does_not_stand_in_for_a_source_that_says_it_is_silent():
    grid = FrameGrid(10)
    rule = firing_rules(streaming(chain()), Deadline(grid, grid.period_ns, 5))["c"]
    box = Mailbox(rule)
    for frame in (10, 11):
        at_ns = grid.stamp_ns(frame)
        box.arrive("a", frame, f"a{frame}", Origin(at_ns, frame - 1), at_ns)
        box.arrive("b", frame, None if frame == 11 else "b10", Origin(at_ns, frame - 2), at_ns)
        job = box.next_job(at_ns)
        box.finish(job.frame, "c")
    assert job.inputs["b"].state is None and job.inputs["a"].state == "a11"
    assert (job.held, job.absent, job.origin.held) == ((), (), 0.0)


def test_what_is_held_is_forgotten_when_time_jumps_back():
    grid = FrameGrid(10)
    box = Mailbox(firing_rules(streaming(chain()), Deadline(grid, grid.period_ns, 5))["c"])

    def fire(frame):
        at_ns = grid.stamp_ns(frame)
        for source, behind in (("a", 1), ("b", 2)):
            box.arrive(source, frame, f"{source}{frame}", Origin(at_ns, frame - behind), at_ns)
        job = box.next_job(at_ns)
        box.finish(job.frame, "c")
        return job

    fire(1000)
    box.lesions.set("hold", "a")
    assert fire(1001).inputs["a"].state == "a1000"
    again = fire(10)
    assert again.inputs["a"].state is None and again.inputs["b"].state == "b10"
    assert again.origin.image_frame == 8


def test_what_cannot_be_lesioned_is_refused():
    lesions = Mailbox(firing_rules(streaming(chain()))["c"]).lesions
    with pytest.raises(ParameterError, match="no such lesion"):
        lesions.set("hurt", "a")
    with pytest.raises(ParameterError, match="no such edge"):
        lesions.set("hold", "image")
    assert set(lesions.told().values()) == {"none"} and not lesions.is_any
