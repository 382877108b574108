"""Could a run of this network have written this ledger?

Owns what a ledger must keep to before anything is computed from it: nodes, edges and outputs that
there are, holds that follow from frames and delays, and for every state that is used somebody who
made it. A ledger that lacks a process is told at once, however long it is. Imported by ``replay``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.ledger import (
    SOURCE,
    ChangeLine,
    FrameLine,
    InputLine,
    LearningLine,
    Line,
    ResponseLine,
)
from streaming_net_ros.network.schema import ImageInput, NetworkSpec
from streaming_net_ros.theory import Rollout

NodeFrame = tuple[str, int]  # the state of a node at a frame
_ALL_FILES = "give the ledgers of all processes of the run"


def needs(line: Line, spec: NetworkSpec) -> tuple[NodeFrame, ...]:
    """The states that a line tells the use of."""
    if isinstance(line, FrameLine):
        return tuple(line.inputs.items())
    if isinstance(line, ResponseLine):
        return ((spec.outputs[line.output].group, line.frame),)
    return ()


def check_lines(lines: Sequence[Line], spec: NetworkSpec, rollout: Rollout) -> None:
    """Every line keeps to the network, and every state that is used was made.

    Raises:
        LedgerError: naming the first line that cannot be, and why.
    """
    made: set[NodeFrame] = set()
    begun: set[str] = set()  # groups with a state that may be repeated
    computed: set[NodeFrame] = set()  # what may teach
    for line in lines:
        if isinstance(line, InputLine):
            _check_input(line, spec)
            made.add((line.name, line.frame))
        elif isinstance(line, ResponseLine):
            _check_known("output", line.output, spec.outputs, place(line))
            _check_made(line, needs(line, spec), made)
        elif isinstance(line, ChangeLine):
            _check_known("node", line.group, (*rollout.graph.groups, SOURCE), place(line))
        elif isinstance(line, LearningLine):
            _check_known("group that learns", line.group, spec.learning, place(line))
            _check_made(line, [(line.group, frame) for frame in line.lessons], computed)
        else:
            _check_frame(line, rollout, begun)
            if not line.is_repeated:
                computed.add((line.group, line.frame))
            # One process wrote of both: its own state stands before.
            own = [key for key in needs(line, spec) if key[0] == line.group]
            _check_made(line, own, made)
            if line.is_silent:
                begun.discard(line.group)
            elif line.is_finite:
                made.add((line.group, line.frame))
                begun.add(line.group)
    for line in lines:
        _check_made(line, needs(line, spec), made)


def missing(line: Line, lacking: NodeFrame) -> LedgerError:
    """Nobody has made a state, or not in time, that a line tells the use of."""
    node, frame = lacking
    return LedgerError(
        f"nobody computed frame {frame} of '{node}', which it was made from",
        where=place(line),
        remedy=_ALL_FILES,
    )


def place(line: Line) -> str:
    """What a line is of, in words."""
    if isinstance(line, InputLine):
        return f"ledger: frame {line.frame} of input '{line.name}'"
    if isinstance(line, ResponseLine):
        return f"ledger: response {line.frame} of output '{line.output}'"
    if isinstance(line, ChangeLine):
        return f"ledger: change of {line.name} at frame {line.frame} of group '{line.group}'"
    if isinstance(line, LearningLine):
        return f"ledger: learning of group '{line.group}' from frame {line.frame} on"
    return f"ledger: frame {line.frame} of group '{line.group}'"


def _check_made(line: Line, needed: Iterable[NodeFrame], made: Set[NodeFrame]) -> None:
    lacking = next((key for key in needed if key not in made), None)
    if lacking is not None:
        raise missing(line, lacking)


def _check_input(line: InputLine, spec: NetworkSpec) -> None:
    _check_known("input", line.name, spec.inputs, place(line))
    given = spec.inputs[line.name]
    told = None if line.values is None else len(line.values)
    expected = None if isinstance(given, ImageInput) else given.channels
    if told != expected:
        raise LedgerError(
            "not the values of this input",
            where=place(line),
            expected="null, for an image" if expected is None else f"{expected} numbers",
            got="null" if told is None else f"{told} numbers",
        )


def _check_frame(line: FrameLine, rollout: Rollout, begun: set[str]) -> None:
    where = place(line)
    _check_known("group", line.group, rollout.graph.groups, where)
    delays = rollout.delays_into(line.group)
    for source in (*line.inputs, *line.wait_ns, *line.age_ns):
        _check_known("source", source, delays, where)
    if line.is_repeated:
        if line.inputs or not line.is_finite:
            raise LedgerError("a repeated state is made from nothing, and finite", where=where)
        if line.group not in begun:
            raise LedgerError("repeats a state that was never computed", where=where)
    elif line.is_silent and line.inputs:
        raise LedgerError("silent although it heard something", where=where)
    elif not (line.inputs or line.is_silent):
        raise LedgerError(
            "computed from nothing", where=where, expected=f"some of {', '.join(delays)}"
        )
    _check_held(line, {source: line.frame - delay for source, delay in delays.items()})


def _check_held(line: FrameLine, wanted: dict[str, int]) -> None:
    """A held state is an earlier one than the frame law wants, and no other state is."""
    for source, frame in line.inputs.items():
        if frame > wanted[source]:
            raise LedgerError(
                f"made from a state of '{source}' that comes later",
                where=place(line),
                expected=f"frame {wanted[source]} at most",
                got=frame,
            )
    held = sorted(source for source, frame in line.inputs.items() if frame < wanted[source])
    if held != sorted(line.held):
        raise LedgerError(
            "its held sources do not follow from its frames",
            where=place(line),
            expected=", ".join(held) or "none",
            got=", ".join(line.held) or "none",
        )


def _check_known(what: str, name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        raise LedgerError(
            f"unknown {what}", where=where, expected=f"one of {', '.join(known)}", got=name
        )
