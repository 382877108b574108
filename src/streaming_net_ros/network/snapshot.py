"""A snapshot of a group: its weights, and all that its mailbox knows, in one safetensors file.

A group that takes it up goes on as the one that was saved, bit for bit. Tensors are stored as
they are, the rest as JSON in the file's header, checked by pydantic when it is read; nothing is
pickled. Owns the file; when a group may be saved, and who asks for it, is the nodes' business.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import safetensors
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from streaming_net_ros.errors import SnapshotError, WeightsError
from streaming_net_ros.frames import (
    Arrived,
    FiringRule,
    Input,
    Lesion,
    Memory,
    Origin,
    Running,
)
from streaming_net_ros.frames.ledger import SOURCE
from streaming_net_ros.network.adjust import Adjustable, lesion_name
from streaming_net_ros.network.group import STATE_DTYPES
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.schema import ImageInput, NetworkSpec
from streaming_net_ros.network.weights import copy_weights, group_tensors, write_tensors
from streaming_net_ros.theory import Rollout

_STRICT = ConfigDict(extra="forbid", strict=True)
_STATE, _WEIGHTS = "state.", "weights."


@dataclass(frozen=True)
class _Given:
    """An `Input`, with the number of its tensor; None: silence."""

    frame: int
    origin: Origin
    arrived_ns: int
    is_held: bool
    tensor: Annotated[int, Field(ge=0)] | None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class _Source:
    delay: int
    newest: int | None
    is_on_time: bool
    states: tuple[_Given, ...]
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class _Told:
    """The header of the file."""

    group: str
    network: str
    image_frame: int | None
    start: int | None
    next: int | None
    fired: int | None
    has_begun: bool
    updated: int | None
    skipped: int
    own: _Given | None
    sources: Mapping[str, _Source]
    lesions: Mapping[str, Lesion]
    heard: Mapping[str, _Given]
    kept: Mapping[str, _Given]
    numbers: Mapping[str, float]
    version: Literal[1] = 1
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


_FORM = TypeAdapter(_Told)
Told = TypeVar("Told")


@dataclass
class _Tensors:
    """The states of a snapshot, each once however often it is held."""

    stored: dict[str, Tensor] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)  # by identity

    def put(self, given: Input[Tensor]) -> _Given:
        number = None
        if given.state is not None:
            number = self.numbers.setdefault(id(given.state), len(self.numbers))
            # A copy: states may be views of one memory, which the file does not allow.
            self.stored[f"{_STATE}{number}"] = given.state.cpu().clone()
        return _Given(given.frame, given.origin, given.arrived_ns, given.is_held, number)


@dataclass(frozen=True)
class GroupSnapshot:
    """What was read from a file, and fits this group.

    Attributes:
        image_frame: frame of the newest image that was worked through; None: none was.
        numbers: of the group, as parameters name them.
        memory: for the group's mailbox.
        weights: per tensor, the group's and the one to take its place; for ``copy_weights``.
    """

    image_frame: int | None
    numbers: Mapping[str, float]
    memory: Memory[Tensor]
    weights: tuple[tuple[Tensor, Tensor], ...]


def network_fingerprint(spec: NetworkSpec) -> str:
    """What identifies a network file, wherever it lies and whatever it says in words."""
    written_out = spec.model_dump_json(exclude={"path", "weights", "description"})
    return hashlib.sha256(written_out.encode()).hexdigest()[:16]


def snapshot_path(folder: Path, group: str) -> Path:
    """The file of a group in the folder of a snapshot."""
    return folder / f"{group}.safetensors"


def save_snapshot(
    path: Path,
    network: StreamingNetwork,
    rule: FiringRule,
    memory: Memory[Tensor],
    image_frame: int | None,
) -> None:
    """Write a group as it is between two frames, whole or not at all.

    Args:
        path: the file; its folder must exist.
        network: that holds the group.
        rule: of the group.
        memory: of its mailbox.
        image_frame: frame of the newest image that it has worked through.

    Raises:
        SnapshotError: the file cannot be written.
    """
    run, tensors = memory.running, _Tensors()
    told = _Told(
        group=rule.group,
        network=network_fingerprint(network.spec),
        image_frame=image_frame,
        start=run.start,
        next=run.next,
        fired=run.fired,
        has_begun=run.has_begun,
        updated=run.updated,
        skipped=run.skipped,
        own=None if run.own is None else tensors.put(run.own),
        sources={
            name: _Source(
                box.delay, box.newest, box.is_on_time, tuple(map(tensors.put, box.states.values()))
            )
            for name, box in run.sources.items()
        },
        lesions={lesion_name(source): lesion for source, lesion in memory.lesions.items()},
        heard={source: tensors.put(given) for source, given in memory.heard.items()},
        kept={source: tensors.put(given) for source, given in memory.kept.items()},
        numbers=Adjustable(network, rule.group).numbers(),
    )
    weights = {f"{_WEIGHTS}{n}": t.cpu() for n, t in group_tensors(network, rule.group).items()}
    _write(path, weights | tensors.stored, _FORM.dump_json(told))


def read_snapshot(path: Path, network: StreamingNetwork, rule: FiringRule) -> GroupSnapshot:
    """Read what ``save_snapshot`` wrote, for a group of the same network and rollout.

    Args:
        path: the file.
        network: that holds the group.
        rule: of the group; it says which states may be there.

    Raises:
        SnapshotError: missing, damaged, or of another group, network or rollout.
    """
    told, stored = _read(path, _FORM)
    _check(told, network, rule, path)
    mine = group_tensors(network, rule.group)
    weights = {n.removeprefix(_WEIGHTS): t for n, t in stored.items() if n.startswith(_WEIGHTS)}
    for what, expected, got in (
        ("weights", sorted(mine), sorted(weights)),
        ("numbers", sorted(Adjustable(network, rule.group).numbers()), sorted(told.numbers)),
    ):
        if expected != got:
            raise SnapshotError(f"other {what}", where=str(path), expected=str(expected), got=got)
    for name, tensor in mine.items():
        _check_tensor(weights[name], tuple(tensor.shape), tensor.dtype, f"{path}: {name}")
    states = _States(path, network, stored)
    running = Running(
        {name: states.arrived(name, box) for name, box in told.sources.items()},
        told.start,
        told.next,
        told.fired,
        told.has_begun,
        None if told.own is None else states.given(told.own, rule.group),
        told.updated,
        told.skipped,
    )
    lesions = {s: told.lesions.get(lesion_name(s), "none") for s in (None, *rule.delays)}
    heard, kept = states.by_source(told.heard), states.by_source(told.kept)
    pairs = tuple((tensor, weights[name]) for name, tensor in mine.items())
    return GroupSnapshot(
        told.image_frame, told.numbers, Memory(running, lesions, heard, kept), pairs
    )


def restore_weights(folder: Path, network: StreamingNetwork) -> None:
    """Give the groups of a network object the weights of a snapshot.

    Raises:
        SnapshotError: missing, damaged, or of another network.
    """
    for name in network.groups:
        told, stored = _read(snapshot_path(folder, name), _FORM)
        if told.network != network_fingerprint(network.spec):
            raise SnapshotError("a snapshot of another network", where=str(folder))
        pairs = []
        for key, mine in group_tensors(network, name).items():
            new = stored.get(f"{_WEIGHTS}{key}")
            if new is None:
                raise SnapshotError(f"no weights of '{key}'", where=str(folder))
            _check_tensor(new, tuple(mine.shape), mine.dtype, f"{folder}: {key}")
            pairs.append((mine, new))
        copy_weights(pairs)


@dataclass(frozen=True)
class _ToldSource:
    """The header of the frame source's file."""

    network: str
    delays: Mapping[str, int]
    image_frame: int | None
    beside: Mapping[str, tuple[tuple[int, int], ...]]  # per input: (place in the queue, stamp)
    version: Literal[1] = 1
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


_SOURCE_FORM = TypeAdapter(_ToldSource)
Beside = Mapping[str, list[tuple[int, tuple[NDArray[Any], int]]]]  # input: (stamp, (flat, stamp))


def save_source(
    folder: Path, spec: NetworkSpec, rollout: Rollout, image_frame: int | None, beside: Beside
) -> None:
    """Write what the frame source knows: the newest frame, and inputs that later frames may get.

    Args:
        folder: of the snapshot; made if it is not there.
        spec: the network.
        rollout: of it.
        image_frame: the newest frame that was fed.
        beside: messages of further inputs, by input: flat numbers with their stamps.

    Raises:
        SnapshotError: it cannot be written.
    """
    tensors = {
        f"beside.{name}.{number}": torch.from_numpy(payload.copy())
        for name, messages in beside.items()
        for number, (_, (payload, _)) in enumerate(messages)
    }
    stamps = {
        name: tuple((number, stamp_ns) for number, (stamp_ns, _) in enumerate(messages))
        for name, messages in beside.items()
    }
    told = _ToldSource(network_fingerprint(spec), _told_delays(rollout), image_frame, stamps)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SnapshotError(f"no folder ({error.strerror})", where=str(folder)) from None
    _write(snapshot_path(folder, SOURCE), tensors, _SOURCE_FORM.dump_json(told))


def read_source(folder: Path, spec: NetworkSpec, rollout: Rollout) -> tuple[int | None, Beside]:
    """What ``save_source`` wrote: the newest frame, and the messages of further inputs.

    Raises:
        SnapshotError: missing, damaged, or of another network.
    """
    path = snapshot_path(folder, SOURCE)
    told, stored = _read(path, _SOURCE_FORM)
    if told.network != network_fingerprint(spec) or set(told.beside) - set(spec.inputs):
        raise SnapshotError("a snapshot of another network", where=str(path))
    if told.delays != _told_delays(rollout):
        raise SnapshotError("a snapshot of another rollout", where=str(path))
    beside: dict[str, list[tuple[int, tuple[NDArray[Any], int]]]] = {}
    for name, messages in told.beside.items():
        beside[name] = []
        for number, stamp_ns in messages:
            tensor = stored.get(f"beside.{name}.{number}")
            if tensor is None or tensor.numel() != math.prod(spec.inputs[name].shape):
                raise SnapshotError(f"a message of '{name}' is missing", where=str(path))
            beside[name].append((stamp_ns, (tensor.numpy(), stamp_ns)))
    return told.image_frame, beside


@dataclass(frozen=True)
class _States:
    """The states of a file, as a mailbox holds them."""

    path: Path
    network: StreamingNetwork
    stored: Mapping[str, Tensor]

    def given(self, told: _Given, node: str) -> Input[Tensor]:
        state = None
        if told.tensor is not None:
            name, shape = f"{_STATE}{told.tensor}", (1, *self.network.shapes[node])
            if name not in self.stored:
                raise SnapshotError(f"the state of '{node}' is missing", where=str(self.path))
            dtype = STATE_DTYPES[self.network.spec.state_dtype]
            if node in self.network.spec.inputs:
                is_image = isinstance(self.network.spec.inputs[node], ImageInput)
                dtype = torch.uint8 if is_image else torch.float32
            _check_tensor(self.stored[name], shape, dtype, f"{self.path}: {name}")
            device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
            state = as_state(self.stored[name].to(device))
        return Input(state, told.frame, told.origin, told.arrived_ns, told.is_held)

    def arrived(self, node: str, told: _Source) -> Arrived[Tensor]:
        states = {one.frame: self.given(one, node) for one in told.states}
        return Arrived(told.delay, states, told.newest, told.is_on_time)

    def by_source(self, told: Mapping[str, _Given]) -> dict[str, Input[Tensor]]:
        return {source: self.given(one, source) for source, one in told.items()}


def _check_tensor(tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, where: str) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise SnapshotError(
            "tensor does not fit",
            where=where,
            expected=f"{shape} {dtype}",
            got=f"{tuple(tensor.shape)} {tensor.dtype}",
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise SnapshotError("tensor holds NaN or infinity", where=where)


def _told_delays(rollout: Rollout) -> dict[str, int]:
    return {f"{source} -> {target}": delay for (source, target), delay in rollout.delays.items()}


def _write(path: Path, tensors: Mapping[str, Tensor], told: bytes) -> None:
    try:
        write_tensors(path, tensors, {"snapshot": told.decode()}, "the snapshot")
    except WeightsError as error:
        raise SnapshotError(error.what, where=error.where) from None


def _read(path: Path, form: TypeAdapter[Told]) -> tuple[Told, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("snapshot", "")
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return form.validate_json(header), stored
    except (OSError, safetensors.SafetensorError) as error:
        found = str(error).splitlines()[0]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    raise SnapshotError(
        f"cannot read the snapshot ({found})",
        where=str(path),
        remedy="give a folder that save_snapshot wrote",
    )


def _check(told: _Told, network: StreamingNetwork, rule: FiringRule, path: Path) -> None:
    delays = {name: box.delay for name, box in told.sources.items()}
    for what, got, expected in (
        ("group", told.group, rule.group),
        ("network", told.network, network_fingerprint(network.spec)),
        ("rollout", delays, dict(rule.delays)),
    ):
        if got != expected:
            raise SnapshotError(
                f"a snapshot of another {what}", where=str(path), expected=str(expected), got=got
            )
    strange = sorted((set(told.heard) | set(told.kept)) - set(delays))
    if strange:
        raise SnapshotError("states of no source", where=str(path), got=", ".join(strange))
