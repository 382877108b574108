"""How states and images of other places reach the device that the groups compute on.

Owns the copy to a GPU: through pinned memory, on a stream that only copies, while the groups go
on computing on theirs. What is handed on is complete. Images go up as they are, in 8 bits: the
groups that hear them normalise them there. On the CPU nothing is copied. Imported by the nodes.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from streaming_net_ros.network.device import new_stream
from streaming_net_ros.network.layout import from_payload


class Uploader:
    """Onto the CPU: what is there is used as it lies. Any thread may use it, also at once."""

    def memory(self, numbers: int, dtype: torch.dtype) -> Tensor:
        """Memory of the host to fill for an upload, flat."""
        return torch.empty(numbers, dtype=dtype)

    def upload(self, payload: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A batch of one state on the device, complete, in the layout of states.

        Args:
            payload: of the host, flat, in the order height, width, channel. Free again on return,
                except on the CPU, where it is the state.
            shape: the state's, (channels, height, width) or (features,).
        """
        return from_payload(payload, shape)


class CudaUploader(Uploader):
    """Onto a GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = new_stream(device)

    def memory(self, numbers: int, dtype: torch.dtype) -> Tensor:
        """Pinned memory: only from there a copy does not go through another buffer.

        torch keeps what is let go, and gives it out again once the copies from it have ended.
        """
        return torch.empty(numbers, dtype=dtype, pin_memory=True)

    def upload(self, payload: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A copy. The host waits for this one alone, not for what groups compute.

        Its memory belongs to the copy stream; ``device`` tells why readers on other streams need
        nothing more.
        """
        if not payload.is_pinned():
            pinned = self.memory(payload.numel(), payload.dtype)
            payload = pinned.copy_(payload)
        with torch.cuda.stream(self._stream):
            # Flat on both sides: one plain copy, and the layout of states holds to the stride.
            batch = from_payload(payload.to(self._device, non_blocking=True), shape)
            copied = self._stream.record_event()
        copied.synchronize()
        return batch


@cache
def uploader_to(device: torch.device) -> Uploader:
    """This process's uploader to a device: all uploads share one copy engine anyway."""
    return CudaUploader(device) if device.type == "cuda" else Uploader()
