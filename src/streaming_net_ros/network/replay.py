"""A run computed again from its ledger: the same holds, the same skips, the same states.

Owns the re-execution of what `frames.ledger` tells, and what identifies a run. The ledger says of
every frame of every group which states went into it, so nothing depends on time any more; on the
CPU, with the same thread counts and backends, the states are those of the run bit for bit. What
groups learnt on the way is learnt again (``learnt``).
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from streaming_net_ros.errors import LedgerError, StreamingNetError
from streaming_net_ros.frames import FrameGrid, Mode, Origin, origin_of
from streaming_net_ros.frames.ledger import (
    RESTART,
    SOURCE,
    ChangeLine,
    FrameLine,
    InputLine,
    LearningLine,
    Line,
    ResponseLine,
    RunHead,
)
from streaming_net_ros.network.adjust import Adjustable, is_learning, is_lesion, way_back
from streaming_net_ros.network.backends import make_runner
from streaming_net_ros.network.learnt import LearntAgain
from streaming_net_ros.network.ledger_check import (
    NodeFrame,
    check_lines,
    missing,
    needs,
    place,
)
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.noise import with_noise
from streaming_net_ros.network.offline import GroupFrame, StampedState
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.network.schema import NetworkSpec
from streaming_net_ros.network.snapshot import network_fingerprint
from streaming_net_ros.network.tuning import example_inputs
from streaming_net_ros.network.weights import file_fingerprint
from streaming_net_ros.theory import Rollout

Picture = Callable[[str, int], Tensor]  # (input, capture time in ns) -> (1, ...) as it was fed


@dataclass(frozen=True)
class ReplayedResponse:
    """A response of the run, and the state that it was made of."""

    line: ResponseLine
    state: StampedState


def run_head(
    spec: NetworkSpec,
    rollout: Rollout,
    grid: FrameGrid,
    mode: Mode,
    *,
    weights: Path | None,
    seed: int = 0,
    torch_threads: int = 1,
    members: tuple[str, ...] = (),
) -> RunHead:
    """What identifies a run: the network, its weights, its rollout.

    Args:
        spec: the network.
        rollout: of it.
        grid: the frame grid.
        mode: lockstep or realtime.
        weights: file of the weights; None if they are drawn.
        seed: that they are drawn with.
        torch_threads: of one torch operation.
        members: of the process.

    Raises:
        WeightsError: the weights file cannot be read.
    """
    return RunHead(
        network=spec.name,
        fingerprint=network_fingerprint(spec),
        weights=f"seed {seed}" if weights is None else file_fingerprint(weights),
        delays={f"{u} -> {v}": delay for (u, v), delay in rollout.delays.items()},
        rate_hz=grid.rate_hz,
        mode=mode,
        members=members,
        torch_threads=torch_threads,
        seed=seed,
    )


def check_head(head: RunHead, own: RunHead) -> None:
    """Is the ledger of this network, with these weights and this rollout?

    Raises:
        LedgerError: naming what differs.
    """
    for name in ("network", "fingerprint", "weights", "delays"):
        told, expected = getattr(head, name), getattr(own, name)
        if told != expected:
            what = {"fingerprint": "network file", "delays": "rollout"}.get(name, name)
            raise LedgerError(
                f"the ledger is of another {what}",
                where="ledger",
                expected=json.dumps(expected),
                got=json.dumps(told),
                remedy="give the network file, weights and rollout of the run",
            )


def replay(
    network: StreamingNetwork,
    lines: Sequence[Line],
    picture: Picture,
    head: RunHead | None = None,
) -> Iterator[GroupFrame | ReplayedResponse]:
    """Compute a run again.

    Args:
        network: all groups, in evaluation mode, with the run's weights.
        lines: of its ledger, in order.
        picture: gives the image of an input by its capture time.
        head: of the ledger: the backends and thread counts of its groups are used again; without
            it all groups are computed eagerly, on as many threads as torch is set to.

    Yields:
        Every group's frames as they were computed (not the silent, NaN or infinite), and the
        responses of its outputs between them.

    Raises:
        LedgerError: a line that no run of this network can have written, or that needs a state
            which no line gives.
        RunError: a backend of the run cannot be used here.
    """
    check_lines(lines, network.spec, network.rollout)
    runners = {} if head is None or not head.tuned else _runners(network, head)
    learning = LearntAgain(network, lines, head)
    again = _Replay(network, lines, picture, runners, learning)
    try:
        for line in lines:
            yield from again.take(line)
        again.check_end()
    finally:
        again.go_back()


def _runners(network: StreamingNetwork, head: RunHead) -> dict[str, Runner]:
    """What computed the groups of the run."""
    runners = {}
    for name in network.groups:
        group, how = network.group(name), head.tuned.get(name)
        if how is None:
            runners[name] = Runner(group, torch_threads=head.torch_threads)
        else:
            given = example_inputs(network, name)
            runners[name] = make_runner(group, given, how.backend, how.torch_threads)
    return runners


@dataclass(frozen=True)
class _State:
    """A state as a line needs it."""

    batch: Tensor
    origin: Origin

    def stamped(self) -> StampedState:
        return StampedState(self.batch, self.origin.captured_ns)


def _is_of_source(line: Line) -> bool:
    """What was asked of the whole network shows in the other lines."""
    return isinstance(line, ChangeLine) and line.group == SOURCE


class _Replay:
    """A run on its way. Lines of a group stay in order; a state is kept for its last use.

    Hosts' clocks differ a little: a line may come before one that it needs. It then waits for that
    one, and with it whatever follows of its group.
    """

    def __init__(
        self,
        network: StreamingNetwork,
        lines: Sequence[Line],
        picture: Picture,
        runners: Mapping[str, Runner],
        learning: LearntAgain,
    ) -> None:
        self._network = network
        self._runners = runners
        self._learning = learning
        self._picture = picture
        self._uses = Counter(key for line in lines for key in needs(line, network.spec))
        self._states: dict[NodeFrame, _State] = {}
        self._newest: dict[str, _State] = {}  # by group: what a repeated frame repeats
        self._adjustables: dict[str, Adjustable] = {}
        changed = {line.group for line in lines if isinstance(line, ChangeLine | LearningLine)}
        changed.discard(SOURCE)
        self._ways_back = {name: way_back(network, name) for name in sorted(changed)}
        self._queues: dict[str, deque[FrameLine | ResponseLine | ChangeLine | LearningLine]] = {
            group: deque() for group in network.rollout.graph.groups
        }
        self._waiting: dict[NodeFrame, list[str]] = {}  # groups, by what their first line lacks
        self._ready: deque[str] = deque()  # groups whose first line may be computed

    def take(self, line: Line) -> Iterator[GroupFrame | ReplayedResponse]:
        """A line, and everything that can be computed with it."""
        if isinstance(line, InputLine):
            self._feed(line)
        elif not _is_of_source(line):
            group = self._group_of(line)
            self._queues[group].append(line)
            if len(self._queues[group]) == 1:
                self._ready.append(group)
        while self._ready:
            yield from self._advance(self._ready.popleft())

    def check_end(self) -> None:
        """Nothing waits any more.

        Raises:
            LedgerError: a line still does.
        """
        for key, groups in self._waiting.items():
            raise missing(self._queues[groups[0]][0], key)

    def go_back(self) -> None:
        """Give all groups what they had at the beginning."""
        for way in self._ways_back.values():
            way()

    def _advance(self, group: str) -> Iterator[GroupFrame | ReplayedResponse]:
        queue = self._queues[group]
        while queue:
            keys = needs(queue[0], self._network.spec)
            lacking = next((key for key in keys if key not in self._states), None)
            if lacking is not None:
                self._waiting.setdefault(lacking, []).append(group)
                return
            line = queue.popleft()
            heard = {node: self._used((node, frame)) for node, frame in keys}
            if isinstance(line, ChangeLine):
                self._change(line)
            elif isinstance(line, LearningLine):
                self._learning.take(line)
                if group in self._runners:
                    self._runners[group].leave_backend()
            elif isinstance(line, ResponseLine):
                yield ReplayedResponse(line, heard[group].stamped())
            elif line.is_silent:
                self._newest.pop(group, None)
            elif line.is_finite:
                if line.is_repeated:
                    state = self._newest[group]
                else:
                    state = self._computed(group, line.frame, heard)
                self._learning.lived(line, {name: given.batch for name, given in heard.items()})
                self._newest[group] = state
                self._put((group, line.frame), state)
                yield GroupFrame(group, line.frame, state.stamped())

    def _feed(self, line: InputLine) -> None:
        key = line.name, line.frame
        if not self._uses[key]:
            return
        if line.values is None:
            given = self._picture(line.name, line.captured_ns)
        else:
            given = torch.tensor([line.values], dtype=torch.float32)
        batch = self._network.checked_input(line.name, given)
        self._put(key, _State(batch, Origin(line.image_ns, line.frame)))

    def _computed(self, group: str, frame: int, heard: dict[str, _State]) -> _State:
        # In the network's order of edges, as the mailbox hands them over.
        sources = [name for name in self._network.rollout.delays_into(group) if name in heard]
        with torch.inference_mode():
            run = self._runners.get(group) or self._network.group(group)
            batch = run({name: heard[name].batch for name in sources})
            assert batch is not None  # a line has inputs
            batch = with_noise(self._network.group(group), batch, frame)
        teacher = self._network.spec.teachers.get(group)
        origins = [heard[name].origin for name in sources if name != teacher]
        return _State(batch, origin_of(origins))

    def _change(self, line: ChangeLine) -> None:
        """What was lesioned is not made again: the frames tell what was heard."""
        if is_lesion(line.name) or is_learning(line.name):
            return
        group = line.group
        if line.name == RESTART:
            self._ways_back[group]()
            self._learning.restart(group)
            return
        if group not in self._adjustables:
            self._adjustables[group] = Adjustable(self._network, group)
        try:
            change = self._adjustables[group].checked(line.name, line.value)
        except StreamingNetError as error:
            raise LedgerError(f"cannot be changed again: {error}", where=place(line)) from None
        if change.fingerprint != line.fingerprint:
            raise LedgerError(
                "the weights file was changed since",
                where=place(line),
                expected=f"fingerprint {line.fingerprint}",
                got=f"{change.fingerprint} ({line.value})",
            )
        change.apply()
        if group in self._runners:
            self._runners[group].leave_backend()

    def _put(self, key: NodeFrame, state: _State) -> None:
        if self._uses[key]:
            self._states[key] = state  # where time has jumped back, the newest one counts
            self._ready.extend(self._waiting.pop(key, ()))

    def _used(self, key: NodeFrame) -> _State:
        state = self._states[key]
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._states[key]
        return state

    def _group_of(self, line: FrameLine | ResponseLine | ChangeLine | LearningLine) -> str:
        if not isinstance(line, ResponseLine):
            return line.group
        return self._network.spec.outputs[line.output].group
