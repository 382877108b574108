"""A network with stated compute times, played in virtual time: what it answers, and when.

Owns two ways to run one network on one machine: its groups as a realtime rollout of any kind
(`TimedRollout`), and one pass of the whole network after the other (`TimedPasses`), which is what
a plain node with the network in its image callback does. Both compute real answers; only time is
invented. Bag evaluation and closed-loop driving run on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import (
    Deadline,
    FrameGrid,
    Intake,
    Job,
    Origin,
    VirtualRun,
)
from streaming_net_ros.network.file import rules_of
from streaming_net_ros.network.network import StreamingNetwork


@dataclass(frozen=True)
class TimedAnswer:
    """A response, and when it left.

    Attributes:
        output: its name.
        frame: of the frame grid (rollouts), or the number of the pass.
        state: (1, ...) the output group's state.
        origin: the newest image inside, and the share of held paths.
        published_ns: when it was there.
    """

    output: str
    frame: int
    state: Tensor
    origin: Origin
    published_ns: int


class Timed(Protocol):
    """A network in virtual time. Times must not fall from call to call."""

    def see(self, now_ns: int, captured_ns: int, inputs: Mapping[str, Tensor]) -> None:
        """All inputs of one image, (1, ...) each, arrive now."""

    def play(self, until_ns: int) -> Iterator[TimedAnswer]:
        """Let time pass; yields the responses up to, and with, that moment, in order."""


class TimedRollout:
    """The groups of a network as a realtime rollout on so many workers.

    Args:
        network: all groups, in evaluation mode, under the rollout to play.
        work_ns: how long each group computes.
        rate_hz: of the frame grid; None takes the network file's.
        workers: how many groups compute at once; 0: all.
        deadline_periods: see the parameter of the containers.
        hold_limit_frames: see the parameter of the containers.

    Raises:
        ParameterError: a group without a compute time, or a negative one.
    """

    def __init__(
        self,
        network: StreamingNetwork,
        work_ns: Mapping[str, int],
        *,
        rate_hz: float | None = None,
        workers: int = 0,
        deadline_periods: float = 1.0,
        hold_limit_frames: int = 10,
    ) -> None:
        check_work(network, work_ns)
        self._network = network
        self._grid = FrameGrid(rate_hz or network.spec.rate_hz)
        wait_ns = round(deadline_periods * self._grid.period_ns)
        deadline = Deadline(self._grid, wait_ns, hold_limit_frames)
        self._intake: Intake[Mapping[str, Tensor]] = Intake(self._grid, "realtime")
        self._run: VirtualRun[Tensor] = VirtualRun(
            network.rollout,
            rules_of(network.spec, network.rollout, deadline),
            self._compute,
            lambda group, frame: work_ns[group],
            workers=workers,
        )
        self._outputs: dict[str, list[str]] = {}
        for output, spec in network.spec.outputs.items():
            self._outputs.setdefault(spec.group, []).append(output)
        self.computed: dict[str, int] = dict.fromkeys(network.rollout.graph.groups, 0)
        self.held: dict[str, int] = dict.fromkeys(network.rollout.graph.groups, 0)

    def see(self, now_ns: int, captured_ns: int, inputs: Mapping[str, Tensor]) -> None:
        """All inputs of one image, (1, ...) each, arrive now."""
        self._intake.offer(captured_ns, inputs, now_ns)
        self._feed(now_ns)

    def play(self, until_ns: int) -> Iterator[TimedAnswer]:
        """Let time pass; yields the responses up to, and with, that moment, in order."""
        while (wake_ns := self._intake.wake_at_ns()) is not None and wake_ns <= until_ns:
            yield from self._play(wake_ns)
            self._feed(wake_ns)
        yield from self._play(until_ns)

    def _feed(self, now_ns: int) -> None:
        self._run.now_ns = max(now_ns, self._run.now_ns)
        while (fed := self._intake.take(now_ns)) is not None:
            origin = Origin(fed.captured_ns, fed.frame)
            for name, given in fed.image.items():
                batch = self._network.checked_input(name, given)
                self._run.feed(name, fed.frame, batch, origin)

    def _compute(self, group: str, job: Job[Tensor]) -> Tensor | None:
        self.computed[group] += 1
        self.held[group] += len(job.held)
        with torch.inference_mode():
            state: Tensor = self._network.group(group)(
                {source: given.state for source, given in job.inputs.items()}
            )
        return state if bool(torch.isfinite(state).all()) else None  # as a node does

    def _play(self, until_ns: int) -> Iterator[TimedAnswer]:
        for done in self._run.play(until_ns):
            if done.state is None:
                continue
            for output in self._outputs.get(done.group, ()):
                yield TimedAnswer(
                    output, done.job.frame, done.state, done.job.origin, done.done_ns
                )


class TimedPasses:
    """One pass of the whole network after the other, always on the newest image.

    Groups of one pass that do not need each other compute at once, as far as there are workers;
    no group begins another image before all are done with this one.

    Args:
        network: all groups, in evaluation mode, under a sequential rollout.
        work_ns: how long each group computes.
        workers: how many groups compute at once; 0: all.

    Raises:
        ParameterError: a group without a compute time, or a negative one.
    """

    def __init__(
        self, network: StreamingNetwork, work_ns: Mapping[str, int], *, workers: int = 0
    ) -> None:
        check_work(network, work_ns)
        self._network = network
        self._work_ns, self._workers = work_ns, workers
        self._done_after_ns = pass_schedule(network, work_ns, workers)
        self._state = network.init_state()
        self._waiting: tuple[int, Mapping[str, Tensor]] | None = None  # (capture, inputs)
        self._now_ns = self._free_ns = 0
        self._answers: list[TimedAnswer] = []
        self.passes = 0

    @property
    def pass_ns(self) -> int:
        """How long one pass takes."""
        return max(self._done_after_ns.values())

    def see(self, now_ns: int, captured_ns: int, inputs: Mapping[str, Tensor]) -> None:
        """All inputs of one image, (1, ...) each, arrive now; an older one that waits is lost."""
        self._now_ns = now_ns
        self._waiting = captured_ns, inputs
        if self._free_ns <= now_ns:
            self._pass(now_ns)

    def play(self, until_ns: int) -> Iterator[TimedAnswer]:
        """Let time pass; yields the responses up to, and with, that moment, in order."""
        while self._waiting is not None and self._free_ns <= until_ns:
            self._pass(max(self._free_ns, self._now_ns))
        self._now_ns = max(self._now_ns, until_ns)
        self._answers.sort(key=lambda answer: answer.published_ns)
        while self._answers and self._answers[0].published_ns <= until_ns:
            yield self._answers.pop(0)

    def _pass(self, begin_ns: int) -> None:
        assert self._waiting is not None
        (captured_ns, inputs), self._waiting = self._waiting, None
        frame = self._state.frame
        done_after_ns = self._done_after_ns
        if periods := self._network.spec.periods:  # a repeated state costs nothing
            rests = {g for g, p in periods.items() if p.newest(frame) < frame and frame > 0}
            work_ns = {g: 0 if g in rests else ns for g, ns in self._work_ns.items()}
            done_after_ns = pass_schedule(self._network, work_ns, self._workers)
        with torch.inference_mode():
            self._state, given = self._network.step(self._state, inputs)
        for output, state in given.items():
            if state is not None:
                after_ns = done_after_ns[self._network.spec.outputs[output].group]
                origin = Origin(captured_ns, self.passes)
                self._answers.append(
                    TimedAnswer(output, self.passes, state, origin, begin_ns + after_ns)
                )
        self.passes += 1
        self._free_ns = begin_ns + max(done_after_ns.values())


def pass_schedule(
    network: StreamingNetwork, work_ns: Mapping[str, int], workers: int = 0
) -> dict[str, int]:
    """When each group is done in one pass, counted from its begin; groups take turns in order."""
    rollout = network.rollout
    free_ns = [0] * (workers or len(rollout.graph.groups))
    done_ns: dict[str, int] = {}
    for group in rollout.frame_order:
        heard = rollout.delays_into(group).items()
        ready_ns = max(
            (done_ns[s] for s, delay in heard if delay == 0 and s in done_ns), default=0
        )
        worker = min(range(len(free_ns)), key=lambda w: (max(free_ns[w], ready_ns), w))
        done_ns[group] = max(free_ns[worker], ready_ns) + work_ns[group]
        free_ns[worker] = done_ns[group]
    return done_ns


def check_work(network: StreamingNetwork, work_ns: Mapping[str, int]) -> None:
    """Every group has a compute time, and nobody else.

    Raises:
        ParameterError: naming the one that is wrong.
    """
    groups = network.rollout.graph.groups
    for name in (*groups, *work_ns):
        if name not in work_ns or name not in groups or work_ns[name] < 0:
            raise ParameterError(
                "every group needs a compute time",
                where=f"work of '{name}'",
                expected=f"a time >= 0 for each of {', '.join(groups)}",
                got=work_ns.get(name),
            )
