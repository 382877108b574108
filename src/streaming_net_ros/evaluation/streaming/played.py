"""Rollouts played on a recording: what each answers, and when the answer is out.

Owns the two ways in which a recording is played without ROS. *Offline* every image is a frame and
computing takes no time: what the rollout knows. *Timed* each group takes its compute time and the
frame grid does not wait, in virtual time: what a robot would have heard, and when. Both are
deterministic. ``measures`` judges the answers; how they look is ``report``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming_net_ros.evaluation.inputs import RecordedInputs
from streaming_net_ros.evaluation.streaming.references import Reference
from streaming_net_ros.network import (
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    Timed,
    TimedPasses,
    TimedRollout,
)
from streaming_net_ros.theory import equally_model_parallel, response_times, sequential

_WARM_UP = 5  # the first frames of a process are slow


@dataclass(frozen=True)
class Contender:
    """A network under one rollout, with its weights: one of those that are compared.

    Attributes:
        name: in the results.
        network: all groups, in evaluation mode, with weights, under the rollout to play.
        weights: where they came from, in words.
        is_pipelined: all groups work at once, each on another frame; else one pass of the whole
            network follows the other, as in a plain node's image callback.
    """

    name: str
    network: StreamingNetwork
    weights: str
    is_pipelined: bool = True

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that compute."""
        return self.network.rollout.graph.groups

    def response_frames(self, output: str) -> tuple[int, int]:
        """Frames from an image to the early and to the full response of an output."""
        group = self.network.spec.outputs[output].group
        times = response_times(self.network.rollout)[group]
        return times.first_frames, times.full_frames


@dataclass(frozen=True)
class Answers:
    """The responses of one output, in the order in which they were published.

    Attributes:
        published_ns: (n,) int64 when each was there, in the recording's time; never falls.
        captured_ns: (n,) int64 capture time of the newest image inside each (age law).
        values: (n, fields).
    """

    published_ns: NDArray[np.int64]
    captured_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.published_ns)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, NDArray[np.float64]]], fields: int) -> Answers:
        """Of (published, captured, values), in any order."""
        ordered = sorted(rows, key=lambda row: row[:2])
        values = np.array([row[2] for row in ordered], np.float64)
        return cls(
            np.array([row[0] for row in ordered], np.int64),
            np.array([row[1] for row in ordered], np.int64),
            values.reshape(-1, fields),
        )

    @property
    def first_per_image(self) -> Answers:
        """The first answer to each newest image; later ones are made of held states."""
        _, chosen = np.unique(self.captured_ns, return_index=True)
        chosen = np.sort(chosen)
        return Answers(self.published_ns[chosen], self.captured_ns[chosen], self.values[chosen])

    def newest_at(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Per time the place of the newest answer published by then; -1 before the first."""
        places: NDArray[np.int64] = np.searchsorted(self.published_ns, times_ns, "right") - 1
        return places


@dataclass(frozen=True)
class Timing:
    """Under which conditions rollouts are played.

    Attributes:
        work_ns: compute time per group; a group that is not named takes none.
        camera_ns: from the capture of an image to its arrival.
        rate_hz: of the frame grid; None takes the network file's.
        workers: how many groups compute at once; 0: all.
    """

    work_ns: Mapping[str, int]
    camera_ns: int = 0
    rate_hz: float | None = None
    workers: int = 0


@dataclass(frozen=True)
class TimedPlay:
    """A recording as a rollout would have lived it.

    Attributes:
        answers: by output.
        computed: frames that groups computed, in all; None if nobody has counted.
        held: inputs among them that stood in for missing ones; None as well.
        recorded_in: the bag that heard the answers of a network that ran; empty: played here.
    """

    answers: Mapping[str, Answers]
    computed: int | None = None
    held: int | None = None
    recorded_in: str = ""


def is_sequential(network: StreamingNetwork) -> bool:
    """Whether nothing is computed at once with anything that it could wait for."""
    return equally_model_parallel(network.rollout, sequential(network.rollout.graph))


def play_offline(
    contender: Contender,
    inputs: RecordedInputs,
    references: Iterable[Reference],
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, Answers]:
    """Every image a frame, from silence; published is when the image was captured."""
    network = contender.network
    rollout = OfflineRollout(network)
    collected = _Collected(network, references)
    for number, captured_ns in enumerate(inputs.captured_ns.tolist()):
        given = {
            name: StampedState(batch, captured_ns) for name, batch in _batches(inputs, number)
        }
        for done in rollout.feed(number, given):
            collected.take(done.group, done.state.batch, captured_ns, done.state.captured_ns)
        on_image()
    return collected.answers()


def play_timed(
    contender: Contender,
    inputs: RecordedInputs,
    references: Iterable[Reference],
    timing: Timing,
    on_image: Callable[[], None] = lambda: None,
) -> TimedPlay:
    """As a robot would have lived it, in virtual time. Images arrive at their capture time.

    Raises:
        ParameterError: a compute time that is negative.
    """
    network = contender.network
    work_ns = {group: timing.work_ns.get(group, 0) for group in contender.groups}
    player: Timed
    rollout = None
    if contender.is_pipelined:
        player = rollout = TimedRollout(
            network, work_ns, rate_hz=timing.rate_hz, workers=timing.workers
        )
    else:
        player = TimedPasses(network, work_ns, workers=timing.workers)
    collected = _Collected(network, references)

    def until(now_ns: int) -> None:
        for answer in player.play(now_ns):
            collected.take_output(
                answer.output, answer.state, answer.published_ns, answer.origin.captured_ns
            )

    now_ns = 0
    for number, captured_ns in enumerate(inputs.captured_ns.tolist()):
        now_ns = captured_ns + timing.camera_ns
        until(now_ns)
        player.see(now_ns, captured_ns, dict(_batches(inputs, number)))
        on_image()
    computed = sum(rollout.computed.values()) if rollout is not None else 0
    held = sum(rollout.held.values()) if rollout is not None else 0
    full = max(times.full_frames for times in response_times(network.rollout).values())
    # An image may wait for the pass before its own.
    until(now_ns + (full + 1) * inputs.period_ns + 2 * sum(work_ns.values()))
    if not contender.is_pipelined:
        assert isinstance(player, TimedPasses)
        computed = player.passes * len(contender.groups)
    return TimedPlay(collected.answers(), computed, held)


def measure_work(contender: Contender, inputs: RecordedInputs, images: int = 60) -> dict[str, int]:
    """How long each group computes a frame on this machine: medians, in ns.

    Args:
        contender: whose groups.
        inputs: of a recording.
        images: so many of them at most, the first ones left out.
    """
    network = contender.network
    begun: dict[str, int] = {}
    took: dict[str, list[int]] = {group: [] for group in contender.groups}
    hooks: list[Any] = []
    for name in contender.groups:

        def begin(module: Any, given: Any, name: str = name) -> None:
            begun[name] = perf_counter_ns()

        def end(module: Any, given: Any, state: Any, name: str = name) -> None:
            took[name].append(perf_counter_ns() - begun[name])

        group = network.group(name)
        hooks += [group.register_forward_pre_hook(begin), group.register_forward_hook(end)]
    state = network.init_state()
    with torch.inference_mode():
        for number in range(min(images + _WARM_UP, len(inputs))):
            state, _ = network.step(state, dict(_batches(inputs, number)))
    for hook in hooks:
        hook.remove()
    spare = {name: times[_WARM_UP:] or times or [0] for name, times in took.items()}
    return {name: round(median(times)) for name, times in spare.items()}


def _batches(inputs: RecordedInputs, number: int) -> Iterable[tuple[str, Tensor]]:
    """Every input's state of one frame, (1, ...)."""
    for name, states in inputs.states.items():
        yield name, torch.from_numpy(states[number : number + 1])


class _Collected:
    """Answers of those outputs that have a reference."""

    def __init__(self, network: StreamingNetwork, references: Iterable[Reference]) -> None:
        self._references = {reference.output: reference for reference in references}
        self._outputs: dict[str, list[str]] = {}
        for output in self._references:
            self._outputs.setdefault(network.spec.outputs[output].group, []).append(output)
        self._rows: dict[str, list[tuple[int, int, NDArray[np.float64]]]] = {
            output: [] for output in self._references
        }

    def take(self, group: str, state: Tensor, published_ns: int, captured_ns: int) -> None:
        for output in self._outputs.get(group, ()):
            self.take_output(output, state, published_ns, captured_ns)

    def take_output(self, output: str, state: Tensor, published_ns: int, captured_ns: int) -> None:
        if output in self._references:
            values = self._references[output].answer(state)
            self._rows[output].append((published_ns, captured_ns, values))

    def answers(self) -> dict[str, Answers]:
        return {
            output: Answers.of(rows, len(self._references[output].names))
            for output, rows in self._rows.items()
        }
