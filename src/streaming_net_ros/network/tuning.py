"""The tuning file: which backend, how many threads and which cores each group gets on a machine.

Owns the file, and the check that its choices keep to the tolerance where they are used. Written by
``streaming-net tune`` (``measuring``), read by the nodes and by replay. It belongs to a machine
as much as to a network, so it stands beside the network file and not in it; and to a device: what
is fastest on the CPU tells nothing of a GPU.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import yaml
from pydantic import Field, ValidationError, field_validator
from torch import Tensor

from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.frames.ledger import Tuned
from streaming_net_ros.network.backends import Backend, make_runner
from streaming_net_ros.network.device import CPU
from streaming_net_ros.network.expand import read_yaml
from streaming_net_ros.network.findings import first_finding, inside
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.network.schema import Frozen, ImageInput, Name, NetworkSpec, did_you_mean

DEFAULT_TOLERANCE = 1e-4
_CHECKS = 3  # random inputs that a backend is compared on
Threads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Core = Annotated[int, Field(strict=True, ge=0, le=65535)]
Measured = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Machine(Frozen):
    """Where the figures of a file were measured.

    Attributes:
        processor, cores, torch: of the machine.
        gpu: name of the one that computed; None: the CPU did.
    """

    processor: str
    cores: Threads
    torch: str
    gpu: str | None = None


class GroupTuning(Frozen):
    """How one group is computed.

    Attributes:
        backend: one of ``backends.BACKENDS``.
        torch_threads: of one operation of the group.
        cores: CPU numbers that its process is pinned to; None: it is not.
        eager_ms: median of eager torch on one thread, as measured.
        chosen_ms: median of this choice, measured in the same run.
        deviation: its largest, relative to the largest absolute value of the state.
    """

    backend: Backend = "eager"
    torch_threads: Threads = 1
    cores: Annotated[tuple[Core, ...], Field(min_length=1)] | None = None
    eager_ms: Measured | None = None
    chosen_ms: Measured | None = None
    deviation: Measured | None = None

    @field_validator("cores")
    @classmethod
    def _check_cores(cls, cores: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if cores is not None and len(set(cores)) < len(cores):
            raise ValueError("a core is named twice")
        return cores


class Tuning(Frozen):
    """A whole tuning file. A group that it does not name is computed eagerly.

    Attributes:
        network: name of the network that it is for.
        machine: that it was measured on.
        device: that the groups compute on.
        tolerance: a backend that deviates more, relative to the largest absolute value of the
            state, is not used.
        groups: by name.
    """

    network: Name
    machine: Machine
    device: Literal["cpu", "cuda"] = "cpu"
    tolerance: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = DEFAULT_TOLERANCE
    groups: Mapping[Name, GroupTuning]

    def cores_of(self, members: Collection[str]) -> frozenset[int] | None:
        """Cores of a process with these groups: of all of them together.

        None if one of them may run anywhere, or if there is none.
        """
        groups = [self.groups.get(name) for name in members]
        cores = [group.cores for group in groups if group is not None and group.cores]
        if not groups or len(cores) < len(groups):
            return None
        return frozenset(core for some in cores for core in some)

    def other_machine(self) -> str:
        """What differs between the machine of the file and this one, in words; empty: nothing."""
        here = this_machine(torch.device(self.device))
        return "; ".join(
            f"{name}: measured on {told}, here {own or 'none'}"
            for name in Machine.model_fields
            if (told := getattr(self.machine, name)) != (own := getattr(here, name))
        )

    def check_device(self, device: torch.device) -> None:
        """Refuse what was measured on another type of device.

        Raises:
            ParameterError: it was.
        """
        if device.type != self.device:
            raise ParameterError(
                "the tuning file of another device",
                where="tuning: device",
                expected=device.type,
                got=self.device,
                remedy=f"'streaming-net tune --device {device.type}' writes one for this device, "
                f"or compute on {self.device} (parameter device)",
            )


@dataclass(frozen=True)
class TunedGroup:
    """How a group is computed after all.

    Attributes:
        runner: what computes it.
        backend: that it uses.
        reason: why this is not the one asked for; empty if it is.
        deviation: from the group itself, as measured now.
    """

    runner: Runner
    backend: Backend
    reason: str = ""
    deviation: float = 0.0

    @property
    def used(self) -> Tuned:
        """The same for the ledger."""
        return Tuned(self.backend, self.runner.torch_threads)


def read_tuning(path: Path, spec: NetworkSpec) -> Tuning:
    """Read and check a tuning file.

    Raises:
        NetworkFileError: not a YAML mapping.
        ParameterError: what in it is not right, with the place; or it is of another network.
    """
    keys = "network, machine, tolerance, groups"
    content = read_yaml(path, "tuning", keys, "docs/tuning.md")
    try:
        tuning = Tuning.model_validate(content)
    except ValidationError as error:
        raise first_finding(error, inside(str(path)), Tuning, ParameterError) from None
    if tuning.network != spec.name:
        raise ParameterError(
            "the tuning file of another network",
            where=f"{path}: network",
            expected=spec.name,
            got=tuning.network,
            remedy="'streaming-net tune' writes one for this network",
        )
    names = [group.name for group in spec.groups]
    for name in tuning.groups:
        if name not in names:
            raise ParameterError(
                f"no group '{name}'{did_you_mean(name, names)}", where=f"{path}: groups.{name}"
            )
    return tuning


def write_tuning(tuning: Tuning, path: Path, made_by: str) -> None:
    """Write a tuning file, whole or not at all.

    Args:
        tuning: its content.
        path: the file; its folder must exist.
        made_by: the command, for the first line.

    Raises:
        ParameterError: it cannot be written.
    """
    content = tuning.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=99)
    written = path.with_name(path.name + ".part")
    try:
        written.write_text(f"# {made_by}\n{text}", encoding="utf-8")
        written.replace(path)
    except OSError as error:
        with suppress(OSError):
            written.unlink(missing_ok=True)
        raise ParameterError(f"cannot write ({error.strerror})", where=str(path)) from None


def tuned_runner(
    network: StreamingNetwork,
    name: str,
    tuning: Tuning | None,
    torch_threads: int = 1,
    device: torch.device = CPU,
) -> TunedGroup:
    """What computes a group: the backend that the file asks for, if it keeps its tolerance here.

    It is compared with the group itself on seeded random inputs. May take seconds to a minute.

    Args:
        network: with the group and its weights, in evaluation mode.
        name: of the group.
        tuning: the file; None, or without this group: the group itself.
        torch_threads: where the file tells none.
        device: that the network is on.

    Raises:
        ParameterError: the file is of another device.
    """
    if tuning is not None:
        tuning.check_device(device)
    group = network.group(name)
    asked = None if tuning is None else tuning.groups.get(name)
    if tuning is None or asked is None:
        return TunedGroup(Runner(group, torch_threads=torch_threads), "eager")
    eager = Runner(group, torch_threads=asked.torch_threads)
    if asked.backend == "eager":
        return TunedGroup(eager, "eager")
    given = [example_inputs(network, name, seed, device) for seed in range(_CHECKS)]
    try:
        runner = make_runner(group, given[0], asked.backend, asked.torch_threads)
        found = max(deviation(eager, runner, inputs) for inputs in given)
    except StreamingNetError as error:
        return TunedGroup(eager, "eager", f"computed eagerly: {error}")
    if found > tuning.tolerance:
        reason = (
            f"computed eagerly: {asked.backend} deviates by {found:.2g} of the state's largest "
            f"value, the tolerance is {tuning.tolerance:.2g}"
        )
        return TunedGroup(eager, "eager", reason, found)
    return TunedGroup(runner, asked.backend, deviation=found)


def example_inputs(
    network: StreamingNetwork, name: str, seed: int = 0, device: torch.device = CPU
) -> dict[str, Tensor]:
    """Random states for all sources of a group, of the dtypes that they come in."""
    drawn = torch.Generator().manual_seed(seed)
    examples: dict[str, Tensor] = {}
    for source in network.group(name).sources:
        size = (1, *network.shapes[source])
        given = network.spec.inputs.get(source)
        if isinstance(given, ImageInput):
            state = torch.randint(0, 256, size, dtype=torch.uint8, generator=drawn)
        else:
            state = torch.randn(size, generator=drawn)
            if given is None:
                state = state.to(network.group(name).dtype)
        examples[source] = as_state(state.to(device))
    return examples


def deviation(eager: Runner | LayerGroup, other: Runner, inputs: Mapping[str, Tensor]) -> float:
    """Largest difference of a state, relative to its largest absolute value.

    Infinite where one of the two is no number, and where shapes or dtypes differ.
    """
    with torch.inference_mode():
        expected, got = eager(inputs), other(inputs)
    if expected is None or got is None or expected.shape != got.shape:
        return float("inf")
    if expected.dtype != got.dtype:
        return float("inf")
    if torch.equal(expected, got):
        return 0.0
    difference = (expected.double() - got.double()).abs().max()
    largest = expected.double().abs().max()
    found = float(difference / largest)
    return float("inf") if math.isnan(found) else found


def this_machine(device: torch.device = CPU) -> Machine:
    """The machine that this process runs on, and its GPU if that is what is asked for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    has_gpu = device.type == "cuda" and torch.cuda.is_available()
    return Machine(
        processor=processor,
        cores=os.cpu_count() or 1,
        torch=torch.__version__,
        gpu=torch.cuda.get_device_name(device) if has_gpu else None,
    )
