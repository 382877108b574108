"""Weights: safetensors in and out, a group at a time. Never pickle.

A file holds one tensor per parameter or buffer, named ``GROUP.edges.SOURCE.N.weight``,
``GROUP.after.N.bias``, ``shared.NAME.N.weight``. A node opens the file and reads only the tensors
of the groups that it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from streaming_net_ros.errors import WeightsError
from streaming_net_ros.network.layers import SharedReference
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.theory import format_table

_REMEDY = "train weights for this network file, or give the file that they were trained with"


def save_weights(
    network: StreamingNetwork, path: Path | str, notes: Mapping[str, str] | None = None
) -> None:
    """Write all weights of a network, whole or not at all.

    Args:
        network: every group of it.
        path: the file, ``*.safetensors``; its folder must exist.
        notes: words kept in the file's header, beside the network's name and rollout.

    Raises:
        WeightsError: the file cannot be written.
    """
    path = Path(path)
    header = {
        "network": network.spec.name,
        "rollout": format_table(network.rollout),
        **(notes or {}),
    }
    write_tensors(path, _named(network), header, "weights")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str], what: str
) -> None:
    """Write tensors as a safetensors file, whole or not at all.

    Args:
        path: the file; its folder must exist.
        tensors: by name; none shares memory with another.
        header: words by name.
        what: is written, for the message.

    Raises:
        WeightsError: the file cannot be written.
    """
    half_written = path.with_name(path.name + ".part")
    try:
        save_file({n: t.contiguous() for n, t in tensors.items()}, half_written, dict(header))
        half_written.replace(path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        half_written.unlink(missing_ok=True)
        raise WeightsError(f"cannot write {what} ({error})", where=str(path)) from None


def load_weights(network: StreamingNetwork, path: Path | str) -> None:
    """Read the tensors of the groups that a network object holds.

    Args:
        network: all groups of a network, or those that one process runs.
        path: a file that ``save_weights`` wrote.

    Raises:
        WeightsError: missing or damaged file; a tensor that is missing, has another shape or
            type, or holds NaN or infinity; a tensor that no group has.
    """
    copy_weights(_read_pairs(network, _named(network), Path(path)))


def read_group_weights(
    network: StreamingNetwork, group: str, path: Path | str
) -> list[tuple[Tensor, Tensor]]:
    """One group's own tensors of a weights file, checked; for ``copy_weights``.

    Args:
        network: that holds the group.
        group: its name.
        path: a file that ``save_weights`` wrote.

    Returns:
        Per tensor: the group's, and what the file has in its place.

    Raises:
        WeightsError: as ``load_weights``.
    """
    mine = {n: tensor for n, tensor in _named(network).items() if n.split(".")[0] == group}
    return _read_pairs(network, mine, Path(path))


def copy_weights(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Put second tensors in place of first ones, in the memory that these have."""
    with torch.no_grad():
        for mine, new in pairs:
            mine.copy_(new)


def file_fingerprint(path: Path) -> str:
    """What identifies a weights file.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise WeightsError(f"cannot read ({error.strerror})", where=str(path)) from None


def _read_pairs(
    network: StreamingNetwork, mine: Mapping[str, Tensor], path: Path
) -> list[tuple[Tensor, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            _check_names(network, mine, set(file.keys()), path)
            tensors = {name: file.get_tensor(name) for name in mine}
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"cannot read weights ({str(error).splitlines()[0]})",
            where=str(path),
            expected="a safetensors file",
            remedy="pickled weights are refused; see docs/training.md",
        ) from None
    for name, tensor in tensors.items():
        _check_tensor(mine[name], tensor, f"{path}: {name}")
    return [(mine[name], tensor) for name, tensor in tensors.items()]


def group_tensors(network: StreamingNetwork, group: str) -> dict[str, Tensor]:
    """A group's own tensors and those that it shares with others, by their names in files."""
    shared = {
        layer.name
        for layer in network.group(group).modules()
        if isinstance(layer, SharedReference)
    }
    prefixes = (f"{group}.", *(f"shared.{name}." for name in shared))
    return {n: tensor for n, tensor in _named(network).items() if n.startswith(prefixes)}


def _named(network: StreamingNetwork) -> dict[str, Tensor]:
    """Every stored tensor of a network by its name in the file."""
    named = {f"shared.{n}": t for n, t in network.shared.state_dict(keep_vars=True).items()}
    named.update(network.groups.state_dict(keep_vars=True))
    return {name: tensor.detach() for name, tensor in named.items()}


def _check_names(
    network: StreamingNetwork, mine: Mapping[str, Tensor], there: set[str], path: Path
) -> None:
    missing = sorted(set(mine) - there)
    groups = {group.name for group in network.spec.groups}
    own = {n.split(".")[0] for n in mine} - {"shared"}
    strange = sorted(
        n for n in there if n not in mine
        and (n.split(".")[0] in own or n.split(".")[0] not in groups | {"shared"})
    )  # fmt: skip
    if missing or strange:
        listed = [f"{n} is missing" for n in missing[:3]] + [
            f"{n} is unknown" for n in strange[:3]
        ]
        more = len(missing) + len(strange) - len(listed)
        raise WeightsError(
            "these weights belong to another network",
            where=str(path),
            expected=f"the tensors of network '{network.spec.name}'",
            got=", ".join(listed) + (f" and {more} more" if more else ""),
            remedy=_REMEDY,
        )


def _check_tensor(mine: Tensor, tensor: Tensor, where: str) -> None:
    if tensor.shape != mine.shape or tensor.dtype != mine.dtype:
        raise WeightsError(
            "tensor does not fit",
            where=where,
            expected=f"{tuple(mine.shape)} {mine.dtype}",
            got=f"{tuple(tensor.shape)} {tensor.dtype}",
            remedy=_REMEDY,
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise WeightsError("tensor holds NaN or infinity", where=where, remedy="train it again")
