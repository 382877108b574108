"""The ledger of a run: what was computed from what, so that it can be computed again.

In realtime the machine decides which inputs a frame gets. The ledger keeps these decisions, a line
of JSON each: images by frame and capture time, and for every frame of a group the frames of its
inputs. It is the rollout as it really happened; `network.replay` computes it again. All processes
of a host append to one file, also those that were started again; the lines of several hosts are
brought into order by their times.

Knows files and JSON, no torch and no ROS.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from streaming_net_ros.errors import LedgerError

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class RunHead:
    """Which network ran, and how.

    Attributes:
        network: its name.
        fingerprint: of its file, written out.
        weights: fingerprint of its weights.
        delays: of the rollout, by "source -> target".
        rate_hz: of the frame grid.
        mode: lockstep or realtime.
        members: of the process.
    """

    network: str
    fingerprint: str
    weights: str
    delays: Mapping[str, int]
    rate_hz: float
    mode: str
    members: tuple[str, ...] = field(default=(), compare=False)
    version: Literal[1] = 1
    kind: Literal["run"] = "run"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class InputLine:
    """An input was fed.

    Attributes:
        name: of the input.
        frame: that it became.
        captured_ns: its capture time.
        values: a vector's numbers; None for an image, which the recording has.
        at_ns: when, by the system clock.
    """

    name: str
    frame: int
    captured_ns: int
    values: tuple[float, ...] | None
    at_ns: int
    kind: Literal["input"] = "input"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class FrameLine:
    """A group has computed a frame, or repeated its last state.

    Attributes:
        group: whose.
        frame: computed.
        inputs: frame of the state used, by source.
        held: sources that were stood in for.
        skipped: frames given up before this one.
        is_repeated: nothing was computed.
        is_finite: False if the state was NaN or infinite and went nowhere.
        work_ns: time in the layers.
        at_ns: when it began, by the system clock.
    """

    group: str
    frame: int
    inputs: Mapping[str, int]
    held: tuple[str, ...]
    skipped: int
    is_repeated: bool
    is_finite: bool
    work_ns: int
    at_ns: int
    kind: Literal["frame"] = "frame"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class AnswerLine:
    """A response left, or was kept back.

    Attributes:
        output: its name.
        frame: of the group's state.
        has_left: False if the output's guard kept it back.
        at_ns: when, by the system clock.
    """

    output: str
    frame: int
    has_left: bool
    at_ns: int
    kind: Literal["answer"] = "answer"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


Line = InputLine | FrameLine | AnswerLine
_READER: TypeAdapter[RunHead | Line] = TypeAdapter(
    Annotated[RunHead | InputLine | FrameLine | AnswerLine, Field(discriminator="kind")]
)


class LedgerWriter:
    """Appends lines to a file. May be called from any thread. A context manager.

    A line is written whole and at once: a process that is killed loses nothing that it has told,
    and lines of several processes do not mix.

    Raises:
        LedgerError: the file cannot be written.
    """

    def __init__(self, path: Path, head: RunHead) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise LedgerError(f"cannot write ({error.strerror})", where=str(path)) from None
        self._lock = threading.Lock()
        self.write(head)

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, line: Line | RunHead) -> None:
        """Append a line."""
        text = json.dumps(asdict(line), separators=(",", ":"))
        with self._lock:
            if self._file is not None:
                os.write(self._file, (text + "\n").encode())

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None


def system_ns() -> int:
    """The time by which the lines of several processes are brought into order."""
    return time.time_ns()


def read_ledger(paths: Sequence[Path]) -> tuple[RunHead, list[Line]]:
    """What the processes of one run wrote, in the order of time.

    Args:
        paths: a file for each host.

    Raises:
        LedgerError: a file that is missing, of another kind, or of another run.
    """
    head: RunHead | None = None
    lines: list[Line] = []
    for path in paths:
        for number, line in _lines(path):
            if not isinstance(line, RunHead):
                lines.append(line)
            elif head is None or head == line:
                head = line
            else:
                raise LedgerError(
                    "the ledger of another run",
                    where=f"{path}: line {number}",
                    expected=f"network {head.network}, {head.rate_hz:g} Hz, {head.mode}, the same "
                    "file, weights and rollout",
                    got=f"network {line.network}, {line.rate_hz:g} Hz, {line.mode}",
                )
    if head is None:
        raise LedgerError(
            "no ledger", where=str(paths[0]), expected="a file that 'run --ledger' wrote"
        )
    lines.sort(key=lambda line: line.at_ns)
    return head, lines


def _lines(path: Path) -> Iterator[tuple[int, RunHead | Line]]:
    try:
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"cannot read ({type(error).__name__})", where=str(path)) from None
    for number, text in enumerate(texts, 1):
        try:
            yield number, _READER.validate_json(text, strict=True)
        except ValidationError as error:
            if number == len(texts) and not text.endswith("\n"):
                return  # its process was killed at this line
            found = error.errors()[0]
            place = ".".join(str(part) for part in found["loc"][1:])
            raise LedgerError(
                f"not a line of a ledger: {place + ': ' if place else ''}{found['msg']}",
                where=f"{path}: line {number}",
                remedy="give a file that 'run --ledger' wrote",
            ) from None
