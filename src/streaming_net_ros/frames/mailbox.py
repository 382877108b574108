"""The firing rule: what one group may compute when, and from which inputs.

A mailbox belongs to one group. States of its sources arrive in any order; jobs leave in frame
order, one at a time. Offline, lockstep and realtime drive this same class (DESIGN, law 2):

- **lockstep**: a frame fires when every input that exists for it has arrived. It waits as long as
  it takes. Which inputs exist is known from the rollout alone: a source's state exists from its
  first frame on, counted from the frame of the first image (frame law).
- **realtime**: a frame fires as soon as its inputs are there (eager law), and at the latest at its
  deadline. An input that is then missing is *held*: the newest earlier state stands in for it, up
  to a limit of frames; beyond that it is *absent* and contributes nothing, and a group that would
  hear nobody but itself stays silent. A group that is behind skips to the newest frame whose
  deadline has passed and never builds a backlog.

The class knows no clock (``now_ns`` is handed in), no thread (its owner holds a lock), and nothing
of what a state is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Literal, TypeVar

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.theory import Rollout, first_frames

Mode = Literal["lockstep", "realtime"]
State = TypeVar("State")


class Arrival(Enum):
    """What became of a state that arrived. Values say it in words for logs and diagnostics."""

    ACCEPTED = "accepted"
    DUPLICATE = "a state of this frame, or of a later one, has already arrived"
    LATE = "too late for its frame; kept only if it is the newest to hold"
    GAP = "a state before this one never arrived"


@dataclass(frozen=True)
class Deadline:
    """Realtime: how long a frame waits for its inputs, and how long a missing one is held.

    Attributes:
        grid: gives the tick of a frame.
        wait_ns: how long after its tick a frame waits.
        hold_limit_frames: for how many frames a missing input is held.

    Raises:
        ParameterError: a negative wait or limit.
    """

    grid: FrameGrid
    wait_ns: int
    hold_limit_frames: int

    def __post_init__(self) -> None:
        if self.wait_ns < 0 or self.hold_limit_frames < 0:
            raise ParameterError(
                "deadline or hold limit is negative",
                where="realtime",
                expected=">= 0",
                got=min(self.wait_ns, self.hold_limit_frames),
            )

    def at_ns(self, frame: int) -> int:
        """When a frame stops waiting."""
        return self.grid.stamp_ns(frame) + self.wait_ns


@dataclass(frozen=True)
class FiringRule:
    """Everything a mailbox needs to know of the network: one group's view of a rollout.

    Attributes:
        group: the group that fires; its own name among ``delays`` is its self-edge.
        delays: delay in frames per source, in the file's order of edges.
        first_frames: per source and for the group itself, the first frame (counted from the first
            image's) at which a state exists.
        deadline: realtime's; None is lockstep, which waits without limit.
    """

    group: str
    delays: Mapping[str, int]
    first_frames: Mapping[str, int]
    deadline: Deadline | None = None


def firing_rules(rollout: Rollout, deadline: Deadline | None = None) -> dict[str, FiringRule]:
    """The firing rule of every group of a rollout; lockstep unless a deadline is given."""
    first = first_frames(rollout)
    rules = {}
    for group in rollout.graph.groups:
        delays = rollout.delays_into(group)
        known = {name: first[name] for name in (*delays, group)}
        rules[group] = FiringRule(group, delays, known, deadline)
    return rules


@dataclass(frozen=True)
class Input(Generic[State]):
    """One input of a job: the state, the frame that it is of, and whether it stands in (held)."""

    state: State
    frame: int
    is_held: bool = False


@dataclass(frozen=True)
class Job(Generic[State]):
    """One frame of one group, ready to compute.

    Attributes:
        frame: the frame to compute.
        inputs: per source that exists for this frame, in the file's order of edges.
        skipped: how many frames were given up since the last job (realtime).
    """

    frame: int
    inputs: Mapping[str, Input[State]]
    skipped: int = 0

    @property
    def held(self) -> tuple[str, ...]:
        """Sources whose state for this frame was missing and is stood in for."""
        return tuple(source for source, given in self.inputs.items() if given.is_held)


@dataclass
class _Source(Generic[State]):
    """What has arrived from one source and may still be needed, by frame."""

    delay: int
    states: dict[int, State] = field(default_factory=dict)
    newest: int | None = None

    def forget_before(self, frame: int, keep_one: bool) -> None:
        """Drop states older than ``frame``; realtime keeps the newest of them, to be held."""
        stale = sorted(f for f in self.states if f < frame)
        for old in stale[:-1] if keep_one else stale:
            del self.states[old]

    def held_for(self, frame: int, limit_frames: int) -> Input[State] | None:
        """The newest state before ``frame`` that is at most ``limit_frames`` older."""
        earlier = max((f for f in self.states if f < frame), default=None)
        if earlier is None or frame - earlier > limit_frames:
            return None
        return Input(self.states[earlier], earlier, is_held=True)


class Mailbox(Generic[State]):
    """Arrivals in, jobs out. See the module's text for the rule.

    Not thread-safe: the owner holds one lock around every call. Memory: per source at most the
    longest delay, plus what the flow window lets a source run ahead (lockstep).
    """

    def __init__(self, rule: FiringRule) -> None:
        self.rule = rule
        self._sources: dict[str, _Source[State]] = {
            name: _Source(delay) for name, delay in rule.delays.items()
        }
        self._start: int | None = None  # frame of the first image, lockstep only
        self._next: int | None = None  # next frame to fire; None until something arrived
        self._in_flight: int | None = None
        self._has_fired = False
        self._skipped = 0

    @property
    def next_frame(self) -> int | None:
        """The next frame to fire, or None while nothing has arrived."""
        return self._next

    @property
    def is_busy(self) -> bool:
        """True between a job and its ``finish``."""
        return self._in_flight is not None

    def arrive(self, source: str, frame: int, state: State) -> Arrival:
        """A state of ``source`` for ``frame`` is here.

        In lockstep every source must deliver its frames in order and without a gap; the answer
        ``GAP`` means that a state was lost, and is not stored.
        """
        box = self._sources[source]
        if box.newest is not None and frame <= box.newest:
            return Arrival.DUPLICATE
        self._begin(source, frame)
        if self.rule.deadline is None and frame != self._expected(source):
            return Arrival.GAP
        box.states[frame] = state
        box.newest = frame
        if self._next is not None and frame + box.delay < self._next:
            self._forget()
            return Arrival.LATE
        return Arrival.ACCEPTED

    def next_job(self, now_ns: int = 0) -> Job[State] | None:
        """The next frame that may be computed now, or None. ``finish`` must follow each job."""
        if self._next is None or self._in_flight is not None:
            return None
        self._skip_to_newest(now_ns)
        inputs = self._inputs_for(self._next, now_ns)
        while inputs is not None and not self._hears_others(inputs):
            # Nobody else's state exists for this frame (realtime, sources gone): silence. A group
            # that only remembers would otherwise go on for ever after its camera has stopped.
            self._next += 1
            self._skipped += 1
            inputs = self._inputs_for(self._next, now_ns)
        if inputs is None:
            return None
        frame, self._in_flight, self._next = self._next, self._next, self._next + 1
        self._has_fired = True
        skipped, self._skipped = self._skipped, 0
        self._forget()
        return Job(frame, inputs, skipped)

    def finish(self, frame: int, state: State | None) -> None:
        """The job of ``frame`` is done. A group that hears itself hears ``state`` from here.

        Raises:
            ParameterError: no job of that frame is in flight.
        """
        if frame != self._in_flight:
            raise ParameterError(
                "finish without its job",
                where=f"mailbox of group {self.rule.group}",
                expected=f"frame {self._in_flight}",
                got=frame,
            )
        self._in_flight = None
        if state is not None and self.rule.group in self._sources:
            self.arrive(self.rule.group, frame, state)

    def wake_at_ns(self) -> int | None:
        """Realtime: when ``next_job`` should be asked again even if nothing arrives."""
        if self.rule.deadline is None or self._next is None or self._in_flight is not None:
            return None
        return self.rule.deadline.at_ns(self._next)

    def missing(self) -> tuple[str, ...]:
        """Sources whose state the next frame still lacks."""
        if self._next is None:
            return tuple(self._sources)
        return tuple(
            name
            for name, box in self._sources.items()
            if self._exists(name, self._next - box.delay)
            and self._next - box.delay not in box.states
        )

    def _begin(self, source: str, frame: int) -> None:
        """The first arrivals say which frame is first.

        Lockstep knows it from one of them; realtime takes the earliest that any of them is for.
        """
        if self._has_fired:
            return
        if self.rule.deadline is not None:
            due = frame + self._sources[source].delay
            self._next = due if self._next is None else min(due, self._next)
        elif self._next is None:
            self._start = frame - self.rule.first_frames[source]
            self._next = self._start + self.rule.first_frames[self.rule.group]

    def _expected(self, source: str) -> int:
        """Lockstep: the frame that this source must deliver next."""
        newest = self._sources[source].newest
        return self._first_frame(source) if newest is None else newest + 1

    def _first_frame(self, source: str) -> int:
        return (self._start or 0) + self.rule.first_frames[source]

    def _exists(self, source: str, frame: int) -> bool:
        """Lockstep: does the source have a state for this frame at all (frame law)?"""
        return self.rule.deadline is not None or frame >= self._first_frame(source)

    def _inputs_for(self, frame: int, now_ns: int) -> dict[str, Input[State]] | None:
        """Inputs of a frame, or None if it must wait."""
        inputs: dict[str, Input[State]] = {}
        for name, box in self._sources.items():
            wanted = frame - box.delay
            if wanted in box.states:
                inputs[name] = Input(box.states[wanted], wanted)
            elif self.rule.deadline is None:
                if self._exists(name, wanted):
                    return None
            elif self._may_come(name, wanted) and now_ns < self.rule.deadline.at_ns(frame):
                return None
            elif held := box.held_for(wanted, self.rule.deadline.hold_limit_frames):
                inputs[name] = held
        return inputs

    def _hears_others(self, inputs: Mapping[str, Input[State]]) -> bool:
        """Lockstep is exact (frame law); realtime needs a state that is not the group's own."""
        if self.rule.deadline is None:
            return bool(inputs)
        return any(source != self.rule.group for source in inputs)

    def _may_come(self, source: str, frame: int) -> bool:
        """Realtime: a newer state tells that an older one will not come; one's own is known."""
        newest = self._sources[source].newest
        return source != self.rule.group and (newest is None or newest < frame)

    def _skip_to_newest(self, now_ns: int) -> None:
        """Realtime: give up frames whose successor's deadline has passed as well."""
        deadline = self.rule.deadline
        if deadline is None or self._next is None:
            return
        behind_ns = now_ns - deadline.at_ns(self._next + 1)
        if behind_ns >= 0:
            skipped = 1 + behind_ns // deadline.grid.period_ns
            self._next += skipped
            self._skipped += skipped
            self._forget()

    def _forget(self) -> None:
        """Keep exactly what the next frame and its successors can still need."""
        if self._next is not None:
            for box in self._sources.values():
                box.forget_before(self._next - box.delay, keep_one=self.rule.deadline is not None)
