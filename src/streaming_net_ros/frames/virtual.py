"""A network in invented time: who computes what when, if computing takes stated times.

Drives the mailboxes of all groups with a clock of its own, so that any machine, any overload and
any loss can be played deterministically and faster than real time. Bag evaluation and closed-loop
driving run on it, and the laws of realtime are tested on it. Knows nothing of what a state is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from streaming_net_ros.frames.mailbox import Job, Mailbox
from streaming_net_ros.frames.origin import Origin
from streaming_net_ros.frames.rule import FiringRule
from streaming_net_ros.theory import Rollout

State = TypeVar("State")
Compute = Callable[[str, Job[State]], State | None]
WorkNs = Callable[[str, int], int]
Carry = Callable[[str, str, int, int], Iterable[int]]


@dataclass(frozen=True)
class Done(Generic[State]):
    """A group has finished a frame.

    Attributes:
        group: whose.
        job: what it computed from what.
        state: what came out.
        begun_ns, done_ns: when it began and finished.
    """

    group: str
    job: Job[State]
    state: State | None
    begun_ns: int
    done_ns: int


class VirtualRun(Generic[State]):
    """Plays the groups of a rollout on so many workers.

    A worker takes what can be computed next, as the containers' workers do: groups in turn, one
    frame of a group at a time. Repeated states cost nothing.

    Args:
        rollout: whose edges are used.
        rules: the firing rule of every group.
        compute: gives the state of a job; called when the job begins.
        work_ns: how long a group computes a frame, by (group, frame).
        workers: how many jobs may be under way at once; 0 takes one for each group.
        carry: when a state arrives, by (source, target, frame, time of sending): no time loses
            it, several repeat it. None delivers at once.

    Attributes:
        mailboxes: of every group.
        now_ns: the time; set it back to play a clock that jumps.
    """

    def __init__(
        self,
        rollout: Rollout,
        rules: Mapping[str, FiringRule],
        compute: Compute[State],
        work_ns: WorkNs,
        *,
        workers: int = 0,
        carry: Carry | None = None,
    ) -> None:
        self.mailboxes: dict[str, Mailbox[State]] = {g: Mailbox(rule) for g, rule in rules.items()}
        self.now_ns = 0
        self._compute = compute
        self._work_ns = work_ns
        self._free = workers or len(rules)
        self._carry = carry or (lambda source, target, frame, sent_ns: (sent_ns,))
        self._hearers = {
            node: [e.target for e in rollout.graph.edges_out_of(node) if e.target != node]
            for node in rollout.graph.nodes
        }
        self._turn = list(rules)
        self._events: list[tuple[int, int, Callable[[], Done[State] | None]]] = []
        self._count = 0

    def feed(self, source: str, frame: int, state: State, origin: Origin) -> None:
        """An input's state of a frame is here, now."""
        self._send(source, frame, state, origin)

    def play(self, until_ns: int) -> Iterator[Done[State]]:
        """Let time pass up to, and with, a moment; yields what is finished, in order."""
        self._assign()
        while (at_ns := self._next_ns(until_ns)) is not None:
            self.now_ns = max(self.now_ns, at_ns)
            while self._events and self._events[0][0] <= self.now_ns:
                done = heapq.heappop(self._events)[2]()
                if done is not None:
                    yield done
            self._assign()
        self.now_ns = max(self.now_ns, until_ns)

    def jump(self, now_ns: int) -> None:
        """ROS time jumps; what is under way takes as long as it would have."""
        shift_ns = now_ns - self.now_ns
        self._events = [(at_ns + shift_ns, n, event) for at_ns, n, event in self._events]
        self.now_ns = now_ns

    def _next_ns(self, until_ns: int) -> int | None:
        """When something happens next, up to a moment."""
        times = [self._events[0][0]] if self._events else []
        if self._free:
            wakes = (box.wake_at_ns() for box in self.mailboxes.values())
            times += [wake for wake in wakes if wake is not None and wake > self.now_ns]
        return min((time for time in times if time <= until_ns), default=None)

    def _at(self, at_ns: int, event: Callable[[], Done[State] | None]) -> None:
        self._count += 1  # events of one moment keep their order
        heapq.heappush(self._events, (at_ns, self._count, event))

    def _send(self, source: str, frame: int, state: State, origin: Origin) -> None:
        for target in self._hearers[source]:

            def arrive(target: str = target) -> None:
                self.mailboxes[target].arrive(source, frame, state, origin, self.now_ns)

            for at_ns in self._carry(source, target, frame, self.now_ns):
                if at_ns <= self.now_ns:
                    arrive()
                else:
                    self._at(at_ns, arrive)

    def _assign(self) -> None:
        """Give free workers what can be computed now."""
        given = True
        while self._free and given:
            given = False
            for group in list(self._turn):
                if not self._free:
                    return
                job = self.mailboxes[group].next_job(self.now_ns)
                if job is not None:
                    self._turn.remove(group)
                    self._turn.append(group)
                    self._begin(group, job)
                    given = True

    def _begin(self, group: str, job: Job[State]) -> None:
        begun_ns = self.now_ns
        state = job.repeated
        took_ns = 0
        if state is None:
            state, took_ns = self._compute(group, job), self._work_ns(group, job.frame)
        self._free -= 1

        def finish() -> Done[State]:
            self._free += 1
            box = self.mailboxes[group]
            if state is None:
                box.discard(job.frame)
            else:
                if box.is_wanted(job, self.now_ns):
                    self._send(group, job.frame, state, job.origin)
                box.finish(job.frame, state)
            return Done(group, job, state, begun_ns, self.now_ns)

        self._at(begun_ns + took_ns, finish)
