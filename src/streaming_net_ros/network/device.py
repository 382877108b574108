"""Where a group computes: at once on the CPU, on a stream of its own on a GPU.

Owns what differs between the two, so that nobody else asks which one it is. Groups of one process
that share a GPU compute at the same time, each on its own stream. Imported by ``measuring`` and
by the nodes.

Why a state needs neither events nor ``Tensor.record_stream`` to go from one stream to another:

- *It is complete when it is handed on.* Before that the host has waited for its stream, and for
  that one alone: the check that it is finite reads one number (``layout.all_finite``).
- *Its memory is not reused while somebody reads it.* torch gives a tensor's memory back to the
  stream that made it when the last reference is gone. Who reads it on another stream holds it for
  the whole of a job, and a job ends with the same check: its reading is over by then.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

CPU = torch.device("cpu")
_AT_ONCE: AbstractContextManager[None] = nullcontext()


class ComputeStream:
    """The CPU's: whatever was called has been computed when the call returns.

    Any thread may use it, several at once too.
    """

    def work(self) -> AbstractContextManager[Any]:
        """What this thread calls inside is queued on this stream."""
        return _AT_ONCE

    def wait(self) -> None:
        """Return when everything that was queued so far has been computed."""

    def to_host(self, given: Tensor) -> Tensor:
        """A tensor in the host's memory, complete; on the CPU itself, without a copy."""
        return given


class CudaStream(ComputeStream):
    """A CUDA stream.

    Args:
        device: the GPU. What this thread has queued there comes first: weights, for instance.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = new_stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))

    def work(self) -> AbstractContextManager[Any]:
        """A context of its own for each use: torch's keeps what it goes back to in itself."""
        return torch.cuda.stream(self._stream)

    def wait(self) -> None:
        """The host waits for this stream alone."""
        self._stream.synchronize()

    def to_host(self, given: Tensor) -> Tensor:
        """A copy in pinned memory, by the copy engine. torch keeps pinned memory for reuse."""
        host = torch.empty(given.shape, dtype=given.dtype, pin_memory=True)
        with self.work():
            host.copy_(given, non_blocking=True)
        self.wait()
        return host


def compute_stream(device: torch.device) -> ComputeStream:
    """A new stream of a device; the CPU has nothing of the kind."""
    return CudaStream(device) if device.type == "cuda" else ComputeStream()


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """A CUDA stream; one of 32 that torch has for a device, in turn."""
    make: Any = torch.cuda.Stream  # torch's own annotations leave it out
    stream: torch.cuda.Stream = make(device)
    return stream
