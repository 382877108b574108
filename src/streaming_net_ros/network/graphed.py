"""A group as one CUDA graph: its kernels are started by one call instead of one each.

Small groups spend more on starting kernels than on arithmetic. Imported by ``backends`` when it is
needed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from streaming_net_ros.network.capture import Record, recorder_of
from streaming_net_ros.network.flat import flattened
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.runner import Compute


def graphed(
    group: LayerGroup, examples: tuple[Tensor, ...], record: Record | None = None
) -> Compute:
    """The group recorded between fixed buffers: states are copied in, and the state out.

    Args:
        group: on its device.
        examples: a state per source.
        record: what records; the device's own if None.
    """
    layers = flattened(group)
    made: list[Tensor] = []  # the state where the graph writes it; on the CPU, the newest one
    lock = threading.Lock()  # a job of before a reset may still be at the same buffers
    with torch.inference_mode():
        buffers = tuple(given.clone() for given in examples)
        heard = dict(zip(group.sources, buffers, strict=True))

        def branch() -> None:
            state = layers(heard)
            assert state is not None  # all of its sources are there
            made[:] = [state]

        replay = (record or recorder_of(examples[0].device))([branch])

    def compute(states: Sequence[Tensor]) -> Tensor:
        with lock:  # until all of it is queued; the stream keeps the order
            for buffer, state in zip(buffers, states, strict=True):
                buffer.copy_(state)
            replay()
            return made[0].clone()  # the next replay writes there

    return compute
