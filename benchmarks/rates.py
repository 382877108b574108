"""Frames per second of a network, and the bound that the groups' own compute sets.

Every figure comes from one process on one thread, or from the network's own nodes over real
topics: the process that feeds and hears a run takes part of the same cores, and that is counted.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streaming_net_ros.launching import process_list
from streaming_net_ros.network import (
    NetworkSpec,
    StreamingNetwork,
    as_state,
    read_network_file,
    rollout_of,
)

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 33_333_333
_LEAST_ROUNDS = 5
_PICTURES = 8


@dataclass(frozen=True)
class Bound:
    """What no schedule can beat: the slowest group alone, and all groups over all cores."""

    seconds: tuple[float, ...]
    cores: int

    @property
    def frames_per_s(self) -> float:
        """min(1 / slowest, cores / sum)."""
        return min(1 / max(self.seconds), self.cores / sum(self.seconds))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def bound_of(spec: NetworkSpec, budget_s: float = 1.0) -> Bound:
    """The bound of a network, from its groups' compute times alone."""
    return Bound(tuple(group_seconds([spec], budget_s=budget_s)), cores())


def group_seconds(
    specs: Sequence[NetworkSpec],
    *,
    only: int | None = None,
    budget_s: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median compute time of groups, alone in this process on one thread, measured in turns.

    Turns, so that a slow moment of the machine hits all alike.

    Args:
        specs: networks; the groups of all of them, in order.
        only: only the group of this number of each.
        budget_s: about how long to measure; every group is run five times at least.
        clock: seconds; ``time.thread_time`` does not count what other processes take.
    """
    torch.set_num_threads(1)
    calls = [call for spec in specs for call in group_calls(spec)[_part(only)]]
    taken: list[list[float]] = [[] for _ in calls]
    with torch.inference_mode():
        begun_s = time.perf_counter()
        while len(taken[-1]) < _LEAST_ROUNDS or time.perf_counter() - begun_s < budget_s:
            for times, (group, given) in zip(taken, calls, strict=True):
                group(given)  # the caches are its own again, as in a process that does only this
                start_s = clock()
                group(given)
                times.append(clock() - start_s)
    return [statistics.median(times) for times in taken]


def layers_cpu_seconds(spec: NetworkSpec, rate_hz: float, frames: int = 60) -> float:
    """CPU time of all groups' layers per frame, run after each other at a rate, and nothing else.

    At a rate, because a core that sleeps between two frames has cold caches and a low clock when
    the next one comes, as it has in a live run.
    """
    torch.set_num_threads(1)
    calls = group_calls(spec)
    taken = []
    with torch.inference_mode():
        for number in range(frames + 10):
            start_s, cpu_s = time.perf_counter(), time.thread_time()
            for group, given in calls:
                group(given)
            if number >= 10:
                taken.append(time.thread_time() - cpu_s)
            time.sleep(max(0.0, 1 / rate_hz - (time.perf_counter() - start_s)))
    return statistics.fmean(taken)


def group_calls(spec: NetworkSpec) -> list[tuple[Any, dict[str, Tensor]]]:
    """Every group with something to hear, in the layout of states."""
    network = StreamingNetwork(spec).eval()
    generator = torch.Generator().manual_seed(0)
    states = {
        name: as_state(torch.rand(1, *shape, generator=generator))
        for name, shape in network.shapes.items()
    }
    for name in spec.inputs:
        states[name] = (states[name] * 255).to(torch.uint8)
    found = []
    for name in network.groups:
        group = network.group(name)
        found.append((group, {source: states[source] for source in group.sources}))
    return found


def one_node_seconds(spec: NetworkSpec, budget_s: float = 2.0) -> float:
    """Median seconds per frame of the whole network, group after group, in one loop."""
    torch.set_num_threads(1)
    network = StreamingNetwork(spec, rollout_of(spec, "sequential")).eval()
    images = {name: torch.zeros(1, *network.shapes[name], dtype=torch.uint8)
              for name in spec.inputs}  # fmt: skip
    state = network.init_state()
    taken: list[float] = []
    with torch.inference_mode():
        begun_s = time.perf_counter()
        while len(taken) < _LEAST_ROUNDS or time.perf_counter() - begun_s < budget_s:
            start_s = time.perf_counter()
            state, _ = network.step(state, images)
            taken.append(time.perf_counter() - start_s)
    return statistics.median(taken)


def cores_there(seconds: float = 0.3) -> float:
    """How many cores' worth of convolutions this machine does at once, at this moment."""
    layer = torch.nn.Conv2d(48, 48, 3, padding=1).eval()
    state = torch.rand(1, 48, 32, 32).contiguous(memory_format=torch.channels_last)

    def count(done: list[int]) -> None:
        torch.set_num_threads(1)  # of this thread: it would compute on all cores otherwise
        number, end_s = 0, time.perf_counter() + seconds
        with torch.inference_mode():
            while time.perf_counter() < end_s:
                layer(state)
                number += 1
        done.append(number)

    def together(workers: int) -> int:
        done: list[int] = []
        threads = [threading.Thread(target=count, args=(done,)) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done)

    together(1)
    return together(cores()) / together(1)


def frames_per_second(
    path: Path, frames: int, *, processes: bool, tuning: Path | None = None
) -> float:
    """Rate of the first output in lockstep, from the fifth part of the run on (the pipe is full).

    Args:
        path: network file.
        frames: images fed.
        processes: one process per group, the frame source with the first; else one for all.
        tuning: file with the cores of each group.
    """
    from streaming_net_ros.nodes.run import run_network
    from streaming_net_ros.nodes.settings import Settings

    spec = read_network_file(path)
    settings = Settings(path, tuning=tuning)
    groups = [group.name for group in spec.groups]
    shares = process_list(
        str(path), groups, composed=not processes, namespace="bench",
        parameters=settings.parameters(),
    )  # fmt: skip
    if processes:
        source, first, *others = shares
        shares = [replace(first, members=source.members + first.members), *others]
    topic = f"response/{next(iter(spec.outputs))}"
    arrived: list[float] = []

    def write_response(name: str, kind: str, stamp_ns: int, cdr: bytes) -> None:
        if name.endswith(topic):
            arrived.append(time.perf_counter())

    run_network(
        spec, settings, feed(spec, frames), write_response, processes=shares, namespace="bench"
    )
    if len(arrived) != frames:
        raise RuntimeError(f"{path.name}: {len(arrived)} of {frames} frames were answered")
    steady = arrived[frames // 5 :]
    return (len(steady) - 1) / (steady[-1] - steady[0])


def write_cores(spec: NetworkSpec, bound: Bound, path: Path) -> Path:
    """A tuning file with the cores that ``streaming-net tune --cores all`` gives to the groups."""
    from streaming_net_ros.network.measuring import assign_cores
    from streaming_net_ros.network.tuning import GroupTuning, Tuning, this_machine, write_tuning

    names = [group.name for group in spec.groups]
    costs_ms = {name: (1e3 * s, 1) for name, s in zip(names, bound.seconds, strict=True)}
    cores_of, _ = assign_cores(costs_ms, sorted(os.sched_getaffinity(0)))
    groups = {name: GroupTuning(cores=own) for name, own in cores_of.items()}
    write_tuning(
        Tuning(network=spec.name, machine=this_machine(), groups=groups),
        path,
        "benchmarks/rates.py",
    )
    return path


def feed(spec: NetworkSpec, frames: int) -> Any:
    """So many images for ``run_network``, of the size that the network takes."""
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes.player import Message
    from streaming_net_ros.nodes.run import Feed
    from streaming_net_ros.wire import write_stamp_ns

    name = spec.primary_input
    pictures = [picture(spec, number) for number in range(_PICTURES)]  # to draw them costs too

    def messages():
        for number in range(frames):
            message = pictures[number % _PICTURES]
            stamp_ns = START_NS + number * PERIOD_NS
            write_stamp_ns(message.header.stamp, stamp_ns)
            yield Message(name, stamp_ns, message, is_image=True)

    return Feed(messages(), {name: Image})


def picture(spec: NetworkSpec, number: int = 0) -> Any:
    """An image message as the network's camera would send it."""
    from array import array

    from sensor_msgs.msg import Image

    given = spec.inputs[spec.primary_input]
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (given.height, given.width, given.channels), dtype=np.uint8)
    message = Image(
        height=given.height,
        width=given.width,
        step=given.width * given.channels,
        encoding="mono8" if given.channels == 1 else "rgb8",
    )
    message.data = array("B", pixels.tobytes())
    return message


def _part(only: int | None) -> slice:
    return slice(None) if only is None else slice(only, only + 1)
