"""The firing rule: what one group may compute when, and from which inputs.

A mailbox belongs to one group. States of its sources arrive in any order; jobs leave in frame
order, one at a time. Offline, lockstep and realtime drive this same class (DESIGN, law 2):

- **lockstep**: a frame fires when every input that exists for it has arrived. It waits as long as
  it takes. Which inputs exist is known from the rollout alone: a source's state exists from its
  first frame on, counted from the frame of the first image (frame law).
- **realtime**: a frame fires as soon as its inputs are there (eager law), and at the latest at its
  deadline. An input that is then missing is *held*: the newest earlier state stands in for it, up
  to a limit of frames; beyond that it is *absent* and contributes nothing. A source that missed a
  deadline is not waited for again until it is on time, so that a slow or dead path costs the
  others one wait, not one a frame. A group that is behind skips to the newest frame that can fire
  and never builds a backlog. A group whose newest image is older than it can be held falls silent,
  and begins anew with the next arrival.

A source may be silent in a frame: what arrives then says that there is no state (None). Nobody
waits for one, nothing stands in for it, and a group that hears nothing else is silent too.

ROS time may jump back (a bag that is played in a loop): everything is forgotten then.

The class knows no clock (``now_ns`` is handed in), no thread (its owner holds a lock), and nothing
of what a state is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, NamedTuple

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.lesion import Keep, Lesion, Lesions
from streaming_net_ros.frames.origin import Origin, origin_of
from streaming_net_ros.frames.rule import Deadline, FiringRule
from streaming_net_ros.frames.running import Arrived, Input, Running, State

_AHEAD_FRAMES = 2  # an image may be one frame ahead of its time, and hosts' clocks differ a little


class Arrival(Enum):
    """What became of a state that arrived. Values say it in words for logs and diagnostics."""

    ACCEPTED = "accepted"
    DUPLICATE = "a state of this frame, or of a later one that is in use, has already arrived"
    LATE = "too late for its frame; kept for the next one"
    GAP = "a state before this one never arrived"
    FUTURE = "no image can have reached this frame yet: the clocks disagree, or time jumped back"


class Job(NamedTuple, Generic[State]):
    """One frame of one group, ready to compute.

    Attributes:
        frame: the frame to compute.
        inputs: per source that exists for this frame, in the file's order of edges.
        origin: of the state that the job will give.
        absent: sources that should be there, and have nothing that may be held.
        skipped: how many frames were given up since the last job (realtime).
        repeated: the group's own last state, if this frame repeats it: nothing is to be computed.
    """

    frame: int
    inputs: Mapping[str, Input[State]]
    origin: Origin
    absent: tuple[str, ...] = ()
    skipped: int = 0
    repeated: State | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """Sources whose state for this frame was missing and is stood in for."""
        return tuple(source for source, given in self.inputs.items() if given.is_held)

    @property
    def is_silent(self) -> bool:
        """Is there nothing to hear in this frame, so that it gives no state?"""
        return self.repeated is None and all(g.state is None for g in self.inputs.values())


class Memory(NamedTuple, Generic[State]):
    """All that a mailbox knows between two frames: to be put away, and taken up by another.

    Attributes:
        running: what has arrived, and where the run is.
        lesions: of the group (None) and of the edges of its sources.
        heard: what was heard last, by source.
        kept: what held edges hold, by source.
    """

    running: Running[State]
    lesions: Mapping[str | None, Lesion]
    heard: Mapping[str, Input[State]]
    kept: Mapping[str, Input[State]]


class Mailbox(Generic[State]):
    """Arrivals in, jobs out. See the module's text for the rule.

    Not thread-safe: the owner holds one lock around every call. Memory: per source at most the
    longest delay, plus what a source can run ahead (the flow window of lockstep, the length of
    the paths in realtime).

    Args:
        rule: the group's.
        keep: see ``Lesions``: states may be lent only, and an edge that is held keeps one.

    Attributes:
        lesions: of the group and its edges.
        jumps: how often time has jumped back.
        silences: how often the group fell silent, because its newest image was too old.
    """

    def __init__(self, rule: FiringRule, keep: Keep[State] = lambda source, given: given) -> None:
        self.rule = rule
        self.lesions: Lesions[State] = Lesions(rule.group, tuple(rule.delays), keep)
        self.jumps = 0
        self.silences = 0
        self._run: Running[State] = self._fresh()
        self._others = tuple(name for name in rule.delays if name != rule.group)
        deadlines = [(rule.deadlines or {}).get(name) for name in self._others]
        self._others_deadlines = tuple(at for at in deadlines if at is not None)
        self._period_ns = self._others_deadlines[0].grid.period_ns if self._others_deadlines else 0
        self._wait_ns = max((at.wait_ns for at in self._others_deadlines), default=0)
        self._in_flight: tuple[Job[State], Running[State]] | None = None
        self._now_ns = 0

    def _fresh(self) -> Running[State]:
        return Running({name: Arrived(delay) for name, delay in self.rule.delays.items()})

    @property
    def next_frame(self) -> int | None:
        """The next frame to fire, or None while nothing has arrived, or the group is silent."""
        return self._run.next

    @property
    def is_busy(self) -> bool:
        """True between a job and its ``finish``."""
        return self._in_flight is not None

    def arrive(
        self,
        source: str,
        frame: int,
        state: State | None,
        origin: Origin | None = None,
        now_ns: int = 0,
    ) -> Arrival:
        """A state of ``source`` for ``frame`` is here, or word that it is silent.

        In lockstep every source must deliver its frames in order and without a gap; the answer
        ``GAP`` means that a state was lost, and is not stored.

        Args:
            source: whose.
            frame: of which frame.
            state: anything; None if the source is silent in that frame.
            origin: of what it is made; None if it is an input's own, of that frame.
            now_ns: ROS time; lockstep does not depend on it.
        """
        given = Input(state, frame, origin or Origin(0, frame), now_ns)
        if self.rule.deadlines is None:
            return self._arrive_in_order(source, given)
        self._notice(now_ns)
        return self._arrive_in_time(source, given, self.rule.deadlines[source])

    @property
    def running(self) -> Running[State]:
        """What it knows of the run; not to be changed."""
        return self._run

    def memory(self) -> Memory[State]:
        """What it knows now; states are not copied."""
        return Memory(self._run.copy(), self.lesions.told(), *self.lesions.remembered())

    def recall(self, memory: Memory[State]) -> None:
        """Go on from what another mailbox of this rule knew."""
        self._run = memory.running.copy()
        for source, lesion in memory.lesions.items():
            self.lesions.set(lesion, source)
        self.lesions.remember(memory.heard, memory.kept)

    def next_job(self, now_ns: int = 0) -> Job[State] | None:
        """The next frame that may be computed now, or None. ``finish`` must follow each job."""
        if self.rule.deadlines is not None:
            self._notice(now_ns)
        if self._run.next is None or self._in_flight is not None:
            return None
        if self.rule.deadlines is None:
            inputs = self._whole_inputs_for(self._run.next)
            return None if inputs is None else self._fire(self._run.next, inputs)
        self._skip_to_newest(self._run.next)
        inputs = self._inputs_for(self._run.next)
        if inputs is None:
            return None
        if self._is_stale(self._run.next, inputs):
            self._fall_silent()
            return None
        return self._fire(self._run.next, inputs)

    def finish(self, frame: int, state: State | None) -> None:
        """The job of ``frame`` is done; None: the group is silent in it.

        A group that hears itself hears ``state`` from here.

        Raises:
            ParameterError: no job of that frame is in flight.
        """
        job, run = self._land(frame)
        if run is not self._run:  # of a time that is gone
            return
        run.own = Input(state, frame, job.origin, self._now_ns)
        if job.repeated is None:
            run.updated = frame
        if self.rule.group in run.sources:
            run.sources[self.rule.group].store(run.own)
            self._forget()

    def discard(self, frame: int) -> None:
        """The job of ``frame`` is done and gave nothing that may be used, not even by itself.

        Raises:
            ParameterError: no job of that frame is in flight.
        """
        self._land(frame)

    def _land(self, frame: int) -> tuple[Job[State], Running[State]]:
        if self._in_flight is None or frame != self._in_flight[0].frame:
            raise ParameterError(
                "finish without its job",
                where=f"mailbox of group {self.rule.group}",
                expected=f"frame {self._in_flight and self._in_flight[0].frame}",
                got=frame,
            )
        landed, self._in_flight = self._in_flight, None
        return landed

    def wake_at_ns(self) -> int | None:
        """Realtime: when ``next_job`` should be asked again even if nothing arrives."""
        if self.rule.deadlines is None or self._run.next is None or self._in_flight is not None:
            return None
        times = [at.at_ns(self._run.next) for at in self._others_deadlines]
        return min((time for time in times if time > self._now_ns), default=max(times))

    def is_wanted(self, job: Job[State], now_ns: int) -> bool:
        """False once time has jumped back under a job: its state is of a time that is gone."""
        if self.rule.deadlines is not None:
            self._notice(now_ns)
        if self._in_flight is None:
            return False
        flying, run = self._in_flight
        return flying is job and run is self._run

    def missing(self) -> tuple[str, ...]:
        """Sources whose state the next frame still lacks."""
        if self._run.next is None:
            return tuple(self._run.sources)
        return tuple(
            name
            for name, box in self._run.sources.items()
            if self._exists(name, self._run.next - box.delay)
            and self._run.next - box.delay not in box.states
        )

    def behind(self) -> tuple[str, ...]:
        """Realtime: sources that missed their last deadline and are not waited for now."""
        return tuple(name for name, box in self._run.sources.items() if not box.is_on_time)

    # --- arrivals ----------------------------------------------------------------------------

    def _arrive_in_order(self, source: str, given: Input[State]) -> Arrival:
        """Lockstep."""
        box, frame = self._run.sources[source], given.frame
        if box.newest is not None and frame <= box.newest:
            return Arrival.DUPLICATE
        if self._run.next is None:
            self._run.start = frame - self.rule.first_frames[source]
            self._run.next = self._first_frame(self.rule.group)
        if frame != (self._first_frame(source) if box.newest is None else box.newest + 1):
            return Arrival.GAP
        box.store(given)
        return Arrival.ACCEPTED

    def _arrive_in_time(self, source: str, given: Input[State], deadline: Deadline) -> Arrival:
        """Realtime: any order, any gap."""
        run, box, frame = self._run, self._run.sources[source], given.frame
        best_image = frame - self.rule.first_frames[source]
        newest_image = deadline.grid.frame_at(self._now_ns) + _AHEAD_FRAMES
        if best_image > newest_image or given.origin.image_frame > best_image:
            return Arrival.FUTURE  # kept, it would pass for the newest one for ever
        due = frame + box.delay
        is_late = run.fired is not None and due <= run.fired
        is_late = is_late or (run.has_begun and run.next is not None and due < run.next)
        if is_late and box.newest is not None and frame <= box.newest:
            return Arrival.DUPLICATE
        if frame in box.states:
            box.store(given)  # after a small jump back of time the newer one is right
            return Arrival.DUPLICATE
        box.store(given)
        box.is_on_time = box.is_on_time or self._now_ns <= deadline.at_ns(due)
        self._forget()
        if is_late:
            return Arrival.LATE
        if not run.has_begun:  # the earliest arrivals say where to begin
            start = frame - self.rule.first_frames[source]
            run.start = start if run.start is None else min(start, run.start)
            run.next = due if run.next is None else min(due, run.next)
        return Arrival.ACCEPTED

    def _notice(self, now_ns: int) -> None:
        """Realtime: what was known before a jump back of time is worth nothing after it."""
        if now_ns < self._now_ns - self._period_ns:
            self._run = self._fresh()
            self.lesions.forget()
            self.jumps += 1
            self._now_ns = now_ns
        self._now_ns = max(now_ns, self._now_ns)

    # --- firing ------------------------------------------------------------------------------

    def _whole_inputs_for(self, frame: int) -> dict[str, Input[State]] | None:
        """Lockstep: all inputs that exist for a frame, or None if one has not come."""
        inputs: dict[str, Input[State]] = {}
        for name, box in self._run.sources.items():
            wanted = frame - box.delay
            given = box.states.get(wanted)
            if given is not None:
                inputs[name] = given
            elif self._exists(name, wanted):
                return None
        return inputs

    def _inputs_for(self, frame: int) -> dict[str, Input[State]] | None:
        """Realtime: inputs of a frame, or None if it waits for one."""
        inputs: dict[str, Input[State]] = {}
        for name, box in self._run.sources.items():
            wanted = frame - box.delay
            given = box.states.get(wanted)
            if given is not None:
                inputs[name] = given
            elif self._is_worth_waiting_for(name, frame):
                return None
            elif name != self.rule.teacher:
                # One's own memory carries on however many frames were skipped.
                own = name == self.rule.group
                limit_frames = None if own else self._deadlines[name].hold_limit_frames
                if held := box.held_for(wanted, limit_frames):
                    inputs[name] = held
        return None if self._is_early(frame) else inputs

    def _is_worth_waiting_for(self, source: str, frame: int) -> bool:
        """Realtime: may a missing state still come in time?"""
        box = self._run.sources[source]
        return (
            # One's own is known; no state waits for what only learning needs.
            source not in (self.rule.group, self.rule.teacher)
            and box.is_on_time
            and self._exists(source, frame - box.delay)
            and not self._has_passed(source, frame)
            and self._now_ns < self._deadlines[source].at_ns(frame)
        )

    def _has_passed(self, source: str, frame: int) -> bool:
        """A state as new as wanted, or newer, is here: an older one that is missing was lost."""
        box = self._run.sources[source]
        return box.newest is not None and box.newest >= frame - box.delay

    def _is_early(self, frame: int) -> bool:
        """Realtime: a frame of which nobody has told anything yet does not run ahead of time."""
        return self._now_ns < self._deadline_ns(frame) and not any(
            self._has_passed(name, frame) for name in self._others
        )

    def _is_stale(self, frame: int, inputs: Mapping[str, Input[State]]) -> bool:
        """Realtime: is the newest image in any input older than may be held?"""
        newest = max((given.origin.image_frame for given in self._used(inputs)), default=None)
        if newest is None:
            return True
        best = frame - self.rule.first_frames[self.rule.group]
        return best - newest > self.rule.hold_limit_frames

    def _fall_silent(self) -> None:
        """Realtime: begin anew with the next arrival, without a memory of what was before."""
        run = self._run
        run.next, run.start, run.has_begun, run.skipped = None, None, False, 0
        run.own, run.updated = None, None
        if self.rule.group in run.sources:
            run.sources[self.rule.group].states.clear()
        self.silences += 1

    def _fire(self, frame: int, inputs: dict[str, Input[State]]) -> Job[State]:
        run, lesion, own = self._run, self.lesions.group, self._run.own
        repeats = lesion == "hold" or (lesion == "none" and not self._is_due(frame))
        if repeats or lesion != "none":
            self.lesions.hears_nothing()
        if repeats and own is not None and own.state is not None:
            job = Job(frame, {}, own.origin, (), run.skipped, own.state)
        elif lesion != "none":
            origin = origin_of([given.origin for given in inputs.values()])
            job = Job(frame, {}, origin, (), run.skipped)
        else:
            inputs = self.lesions.heard(inputs)
            if self.rule.teacher in inputs and not any(
                given.state is not None for given in self._used(inputs)
            ):  # a frame of silence has nothing to teach
                inputs[self.rule.teacher] = inputs[self.rule.teacher]._replace(state=None)
            job = Job(frame, inputs, *self._made_of(frame, inputs), run.skipped)
        if self.rule.deadlines is not None:
            for name in self._others:
                if frame - run.sources[name].delay not in run.sources[name].states:
                    is_over = self._now_ns >= self.rule.deadlines[name].at_ns(frame)
                    run.sources[name].is_on_time &= not is_over
        run.skipped, run.fired, run.next, run.has_begun = 0, frame, frame + 1, True
        self._in_flight = job, run
        self._forget()
        return job

    def _is_due(self, frame: int) -> bool:
        """Is a new state to be computed in this frame, not the last one repeated?"""
        if self.rule.period.every == 1 or self._run.updated is None:
            return True
        return self._run.updated < self.rule.period.newest(frame)

    def _made_of(
        self, frame: int, inputs: Mapping[str, Input[State]]
    ) -> tuple[Origin, tuple[str, ...]]:
        """The origin of what the inputs will give, and who is absent."""
        absent: list[str] = []
        share = 0.0
        wanted = silent = 0
        for name in self._others:
            given = inputs.get(name)
            if name == self.rule.teacher:
                continue
            if given is None:
                if self._exists(name, frame - self.rule.delays[name]):
                    share += 1.0
                    absent.append(name)
                    wanted += 1
            elif given.state is None:
                silent += 1
            else:
                share += 1.0 if given.is_held else given.origin.held
                wanted += 1
        held = share / wanted if wanted else float(not silent)
        # In thousandths, rounded down: on a cycle of groups a share would fade and never be gone.
        held = int(1000 * held) / 1000
        used = self._used(inputs)
        heard = [given.origin for given in used if given.state is not None]
        # A frame of silence has an origin as well: of the images that it is silent about.
        origins = heard or [given.origin for given in used]
        return origin_of(origins, held), tuple(absent)

    def _used(self, inputs: Mapping[str, Input[State]]) -> list[Input[State]]:
        """Inputs that the state is made of."""
        if self.rule.teacher is None:
            return list(inputs.values())
        return [given for name, given in inputs.items() if name != self.rule.teacher]

    def _skip_to_newest(self, frame: int) -> None:
        """Realtime: give up a frame whose deadline has passed for the newest that can fire."""
        late_ns = self._now_ns - self._deadline_ns(frame)
        if late_ns < 0:
            return
        newest = frame + late_ns // self._period_ns  # its deadline has passed as well
        boxes = [self._run.sources[name] for name in self._others]
        told = max((box.newest + box.delay for box in boxes if box.newest is not None), default=0)
        newest = next(
            (ahead for ahead in range(told, newest, -1) if self._inputs_for(ahead) is not None),
            newest,
        )
        if newest > frame:
            self._run.skipped += newest - frame
            self._run.next = newest
            self._forget()

    # --- what is known -----------------------------------------------------------------------

    @property
    def _deadlines(self) -> Mapping[str, Deadline]:
        """Realtime's."""
        assert self.rule.deadlines is not None
        return self.rule.deadlines

    def _deadline_ns(self, frame: int) -> int:
        """Realtime: when a frame waits for nobody any more."""
        return frame * self._period_ns + self._wait_ns

    def _first_frame(self, source: str) -> int:
        return (self._run.start or 0) + self.rule.first_frames[source]

    def _exists(self, source: str, frame: int) -> bool:
        """Does the source have a state for this frame at all (frame law)?"""
        return frame >= self._first_frame(source)

    def _forget(self) -> None:
        """Keep exactly what the next frame and its successors can still need."""
        due = self._run.next
        if due is None:
            return
        is_realtime = self.rule.deadlines is not None
        if is_realtime and (late_ns := self._now_ns - self._deadline_ns(due)) >= 0:
            due += late_ns // self._period_ns  # however long a job takes: these are skipped
        for box in self._run.sources.values():
            box.forget_before(due - box.delay, keep_one=is_realtime)
