"""A run in which groups learnt, computed again from its ledger: bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from network.test_online import TAUGHT, network_of, taught
from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames import Deadline, Origin, VirtualRun
from streaming_net_ros.frames.ledger import (
    FrameLine,
    InputLine,
    LearningLine,
    LedgerWriter,
    read_ledger,
)
from streaming_net_ros.network import GroupFrame, learners_of, replay, rules_of, run_head
from troubled import GRID, image

CONTENT = taught({**TAUGHT, "rate": 0.3, "period_frames": 3, "optimizer": "adam"})


class Run:
    """A realtime run whose group 'head' learns; an update takes some frames to be made."""

    def __init__(self, network, update_frames=2, switched=((0, True),), breaks_at=None):
        self.network = network
        self.made, self.lines = {}, []
        self._learner = learners_of(network)["head"]
        self._update_frames, self._switched = update_frames, dict(switched)
        self._breaks_at = breaks_at
        self._waiting, self._told = None, []

    def compute(self, group, job):
        heard = {s: given.state for s, given in job.inputs.items()}
        learner = self._learner
        if group != "head":
            return self.network.group(group)(heard)
        for frame in [frame for frame in self._switched if frame <= job.frame]:
            is_on = self._switched.pop(frame)
            learner.begin() if is_on else learner.end()
            if is_on:
                self.tell(job, "begin")
        if self._waiting and job.frame >= self._waiting[1]:
            update, self._waiting = self._waiting[0], None
            if learner.apply(update):
                self.tell(job, "update", update.frames, update.rate)
        state = self.network.group(group)(heard)
        if job.frame == self._breaks_at and learner.take_back():
            self.tell(job, "take_back")
            state = self.network.group(group)(heard)
        learner.hear(job.frame, {s: g.state for s, g in job.inputs.items() if not g.is_held})
        if self._waiting is None and (lessons := learner.due()):
            learner.rate *= 0.9  # somebody turns it down
            self._waiting = learner.compute(lessons), job.frame + 1 + self._update_frames
        return state

    def tell(self, job, what, lessons=(), rate=0.0):
        self._told.append(LearningLine("head", job.frame, what, lessons, rate, 1))

    def live(self, works=(0.1,), losses=(False,), frames=30):
        network, sent = self.network, iter(list(losses) * 3000)

        def compute(group, job):
            with torch.inference_mode():
                return self.compute(group, job)

        run = VirtualRun(
            network.rollout,
            rules_of(network.spec, network.rollout, Deadline(GRID, GRID.period_ns, 4)),
            compute,
            lambda group, frame: round(works[frame % len(works)] * GRID.period_ns),
            workers=2,
            carry=lambda source, target, frame, at_ns: () if next(sent) else (at_ns,),
        )
        for frame in range(frames + 1):
            for done in run.play(GRID.stamp_ns(frame)):
                self.take(done)
            for name, values in (("image", None), ("teleop", (0.8, -0.1 * (frame % 5)))):
                given = image(7 * frame + 1) if values is None else torch.tensor([values])
                self.lines.append(InputLine(name, frame, 7 * frame + 1, frame, values, 1))
                batch = network.checked_input(name, given)
                run.feed(name, frame, batch, Origin(frame, frame))
        return self

    def take(self, done):
        job = done.job
        if done.group == "head":
            self.lines += [line for line in self._told if line.frame == job.frame]
        inputs = {source: given.frame for source, given in job.inputs.items()}
        self.lines.append(FrameLine(done.group, job.frame, inputs, job.held, job.skipped,
                                    job.repeated is not None, True, 0, 1))  # fmt: skip
        self.made[done.group, job.frame] = done.state


def replayed(lines, network=None):
    network = network or network_of(CONTENT)
    return {
        (done.group, done.frame): done.state.batch
        for done in replay(network, lines, lambda _, at: image(at))
        if isinstance(done, GroupFrame)
    }


def updates(lines):
    return [line for line in lines if isinstance(line, LearningLine) and line.what == "update"]


def assert_as_lived(run):
    again = replayed(run.lines)
    assert again.keys() == run.made.keys()
    assert all(torch.equal(again[key], run.made[key]) for key in run.made)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.3, 2.5]), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=1, max_size=6).filter(lambda lost: not all(lost)),
    st.integers(0, 6),
)
def test_a_run_that_learnt_is_computed_again_bit_for_bit(works, losses, update_frames):
    assert_as_lived(Run(network_of(CONTENT), update_frames).live(works, losses))


def test_so_is_one_that_was_turned_off_and_on_and_went_back():
    switched = ((0, True), (12, False), (17, True))
    run = Run(network_of(CONTENT), 1, switched, breaks_at=28).live(frames=40)
    what = [line.what for line in run.lines if isinstance(line, LearningLine)]
    assert what.count("begin") == 2 and what[-1] == "take_back" and what.count("update") >= 3
    assert_as_lived(run)


def test_a_replay_leaves_the_networks_weights_as_they_were():
    run = Run(network_of(CONTENT)).live()
    network = network_of(CONTENT)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    one, other = replayed(run.lines, network), replayed(run.lines, network)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert all(torch.equal(one[key], other[key]) for key in one)
    plain = replayed([line for line in run.lines if not isinstance(line, LearningLine)])
    assert not all(torch.equal(one[key], plain[key]) for key in one)


def test_what_was_learnt_comes_back_from_a_file(tmp_path):
    network = network_of(CONTENT)
    head = run_head(network.spec, network.rollout, GRID, "realtime", weights=None)
    run = Run(network).live()
    with LedgerWriter(tmp_path / "ledger", head) as ledger:
        for line in run.lines:
            ledger.write(line)
    _, lines = read_ledger([tmp_path / "ledger"])
    assert lines == run.lines and len(updates(lines)) > 3


def spoilt(lines, **change):
    first = updates(lines)[0]
    return [replace(line, **change) if line is first else line for line in lines]


def test_an_update_that_cannot_be_is_refused():
    lines = Run(network_of(CONTENT)).live().lines
    without = [line for line in lines if getattr(line, "what", "") != "begin"]
    for wrong, expected in [
        (spoilt(lines, lessons=(900,)), "nobody computed frame 900 of 'head'"),
        (spoilt(lines, lessons=()), "no update follows"),
        (spoilt(lines, group="stem"), "unknown group that learns"),
        (without, "no update follows"),
    ]:
        with pytest.raises(LedgerError, match=expected):
            replayed(wrong)


def test_no_state_waits_for_a_teacher_nor_is_held_back_or_aged_by_one():
    """The teacher is silent for most of a realtime run."""
    network = network_of(CONTENT)
    rules = rules_of(network.spec, network.rollout, Deadline(GRID, GRID.period_ns, 4))
    made = {}
    for is_taught in (True, False):
        run = VirtualRun(network.rollout, rules, lambda group, job: group,
                         lambda group, frame: 1000, workers=2)  # fmt: skip
        done = made[is_taught] = []
        for frame in range(20):
            done += [(d.group, d.job.frame, d.job.origin, d.done_ns)
                     for d in run.play(GRID.stamp_ns(frame))]  # fmt: skip
            run.feed("image", frame, "image", Origin(frame, frame))
            if is_taught and 5 < frame < 9:
                run.feed("teleop", frame, "label", Origin(frame, frame))
    assert made[True] == made[False] and len(made[True]) > 60
