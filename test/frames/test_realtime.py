"""The realtime policy, one mailbox at a time and whole networks under hypothesis."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

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
    Origin,
    Period,
    VirtualRun,
    firing_rules,
)
from streaming_net_ros.theory import first_frames, sequential, streaming

GRID = FrameGrid(10)  # 100 ms
PERIOD_NS = GRID.period_ns
MS = 1_000_000


def chain():
    return network("image>a a>a a>b b>c a>c")


class Box:
    """A mailbox with a clock in milliseconds."""

    def __init__(self, group, wait_ms=100, limit=3, rollout=None, **more):
        deadline = Deadline(GRID, wait_ms * MS, limit)
        rules = firing_rules(rollout or streaming(chain()), deadline, **more)
        self.mailbox = Mailbox(rules[group])

    def arrive(self, at_ms, source, frame, image=None, held=0.0):
        image = frame - self.mailbox.rule.first_frames[source] if image is None else image
        origin = Origin(image * PERIOD_NS, image, held)
        return self.mailbox.arrive(source, frame, f"{source}{frame}", origin, at_ms * MS)

    def job(self, at_ms, finish=True):
        job = self.mailbox.next_job(at_ms * MS)
        if job is not None and finish:
            self.mailbox.finish(job.frame, job.repeated or f"{self.mailbox.rule.group}{job.frame}")
        return job


def states(job):
    return {source: given.state for source, given in job.inputs.items()}


def test_a_frame_fires_as_soon_as_its_inputs_are_there():
    box = Box("c")
    box.arrive(900, "b", 9)
    assert box.job(900) is None
    box.arrive(901, "a", 9)
    job = box.job(901)
    assert job.frame == 10 and job.held == () and states(job) == {"b": "b9", "a": "a9"}


def running(group="c", **more):
    """A mailbox that has fired frame 10 with everything in time."""
    box = Box(group, **more)
    box.arrive(900, "b", 9)
    box.arrive(900, "a", 9)
    assert box.job(900).frame == 10
    return box


def test_a_missing_input_is_held_at_the_deadline():
    box = running()
    box.arrive(1000, "a", 10)
    assert box.job(1199) is None and box.mailbox.wake_at_ns() == 1200 * MS
    job = box.job(1200)
    assert job.frame == 11 and job.held == ("b",)
    assert states(job) == {"b": "b9", "a": "a10"} and job.inputs["b"].frame == 9


def test_a_source_that_missed_a_deadline_costs_one_wait_not_one_a_frame():
    box = running()
    box.arrive(1000, "a", 10)
    assert box.job(1200).held == ("b",)
    box.arrive(1201, "a", 11)
    job = box.job(1201)  # at once: nobody waits for b now
    assert job.frame == 12 and job.held == ("b",)


def test_a_source_that_is_on_time_again_is_waited_for_again():
    box = running()
    box.arrive(1000, "a", 10)
    box.job(1200)
    assert box.arrive(1250, "b", 11) is Arrival.ACCEPTED
    box.arrive(1251, "a", 11)
    assert box.job(1251).held == ()
    box.arrive(1252, "a", 12)
    assert box.job(1252) is None  # frame 13 waits for b's frame 12
    box.arrive(1299, "b", 12)
    assert box.job(1299).held == ()


def test_a_late_state_is_used_for_the_next_frame():
    box = running()
    box.arrive(1000, "a", 10)
    assert box.job(1200).held == ("b",)
    assert box.arrive(1201, "b", 10) is Arrival.LATE
    box.arrive(1202, "a", 11)
    job = box.job(1202)
    assert job.frame == 12 and job.inputs["b"].state == "b10" and job.inputs["b"].is_held


def test_nobody_waits_for_a_state_whose_successor_is_here():
    box = running()
    box.arrive(1000, "a", 10)
    box.arrive(1000, "b", 11)  # 10 was lost
    job = box.job(1000)
    assert job.frame == 11 and job.held == ("b",) and job.inputs["b"].frame == 9


def test_a_state_that_was_overtaken_is_used_if_its_frame_has_not_fired():
    box = running()
    box.arrive(1000, "b", 11)
    assert box.arrive(1001, "b", 10) is Arrival.ACCEPTED
    box.arrive(1002, "a", 10)
    assert states(box.job(1002)) == {"b": "b10", "a": "a10"}


def test_a_repeated_state_is_told():
    box = running()
    assert box.arrive(1000, "a", 10) is Arrival.ACCEPTED
    assert box.arrive(1000, "a", 10) is Arrival.DUPLICATE
    assert box.arrive(1000, "a", 9) is Arrival.DUPLICATE


def test_an_input_beyond_the_hold_limit_is_absent():
    box = running(limit=2, wait_ms=0)
    seen = []
    for frame in (11, 12, 13):
        box.arrive(100 * frame, "a", frame - 1)
        job = box.job(100 * frame)
        seen.append((job.frame, job.held, job.absent))
    assert seen == [(11, ("b",), ()), (12, ("b",), ()), (13, (), ("b",))]


def test_the_share_of_held_paths_is_handed_on():
    box = running()
    box.arrive(1000, "a", 10, held=0.5)
    assert box.job(1200).origin.held == 0.75  # (0.5 of a, all of b) / 2


def test_a_hold_on_a_cycle_is_forgotten():
    graph = network("image>a a>b b>a:1")
    run = Play(streaming(graph))
    for frame in range(40):
        if frame not in (10, 11):
            run.send_image(frame)
    shares = [job.origin.held for _, _, job in run.begun]
    assert max(shares) > 0.4 and set(shares[-20:]) == {0}


def test_the_newest_image_of_any_input_is_the_origin():
    box = Box("c")
    box.arrive(900, "b", 9)
    box.arrive(900, "a", 9)
    assert box.job(900).origin.image_frame == 8  # a is one frame from the image, b two


def test_a_group_that_is_behind_skips_to_the_newest_frame_and_builds_no_backlog():
    box = Box("b")
    box.arrive(900, "a", 9)
    box.job(1000, finish=False)
    for frame in range(10, 30):
        box.arrive(100 * frame, "a", frame)
    box.mailbox.finish(10, "b10")
    job = box.job(3000)
    assert job.frame == 30 and job.skipped == 19 and job.held == ()
    assert len(box.mailbox._run.sources["a"].states) <= 2


def test_a_group_that_is_behind_takes_a_complete_frame_before_one_that_lacks_an_input():
    box = running()
    for frame in (10, 11, 12):
        box.arrive(1300, "a", frame)
    box.arrive(1300, "b", 11)
    job = box.job(1399)  # frames 11 and 12 are past their deadlines, 12 is complete
    assert job.frame == 12 and job.held == ()


def test_a_group_whose_image_is_too_old_falls_silent_and_sleeps():
    box = Box("a", wait_ms=0, limit=2)
    box.arrive(900, "image", 9)
    fired = []
    for at_ms in range(900, 2000, 100):
        while (job := box.job(at_ms)) is not None:
            fired.append((job.frame, job.held))
    assert fired == [(10, ()), (11, ("image",)), (12, ("image",))]
    assert box.mailbox.wake_at_ns() is None and box.mailbox.next_frame is None
    box.arrive(2500, "image", 25)
    assert box.job(2500).frame == 26


def test_a_cycle_of_groups_falls_silent_when_the_images_stop():
    # The frames of images, not of states, count: b and a would keep each other alive for ever.
    graph = network("image>a a>b b>a:1")
    run = Play(streaming(graph), limit=4)
    for frame in range(5):
        run.send_image(frame)
    run.play(60 * PERIOD_NS)
    assert max(done.job.frame for done in run.done) <= 4 + 2 + 4
    assert all(box.wake_at_ns() is None for box in run.virtual.mailboxes.values())


def test_at_the_start_nobody_waits_for_what_cannot_exist_yet():
    box = Box("c", limit=3)
    box.arrive(100, "a", 1)  # of the image of frame 0; b's first frame is 2
    job = box.job(100)
    assert job.frame == 2 and states(job) == {"a": "a1"} and job.absent == ()


def test_a_state_of_the_far_future_is_refused():
    box = running()
    assert box.arrive(1000, "a", 10**6) is Arrival.FUTURE
    assert box.arrive(1000, "a", 10) is Arrival.ACCEPTED


def test_a_state_that_tells_of_an_image_of_the_future_is_refused():
    box = running()  # believed, its age would be small and its group alive for ever
    assert box.arrive(1000, "a", 10, image=10**12) is Arrival.FUTURE
    assert box.arrive(1000, "a", 10) is Arrival.ACCEPTED


def test_the_own_memory_carries_on_however_many_frames_were_skipped():
    box = Box("a", limit=3)
    box.arrive(900, "image", 9)
    box.job(900, finish=False)
    for frame in range(10, 40):
        box.arrive(100 * frame, "image", frame)
    box.mailbox.finish(10, "a10")
    job = box.job(3999)
    assert job.skipped > 20 and states(job)["a"] == "a10"


def test_a_job_that_takes_long_lets_no_states_pile_up():
    box = Box("a")
    box.arrive(900, "image", 9)
    box.job(900, finish=False)
    for frame in range(10, 3000):
        box.arrive(100 * frame, "image", frame)
    assert len(box.mailbox._run.sources["image"].states) < 5


def test_a_state_of_the_time_before_a_small_jump_back_gives_way_to_the_new_one():
    box = running()
    box.arrive(1000, "b", 10)
    box.mailbox.arrive("b", 10, "b10 again", Origin(8 * PERIOD_NS, 8), 950 * MS)
    box.arrive(951, "a", 10)
    assert states(box.job(951))["b"] == "b10 again"


def test_what_is_under_way_when_time_jumps_back_is_not_wanted_any_more():
    box = Box("a")
    box.arrive(900, "image", 9)
    job = box.job(900, finish=False)
    assert box.mailbox.is_wanted(job, 950 * MS)
    assert not box.mailbox.is_wanted(job, 100 * MS)


def test_a_forward_jump_of_time_is_a_silence_not_a_million_skipped_frames():
    box = running()
    assert box.job(10**9) is None and box.mailbox.silences == 1
    box.arrive(10**9, "a", 10**7)
    assert box.job(10**9).skipped == 0


def test_a_group_with_a_period_and_the_time_that_it_needs_holds_nobody_up():
    graph = network("image>stem stem>slow:3 stem>head slow>head")
    works = {"slow": 2.7}
    run = Play(
        streaming(graph),
        work=lambda group, frame: works.get(group, 0.1),
        periods={"slow": Period(3)},
    )
    for frame in range(30):
        run.send_image(frame)
    run.play(30 * PERIOD_NS)
    heads = [job for _, group, job in run.begun if group == "head"]
    assert [job.frame for job in heads] == list(range(2, 2 + len(heads))) and len(heads) >= 29
    assert all(job.held == () for _, _, job in run.begun)
    computed = [job.frame for _, group, job in run.begun if group == "slow"]
    assert len(computed) <= 12  # every third frame, and the first


def test_time_that_jumps_back_begins_anew():
    box = running()
    assert box.arrive(300, "a", 3) is Arrival.ACCEPTED and box.mailbox.jumps == 1
    box.arrive(300, "b", 3)
    assert box.job(300).frame == 4


def test_what_was_under_way_when_time_jumped_back_leaves_no_trace():
    box = Box("a")
    box.arrive(900, "image", 9)
    box.job(900, finish=False)
    box.arrive(100, "image", 1)
    box.mailbox.finish(10, "a10")
    job = box.job(100)
    assert job.frame == 2 and states(job) == {"image": "image1"}


def test_a_state_that_may_not_be_used_is_not_remembered():
    box = Box("a")
    box.arrive(900, "image", 9)
    box.job(900, finish=False)
    box.mailbox.discard(10)
    box.arrive(1000, "image", 10)
    assert states(box.job(1000)) == {"image": "image10"}


def test_frames_without_delays_get_a_wait_for_every_update():
    late = Box("c", rollout=sequential(chain()))  # a, then b, then c
    late.arrive(900, "a", 9)
    assert late.job(1199) is None and late.job(1200) is not None
    late = Box("b", rollout=sequential(chain()))
    late.arrive(900, "a", 9)
    late.job(900)
    assert late.mailbox.wake_at_ns() == (1000 + 2 * 100) * MS


def test_an_edge_may_have_a_deadline_of_its_own():
    own = {("b", "c"): Deadline(GRID, 0, 0)}
    box = running(edges=own)
    box.arrive(1000, "a", 10)
    assert box.job(1099) is None
    job = box.job(1100)
    assert job.held == () and job.absent == ("b",)


@pytest.mark.parametrize("every, offset", [(0, 0), (2, 2), (3, -1)])
def test_an_impossible_period_is_refused(every, offset):
    with pytest.raises(ParameterError, match="period"):
        Period(every, offset)


def test_a_group_with_a_period_repeats_its_state_in_between():
    box = Box("b", periods={"b": Period(3, 1)})
    computed = []
    for frame in range(10, 18):
        box.arrive(100 * (frame - 1), "a", frame - 1)
        job = box.job(100 * (frame - 1))
        computed.append((job.frame, job.repeated))
    assert computed == [
        (10, None), (11, "b10"), (12, "b10"), (13, None), (14, "b13"), (15, "b13"), (16, None),
        (17, "b16"),
    ]  # fmt: skip


# --- whole networks --------------------------------------------------------------------------


class Play:
    """A network in virtual time whose states tell of which frames they were made."""

    def __init__(self, rollout, limit=5, work=0.1, workers=0, carry=None, periods=None):
        self.rollout = rollout
        deadline = Deadline(GRID, PERIOD_NS, limit)
        rules = firing_rules(rollout, deadline, periods=periods)
        share = work if callable(work) else (lambda group, frame: work)
        self.virtual = VirtualRun(
            rollout,
            rules,
            self.compute,
            lambda group, frame: round(share(group, frame) * PERIOD_NS),
            workers=workers,
            carry=carry,
        )
        self.epoch, self.begun, self.done = 0, [], []

    def compute(self, group, job):
        self.begun.append((self.epoch, group, job))
        return group, job.frame

    def jump(self, now_ns):
        """Time jumps back after a last period."""
        self.play(self.virtual.now_ns + PERIOD_NS)
        self.virtual.jump(now_ns)
        self.epoch += 1

    def send_image(self, frame, late_ns=0, names=None):
        self.play(GRID.stamp_ns(frame) + late_ns)
        for name in names or self.rollout.graph.inputs:
            self.virtual.feed(name, frame, (name, frame), Origin(GRID.stamp_ns(frame), frame))

    def play(self, until_ns):
        self.done += self.virtual.play(until_ns)


def lockstep_jobs(rollout, frames):
    """What each group computes from what, by the frame law."""
    first = first_frames(rollout)
    return {
        (group, frame): {
            source: frame - delay
            for source, delay in rollout.delays_into(group).items()
            if frame - delay >= first[source]
        }
        for group in rollout.graph.groups
        for frame in range(first[group], frames + first[group])
    }


@given(rollouts(max_groups=5, max_delay=2), st.floats(0, 0.9))
def test_with_nothing_lost_and_enough_time_realtime_is_lockstep(rollout, phase):
    groups = len(rollout.graph.groups)
    run = Play(rollout, work=0.09 / groups)
    for frame in range(12):
        run.send_image(frame, round(phase * PERIOD_NS))
    run.play(GRID.stamp_ns(11) + round((phase + 0.1) * PERIOD_NS))
    made = {}
    for done in run.done:
        assert done.job.held == () and done.job.absent == () and done.job.skipped == 0
        made[done.group, done.job.frame] = {s: i.frame for s, i in done.job.inputs.items()}
    assert made == lockstep_jobs(rollout, 12)


def disturbance():
    """(loses, delay in periods, repeats) of one message."""
    return st.tuples(st.booleans() | st.just(False), st.floats(0, 4) | st.just(0.0), st.booleans())


@st.composite
def troubles(draw):
    """A network, its work times, and everything that may go wrong on its edges."""
    rollout = draw(rollouts(max_groups=4, max_delay=2))
    work = {g: draw(st.sampled_from([0.0, 0.2, 0.7, 1.5, 3.0])) for g in rollout.graph.groups}
    messages = draw(st.lists(disturbance(), min_size=1, max_size=20))
    workers = draw(st.integers(1, 4))
    what = st.sampled_from(["there", "there", "lost", "late"]) | st.integers(1, 15)
    images = draw(st.lists(what, max_size=25))
    return rollout, work, messages, workers, images


@given(troubles())
def test_no_trouble_makes_a_backlog_a_deadlock_or_a_frame_that_is_computed_twice(trouble):
    rollout, work, messages, workers, images = trouble
    first, limit = first_frames(rollout), 4
    sent, is_calm = Counter(), []

    def carry(source, target, frame, at_ns):
        sent["messages"] += 1
        lost, delay, twice = messages[sent["messages"] % len(messages)]
        if is_calm:
            return (at_ns,)
        return () if lost else (at_ns + round(delay * PERIOD_NS),) * (2 if twice else 1)

    run = Play(
        rollout,
        limit=limit,
        work=lambda group, frame: 0.01 if is_calm else work[group],
        workers=workers,
        carry=carry,
    )
    longest = max(first.values()) + rollout.max_delay + 2 * limit + 3
    frame = 0
    for what in images:
        frame += 1
        if isinstance(what, int):  # time jumps back by so many frames
            frame = max(0, frame - what)
            run.jump(GRID.stamp_ns(frame))
        elif what != "lost":
            run.send_image(frame, PERIOD_NS // 2 if what == "late" else 0)
        for box in run.virtual.mailboxes.values():
            assert all(len(source.states) <= longest for source in box._run.sources.values())
    is_calm.append(True)
    healed = frame + 6 + limit + max(first.values())
    last = healed + 12
    for number in range(frame + 1, last + 1):
        run.send_image(number)
    run.play(GRID.stamp_ns(last) + PERIOD_NS // 2)

    for group, box in run.virtual.mailboxes.items():
        gaps = 0
        for epoch in range(run.epoch + 1):
            jobs = [job for e, g, job in run.begun if (e, g) == (epoch, group)]
            for before, after in pairwise(jobs):
                assert before.frame < after.frame  # in order, and none twice
                gaps += after.frame - before.frame - 1 != after.skipped
        assert gaps <= box.silences  # frames are computed, counted as skipped, or silent
    for _, group, job in run.begun:
        for source, given_ in job.inputs.items():
            wanted = job.frame - rollout.delay(source, group)
            assert given_.is_held == (given_.frame != wanted)
            assert wanted - limit <= given_.frame <= wanted
    # Calm for longer than any path: nothing is held and no frame is missing.
    for group in rollout.graph.groups:
        jobs = [j for e, g, j in run.begun if (e, g) == (run.epoch, group) and j.frame > healed]
        assert [j.frame for j in jobs] == list(range(healed + 1, last + first[group] + 1))
        assert all(j.held == () and j.absent == () for j in jobs)
