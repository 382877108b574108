"""A run computed again from its ledger: the same holds, the same skips, the same states.

Owns the re-execution of what `frames.ledger` tells, and what identifies a run. The ledger says of
every frame of every group which states went into it, so nothing depends on time any more; on the
CPU, with the same thread counts, the states are those of the run bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from streaming_net_ros.errors import LedgerError, WeightsError
from streaming_net_ros.frames import (
    AnswerLine,
    FrameGrid,
    FrameLine,
    InputLine,
    Mode,
    Origin,
    RunHead,
    origin_of,
)
from streaming_net_ros.frames.ledger import Line
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.offline import GroupFrame, StampedState
from streaming_net_ros.network.schema import NetworkSpec
from streaming_net_ros.theory import Rollout

_KEPT_FRAMES = 512
Picture = Callable[[str, int], Tensor]  # (input, capture time in ns) -> (1, ...) as it was fed


def run_head(
    spec: NetworkSpec,
    rollout: Rollout,
    grid: FrameGrid,
    mode: Mode,
    *,
    weights: Path | None,
    seed: int,
    members: tuple[str, ...] = (),
) -> RunHead:
    """What identifies a run: the network, its weights, its rollout.

    Raises:
        WeightsError: the weights file cannot be read.
    """
    written_out = spec.model_dump_json(exclude={"path", "weights", "description"})
    return RunHead(
        network=spec.name,
        fingerprint=hashlib.sha256(written_out.encode()).hexdigest()[:16],
        weights=f"seed {seed}" if weights is None else _fingerprint(weights),
        delays={f"{u} -> {v}": delay for (u, v), delay in rollout.delays.items()},
        rate_hz=grid.rate_hz,
        mode=mode,
        members=members,
    )


def _fingerprint(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise WeightsError(f"cannot read ({error.strerror})", where=str(path)) from None


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
    network: StreamingNetwork, lines: Iterable[Line], picture: Picture
) -> Iterator[GroupFrame | AnswerLine]:
    """Compute a run again.

    Args:
        network: all groups, in evaluation mode, with the run's weights.
        lines: of its ledger, in the order of time.
        picture: gives the image of an input by its capture time.

    Yields:
        Every group's frames as they were computed, and the answers of the outputs between them.

    Raises:
        LedgerError: a line needs a state that no line before it gives.
    """
    states: dict[str, dict[int, StampedState]] = {node: {} for node in network.rollout.graph.nodes}
    waiting: list[Line] = []

    def is_known(line: Line) -> bool:
        if not isinstance(line, FrameLine):
            return True
        return all(frame in states[source] for source, frame in line.inputs.items())

    def put(node: str, frame: int, state: StampedState) -> None:
        kept = states[node]
        kept.pop(frame, None)  # time has jumped back: the newest one counts
        kept[frame] = state
        if len(kept) > _KEPT_FRAMES:
            del kept[next(iter(kept))]

    newest: dict[str, StampedState] = {}

    def done(line: Line) -> Iterator[GroupFrame | AnswerLine]:
        if isinstance(line, InputLine):
            put(line.name, line.frame, _input_state(network, line, picture))
        elif isinstance(line, AnswerLine):
            yield line
        else:
            state = _computed(network, line, states, newest)
            if line.is_finite:
                newest[line.group] = state
                put(line.group, line.frame, state)
                yield GroupFrame(line.group, line.frame, state)

    for line in _checked(network, lines):
        waiting.append(line)
        # Hosts' clocks differ a little: a line may come before one that it needs, and then waits,
        # and with it whatever follows of its group.
        while (ready := _first_ready(waiting, is_known)) is not None:
            waiting.remove(ready)
            yield from done(ready)
    lacking = next((line for line in waiting if isinstance(line, FrameLine)), None)
    if lacking is not None:
        raise _missing(lacking, states)


def _first_ready(waiting: Sequence[Line], is_known: Callable[[Line], bool]) -> Line | None:
    held_up: set[str] = set()
    for line in waiting:
        if isinstance(line, InputLine) or (isinstance(line, AnswerLine) and not held_up):
            return line
        if isinstance(line, FrameLine):
            if line.group not in held_up and is_known(line):
                return line
            held_up.add(line.group)
    return None


def _checked(network: StreamingNetwork, lines: Iterable[Line]) -> Iterator[Line]:
    graph = network.rollout.graph
    for line in lines:
        name = line.group if isinstance(line, FrameLine) else getattr(line, "name", None)
        heard = line.inputs if isinstance(line, FrameLine) else {}
        for node in (*([] if name is None else [name]), *heard):
            if node not in graph.nodes:
                raise LedgerError("unknown node", where="ledger", got=node)
        yield line


def _input_state(network: StreamingNetwork, line: InputLine, picture: Picture) -> StampedState:
    if line.values is None:
        batch = picture(line.name, line.captured_ns)
    else:
        batch = torch.tensor([line.values], dtype=torch.float32)
    return StampedState(network.checked_input(line.name, batch), line.captured_ns)


def _computed(
    network: StreamingNetwork,
    line: FrameLine,
    states: dict[str, dict[int, StampedState]],
    newest: dict[str, StampedState],
) -> StampedState:
    if line.is_repeated:
        return newest[line.group]
    heard = {source: states[source][frame] for source, frame in line.inputs.items()}
    with torch.inference_mode():
        batch = network.group(line.group)({source: s.batch for source, s in heard.items()})
    origin = origin_of([Origin(s.captured_ns, s.captured_ns) for s in heard.values()])
    return StampedState(batch, origin.captured_ns)


def _missing(line: FrameLine, states: dict[str, dict[int, StampedState]]) -> LedgerError:
    source, frame = next((s, f) for s, f in line.inputs.items() if f not in states[s])
    return LedgerError(
        f"nobody computed frame {frame} of '{source}', which frame {line.frame} of "
        f"'{line.group}' was made from",
        where="ledger",
        remedy="give the ledgers of all processes of the run",
    )
