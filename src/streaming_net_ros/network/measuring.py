"""How long each backend takes for each group on this machine, and which is worth it.

Owns the measurement, the choice, the bound that follows from it and the assignment to cores. Clock
and states are real; the choice is a pure function of the figures. Imported by ``streaming-net
tune``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streaming_net_ros.errors import StreamingNetError
from streaming_net_ros.network.backends import BACKENDS, Backend, holds_interpreter, make_runner
from streaming_net_ros.network.device import CPU, ComputeStream, compute_stream
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.network.tuning import deviation, example_inputs

WORTH_IT = 0.95  # of the time: what gains less than 5 % is not worth a thread, nor another backend
LIGHT_MS = 0.3  # about what a process does one after the other anyway (nodes/workers)
_STATES = 4  # frames whose inputs each way is measured on
_BURST_S = 0.01  # of one way, before the next one has its turn


@dataclass(frozen=True)
class Way:
    """A backend on a number of threads."""

    backend: Backend
    torch_threads: int

    def __str__(self) -> str:
        return self.backend + (f" x{self.torch_threads}" if self.torch_threads > 1 else "")


PLAIN = Way("eager", 1)


@dataclass(frozen=True)
class Figure:
    """What one way was measured to be.

    Attributes:
        median_ms: of one frame.
        deviation: largest difference from eager torch on one thread, relative to the state's
            largest absolute value.
        holds_interpreter: nothing else that is Python goes on in its process meanwhile.
    """

    median_ms: float
    deviation: float
    holds_interpreter: bool = False

    @property
    def is_in_the_way(self) -> bool:
        """Would it keep the other groups of its process from computing at the same time?"""
        return self.holds_interpreter and self.median_ms > LIGHT_MS


@dataclass(frozen=True)
class GroupFigures:
    """What was measured of a group.

    Attributes:
        name: of the group.
        by_way: figures of all ways that work; ``PLAIN`` is always among them.
        failures: why the others do not.
    """

    name: str
    by_way: Mapping[Way, Figure]
    failures: Mapping[Way, str] = field(default_factory=dict)

    def chosen(self, tolerance: float) -> Way:
        """The fastest way within a tolerance, or a plainer one that takes hardly longer.

        Fewer threads are plainer than more, and backends as they are listed. A way that is fast
        alone and in the way of other groups is left.
        """
        within = {
            way: figure.median_ms
            for way, figure in self.by_way.items()
            if way == PLAIN  # what all others are compared with
            or (figure.deviation <= tolerance and not figure.is_in_the_way)
        }
        enough_ms = min(within.values()) / WORTH_IT
        near = [way for way, median_ms in within.items() if median_ms <= enough_ms]
        return min(near, key=lambda way: (way.torch_threads, BACKENDS.index(way.backend)))


def ways(backends: Iterable[Backend], threads: Iterable[int]) -> list[Way]:
    """All backends on all numbers of threads, ``PLAIN`` first."""
    return list(dict.fromkeys([PLAIN, *(Way(b, n) for n in threads for b in backends)]))


def rollout_inputs(
    network: StreamingNetwork, seed: int = 0, device: torch.device = CPU
) -> dict[str, list[dict[str, Tensor]]]:
    """What each group hears in some frames of an offline rollout of random inputs.

    A group that never hears all of its sources at once has none.
    """
    limit = (len(network.groups) + 1) * (network.rollout.max_delay + 1) + _STATES
    heard: dict[str, list[dict[str, Tensor]]] = {name: [] for name in network.groups}
    drawn = {
        name: [_input_state(network, name, seed + n).to(device) for n in range(_STATES)]
        for name in network.spec.inputs
    }
    state = network.init_state()
    with torch.inference_mode():
        for frame in range(limit):
            given = {name: states[frame % _STATES] for name, states in drawn.items()}
            following, nodes = network.advance(state, given)
            for name, found in heard.items():
                inputs = network.heard(name, state, nodes)
                whole = {source: s for source, s in inputs.items() if s is not None}
                if len(whole) == len(inputs) and len(found) < _STATES:
                    found.append(whole)
            state = following
            if all(len(found) == _STATES for found in heard.values()):
                break
    return heard


def measure_group(
    network: StreamingNetwork,
    name: str,
    inputs: Sequence[Mapping[str, Tensor]],
    among: Sequence[Way],
    *,
    seconds_per: float = 0.5,
    device: torch.device = CPU,
    on_step: Callable[[str], None] = lambda doing: None,
) -> GroupFigures:
    """Measure a group: each way in short bursts, in turns, so that noise hits all alike.

    Args:
        network: with the group and its weights, in evaluation mode.
        name: of the group.
        inputs: from ``rollout_inputs``; where there are none, random ones, and only eagerly.
        among: the ways; ``PLAIN`` among them.
        seconds_per: of computing, for each way.
        device: that the network is on; on a GPU a frame takes until it is computed there.
        on_step: told what is done now, once for each way to be made, once for the measurement.
    """
    group = network.group(name)
    given = list(inputs) or [example_inputs(network, name, device=device)]
    runners: dict[Way, Runner] = {}
    failures: dict[Way, str] = {}
    for way in among:
        on_step(f"{name}: making {way}")
        if not inputs and way.backend != "eager":
            failures[way] = "the group never hears all of its sources at once"
            continue
        try:
            runners[way] = make_runner(group, given[0], way.backend, way.torch_threads)
        except StreamingNetError as error:
            failures[way] = str(error)
    on_step(f"{name}: measuring")
    plain = runners[PLAIN]
    deviations = {
        way: max(deviation(plain, runner, states) for states in given)
        for way, runner in runners.items()
    }
    medians_ms = _medians_ms(runners, given, seconds_per, compute_stream(device))
    figures = {
        way: Figure(medians_ms[way], deviations[way], holds_interpreter(way.backend, device.type))
        for way in runners
    }
    return GroupFigures(name, figures, failures)


def bound_hz(costs_ms: Mapping[str, tuple[float, int]], cores: int) -> float:
    """Frames per second that no run can exceed: min(1 / slowest group, cores / sum of groups).

    Args:
        costs_ms: per group its time for a frame (ms), and the threads that it keeps busy.
        cores: of the machine.
    """
    slowest_ms = max(cost_ms for cost_ms, _ in costs_ms.values())
    together_ms = sum(cost_ms * threads for cost_ms, threads in costs_ms.values())
    return 1e3 * min(1 / slowest_ms, cores / together_ms)


def assign_cores(
    costs_ms: Mapping[str, tuple[float, int]], cores: Sequence[int]
) -> tuple[dict[str, tuple[int, ...]], dict[int, float]]:
    """Groups to cores, the longest first, each to those that have least to do yet.

    Args:
        costs_ms: as for ``bound_hz``.
        cores: CPU numbers.

    Returns:
        The cores of each group, as many as it has threads (at most all); and the load of each
        core in ms per frame.
    """
    loads = dict.fromkeys(cores, 0.0)
    assigned = {}
    for name in sorted(costs_ms, key=lambda name: (-costs_ms[name][0], name)):
        cost_ms, threads = costs_ms[name]
        freest = sorted(loads, key=lambda core: (loads[core], core))[:threads]
        for core in freest:
            loads[core] += cost_ms
        assigned[name] = tuple(sorted(freest))
    return assigned, loads


def _input_state(network: StreamingNetwork, name: str, seed: int) -> Tensor:
    """A random state of an input."""
    hearer = next(one for one in network.groups if name in network.group(one).sources)
    return example_inputs(network, hearer, seed)[name]


def _medians_ms(
    runners: Mapping[Way, Runner],
    given: Sequence[Mapping[str, Tensor]],
    seconds_per: float,
    stream: ComputeStream,
) -> dict[Way, float]:
    taken: dict[Way, list[float]] = {way: [] for way in runners}
    spent = dict.fromkeys(runners, 0.0)
    threads = torch.get_num_threads()
    try:
        with torch.inference_mode(), stream.work():
            while any(seconds < seconds_per for seconds in spent.values()):
                for way, runner in runners.items():
                    spent[way] += _burst(runner, given, taken[way], stream)
    finally:
        torch.set_num_threads(threads)
    return {way: 1e3 * statistics.median(seconds) for way, seconds in taken.items()}


def _burst(
    runner: Runner,
    given: Sequence[Mapping[str, Tensor]],
    taken: list[float],
    stream: ComputeStream,
) -> float:
    """Some calls one after the other, the first of them not counted; the seconds of all."""
    begun = time.perf_counter()
    runner(given[0])  # threads wake up, and torch chooses its kernels anew after another count
    stream.wait()
    while True:
        for states in given:
            before = time.perf_counter()
            runner(states)
            stream.wait()
            taken.append(time.perf_counter() - before)
        if time.perf_counter() - begun > _BURST_S:
            return time.perf_counter() - begun
