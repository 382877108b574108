"""Checkpoints: everything that a training needs to go on bit for bit, in one safetensors file.

Tensors are stored by name, plain values as JSON in the file's header; nothing is pickled. A file
is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from streaming_net_ros.errors import WeightsError
from streaming_net_ros.network import write_tensors

_KEY = "training"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: the file, ``*.safetensors``; its folder must exist.
        tensors: by name.
        facts: what JSON can hold.

    Raises:
        WeightsError: the file cannot be written.
    """
    # Copies: states and gradients may share memory, which the format does not know.
    stored = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    write_tensors(path, stored, {_KEY: json.dumps(facts)}, "the checkpoint")


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        WeightsError: missing, damaged, or no checkpoint.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"cannot read the checkpoint ({str(error).splitlines()[0]})",
            where=str(path),
            expected="a file that a training wrote",
            remedy="begin without --resume",
        ) from None
    except (KeyError, ValueError):
        raise WeightsError(
            "this file holds weights, but no training to go on with",
            where=str(path),
            expected="a checkpoint, NAME.checkpoint.safetensors",
            remedy="begin with these weights by --init",
        ) from None
    return tensors, facts


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
