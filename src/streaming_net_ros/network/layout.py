"""The one memory layout of a state, so that equal states are equal bits wherever they were made.

A state of rank 3 lies in channels-last memory (what CPU and GPU convolutions are fastest on, and
what a message carries); a vector is contiguous. torch leaves the strides of size-1 dimensions
open, yet picks kernels by them, and BLAS may pick one by a buffer's alignment; so both are fixed
here. See docs/equality.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT_BYTES = 64  # what torch's own CPU allocator gives


def state_strides(size: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a batch of states: (N, C, H, W) channels-last, (N, F) contiguous."""
    if len(size) == 4:
        _, channels, height, width = size
        return (channels * height * width, 1, width * channels, channels)
    return (size[1], 1)


def as_state(batch: Tensor) -> Tensor:
    """The same numbers in the layout of states; a copy only where they lie differently."""
    if torch.compiler.is_compiling():
        return _contiguous(batch)  # a graph picks its own kernels, and cannot see addresses
    strides = state_strides(batch.shape)
    if batch.stride() != strides:
        batch = _contiguous(batch)
        # The same memory; only strides of size-1 dimensions differ.
        batch = batch.as_strided(batch.shape, strides, batch.storage_offset())
    if batch.data_ptr() % ALIGNMENT_BYTES:  # a view into something larger
        batch = batch.clone(memory_format=torch.preserve_format)
    return batch


def _contiguous(batch: Tensor) -> Tensor:
    if batch.dim() == 4:
        return batch.contiguous(memory_format=torch.channels_last)
    return batch.contiguous()


def from_payload(payload: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A batch of one state over a flat payload (as a message carries it), aligned.

    Args:
        payload: one-dimensional, in the order height, width, channel; not copied if it is aligned.
        shape: the state's, (channels, height, width) or (features,).
    """
    if payload.data_ptr() % ALIGNMENT_BYTES:
        payload = payload.clone()
    size = (1, *shape)
    return payload.as_strided(size, state_strides(size))


def to_payload(batch: Tensor) -> Tensor:
    """The flat view of a batch of one state that a message carries; no copy."""
    return batch.as_strided((batch.numel(),), (1,), batch.storage_offset())


def shares_memory(batch: Tensor, other: Tensor | None) -> bool:
    """Is a batch a view of another one's memory, or that one itself?"""
    if other is None:
        return False
    return batch.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def all_finite(batch: Tensor) -> bool:
    """Is no number NaN or infinite?

    A sum shows both, in one pass over the memory (``isfinite`` takes several). Only a sum that
    overflows has to be looked at number by number.
    """
    dtype = torch.float32 if batch.dtype is torch.float16 else None
    return math.isfinite(batch.sum(dtype=dtype).item()) or bool(torch.isfinite(batch).all())
