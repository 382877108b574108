"""The ledger of a run: what was computed from what, so that it can be computed again.

In realtime the machine decides which inputs a frame gets. The ledger keeps these decisions, a line
of JSON each: images by frame and capture time, and for every frame of a group the frames of its
inputs. It is the rollout as it really happened; `network.replay` computes it again. All processes
of a host append to one file, also those that were started again: a state's line stands before the
lines of whatever was made from it. Only the files of several hosts are merged by their times.

Knows files and JSON, no torch and no ROS.
"""

from __future__ import annotations

import heapq
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.rule import Mode

_STRICT = ConfigDict(extra="forbid")
_INT64_END = 1 << 63
_FLOAT32_MOST = 3.4028234663852886e38
Count = Annotated[int, Field(ge=0, lt=_INT64_END)]  # of frames, or a time since 1970
Signed = Annotated[int, Field(ge=-_INT64_END, lt=_INT64_END)]  # by clocks that may disagree
Float32 = Annotated[float, Field(ge=-_FLOAT32_MOST, le=_FLOAT32_MOST, allow_inf_nan=False)]


@dataclass(frozen=True)
class Tuned:
    """What computed a group; see `network.tuning`.

    Attributes:
        backend: its name.
        torch_threads: of one operation of the group.
    """

    backend: Literal["eager", "cuda_graph", "compile", "onnxruntime", "openvino", "half"]
    torch_threads: Annotated[int, Field(ge=1, le=1024)]
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


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
        torch_threads: of one torch operation; other counts may round otherwise.
        seed: that weights without a file were drawn with.
        tuned: what computes groups of the process; without, torch eagerly on ``torch_threads``. A
            group that has found this out tells it in one more head.
    """

    network: str
    fingerprint: str
    weights: str
    delays: Mapping[str, int]
    rate_hz: Annotated[float, Field(ge=1e-3, le=1e5)]
    mode: Mode
    members: tuple[str, ...] = field(default=(), compare=False)
    torch_threads: Annotated[int, Field(ge=1, le=1024)] = field(default=1, compare=False)
    seed: Annotated[int, Field(ge=0, le=1 << 31)] = field(default=0, compare=False)
    tuned: Mapping[str, Tuned] = field(default_factory=dict, compare=False)
    version: Literal[1] = 1
    kind: Literal["run"] = "run"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class InputLine:
    """An input was fed.

    Attributes:
        name: of the input.
        frame: that it became.
        captured_ns: its own capture time.
        image_ns: capture time of the frame's image, from which ages count (age law): its own, if
            it is an image.
        values: a vector's numbers; None for an image, which the recording has.
        at_ns: when, by the system clock.
    """

    name: str
    frame: Count
    captured_ns: Signed
    image_ns: Signed
    values: tuple[Float32, ...] | None
    at_ns: Count
    kind: Literal["input"] = "input"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class FrameLine:
    """A group has computed a frame, or repeated its last state.

    Attributes:
        group: whose.
        frame: computed.
        inputs: frame of the state used, by source; none if it was repeated.
        held: sources that were stood in for.
        skipped: frames given up before this one.
        is_repeated: nothing was computed.
        is_finite: False if the state was NaN or infinite and went nowhere.
        is_silent: there was nothing to hear, and no state.
        work_ns: time in the layers.
        at_ns: when it began, by the system clock.
        wait_ns: how long each input had waited for it, by source.
        age_ns: how old the newest image inside each input was, by source.
    """

    group: str
    frame: Count
    inputs: Mapping[str, Count]
    held: tuple[str, ...]
    skipped: Count
    is_repeated: bool
    is_finite: bool
    work_ns: Count
    at_ns: Count
    wait_ns: Mapping[str, Signed] = field(default_factory=dict)
    age_ns: Mapping[str, Signed] = field(default_factory=dict)
    is_silent: bool = False
    kind: Literal["frame"] = "frame"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class ResponseLine:
    """A response left, or was kept back.

    Attributes:
        output: its name.
        frame: of the group's state.
        has_left: False if the output's guard kept it back.
        at_ns: when, by the system clock.
    """

    output: str
    frame: Count
    has_left: bool
    at_ns: Count
    kind: Literal["response"] = "response"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


RESTART = "restart"
SOURCE = "frame_source"  # whose changes are of the whole network; no group can have this name


@dataclass(frozen=True)
class ChangeLine:
    """Something of a group was changed while it ran; see `network.adjust` and `frames.lesion`.

    Attributes:
        group: whose; ``SOURCE``: of the whole network (pauses, steps, pace, reset, snapshots).
        frame: the first for which it holds.
        name: of what was changed; ``RESTART``: its process was started again, and nothing is
            changed any more.
        value: that it took.
        fingerprint: of the file, if the value names a weights file.
        at_ns: when, by the system clock.
    """

    group: str
    frame: Count
    name: str
    value: float | str
    at_ns: Count
    fingerprint: str = ""
    kind: Literal["change"] = "change"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class LearningLine:
    """What a group learnt takes effect: it stands before the first frame that is computed with it.

    Attributes:
        group: whose weights.
        frame: the first frame.
        what: learning begins (``begin``; ``begin_anew``: from weights that the group was given
            meanwhile), an ``update`` replaces weights, or ``take_back``: the weights before the
            last update are back, and learning ends.
        lessons: of an update: the frames that it was made from.
        rate: that it was made with.
        at_ns: when, by the system clock.
    """

    group: str
    frame: Count
    what: Literal["begin", "begin_anew", "update", "take_back"]
    lessons: tuple[Count, ...]
    rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    at_ns: Count
    kind: Literal["learning"] = "learning"
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


Line = InputLine | FrameLine | ResponseLine | ChangeLine | LearningLine
_READER: TypeAdapter[RunHead | Line] = TypeAdapter(
    Annotated[
        RunHead | InputLine | FrameLine | ResponseLine | ChangeLine | LearningLine,
        Field(discriminator="kind"),
    ]
)


class LedgerWriter:
    """Appends lines to a file. May be called from any thread. A context manager.

    A line is written whole and at once: a process that is killed loses nothing that it has told,
    and lines of several processes do not mix. A run matters more than its ledger: when a line
    cannot be written (a full disk), nothing is written any more, and the run goes on.

    Args:
        path: the file.
        head: of the run.
        on_failure: is told once, by whichever thread wrote, that nothing is written any more.

    Attributes:
        failure: why nothing is written any more; None while all is well.

    Raises:
        LedgerError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        head: RunHead,
        on_failure: Callable[[str], object] | None = None,
    ) -> None:
        self._path = path
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self.failure: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise LedgerError(f"cannot write ({error.strerror})", where=str(path)) from None
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
        """Append a line; see ``failure``."""
        text = json.dumps(asdict(line), separators=(",", ":")) + "\n"
        with self._lock:
            failed = self._append(text.encode())
        # Outside the lock: the callback may log, and logging may take its time.
        if failed is not None and self._on_failure is not None:
            self._on_failure(failed)

    def _append(self, rest: bytes) -> str | None:
        """Lock held. Why it failed, if it did just now."""
        if self._file is None:
            return None
        try:
            while rest:  # a disk that is nearly full takes a part, and refuses the next
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            why = f"cannot write ({error.strerror}); the run goes on without its ledger"
            self.failure = f"{self._path}: {why}"
            self._end()
            return self.failure
        return None

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # Some file systems tell of a full disk only now; what has failed already may again.
            with suppress(OSError):
                os.close(file)


def system_ns() -> int:
    """The time by which the lines of several processes are brought into order."""
    return time.time_ns()


def read_ledger(paths: Sequence[Path]) -> tuple[RunHead, list[Line]]:
    """What the processes of one run wrote, in order.

    Each file keeps its own order, whatever the clock did meanwhile; several are merged by time.

    Args:
        paths: a file for each host.

    Returns:
        The head of the first process, with what all of them tell of tuned groups; and the lines
        of all, with a ``RESTART`` where a process was started again.

    Raises:
        LedgerError: a file that is missing, of another kind, or of another run.
    """
    head: RunHead | None = None
    files: list[list[Line]] = []
    tuned: dict[str, Tuned] = {}
    for path in paths:
        files.append([])
        for number, line in _lines(path):
            if not isinstance(line, RunHead):
                files[-1].append(line)
                continue
            _gather(tuned, line, f"{path}: line {number}")
            if not line.tuned:  # the head that a process begins with
                files[-1] += _restarts(files[-1], line)
            if head is None:
                head = line
            elif head != line:
                raise LedgerError(
                    "the ledger of another run",
                    where=f"{path}: line {number}",
                    expected=f"network {head.network}, {head.rate_hz:g} Hz, {head.mode}, the same "
                    "file, weights and rollout",
                    got=f"network {line.network}, {line.rate_hz:g} Hz, {line.mode}",
                )
    if head is None:
        raise LedgerError(
            "no ledger",
            where=", ".join(map(str, paths)),
            expected="a file that 'run --ledger' wrote",
        )
    merged = heapq.merge(*map(_timed, files), key=lambda timed: timed[0])
    return replace(head, tuned=tuned), [line for _, line in merged]


def _restarts(lines: Sequence[Line], head: RunHead) -> list[ChangeLine]:
    """The groups of a process that begins, as far as they have computed before."""
    before = {line.group for line in lines if isinstance(line, FrameLine)}
    return [
        ChangeLine(name, 0, RESTART, "", lines[-1].at_ns)
        for name in head.members
        if name in before
    ]


def _gather(tuned: dict[str, Tuned], head: RunHead, where: str) -> None:
    """What a head tells of groups, beside what others have told.

    Raises:
        LedgerError: a group was computed in two ways, so no replay can be exact.
    """
    for name, how in head.tuned.items():
        known = tuned.setdefault(name, how)
        if known != how:
            raise LedgerError(
                f"group '{name}' was computed in two ways",
                where=where,
                expected=f"{known.backend} on {known.torch_threads} threads",
                got=f"{how.backend} on {how.torch_threads} threads",
                remedy="start a group again with the tuning file that it had",
            )


def _timed(lines: Iterable[Line]) -> Iterator[tuple[int, Line]]:
    """Lines with times that never fall: a clock that was set back does not reorder its file."""
    newest_ns = 0
    for line in lines:
        newest_ns = max(newest_ns, line.at_ns)
        yield newest_ns, line


def _lines(path: Path) -> Iterator[tuple[int, RunHead | Line]]:
    try:
        texts = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise LedgerError(f"cannot read ({error.strerror})", where=str(path)) from None
    for number, text in enumerate(texts, 1):
        try:
            yield number, _READER.validate_json(text, strict=True)
        except ValidationError as error:
            if number == len(texts) and not text.endswith(b"\n"):
                return  # its process was killed at this line
            found = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in found["loc"][1:])
            raise LedgerError(
                f"not a line of a ledger: {place + ': ' if place else ''}{found['msg']}",
                where=f"{path}: line {number}",
                remedy="give a file that 'run --ledger' wrote",
            ) from None
