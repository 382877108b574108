"""Work that is recorded once and then only repeated: CUDA graphs. On the CPU, the plain calls.

Owns the recording of several *branches*, which depend on nothing but what is there before: between
a fork and a join each runs on a stream of its own, and all of it is one CUDA graph. Knows neither
groups nor networks. Imported by ``graphed`` and ``frame_graph``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch

from streaming_net_ros.network.device import new_stream

Branch = Callable[[], None]  # reads and writes memory that stays where it is; waits for nothing
Replay = Callable[[], None]
Record = Callable[[Sequence[Branch]], Replay]
"""Makes of branches what does all of them again. They may run while it is made, more than once."""

_ONE_AT_A_TIME = threading.Lock()  # torch allows no two captures in a process


def plain_calls(branches: Sequence[Branch]) -> Replay:
    """The branches, called one after the other: what there is on the CPU."""
    calls = tuple(branches)

    def replay() -> None:
        for call in calls:
            call()

    return replay


class CudaGraphs:
    """Records branches as CUDA graphs of one GPU.

    What a branch allocates comes from a pool that all graphs of one recorder share. So they are
    replayed one after the other, on one stream, and nothing that is to last longer than a replay
    may lie in the pool once a second graph is recorded.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._origin = new_stream(device)
        self._streams: list[torch.cuda.Stream] = []

    def __call__(self, branches: Sequence[Branch]) -> Replay:
        """Run the branches once, then record them. The graph is replayed on the current stream.

        Raises:
            RuntimeError: a branch does what no graph can do, such as to wait for the GPU.
        """
        self.prepare(len(branches))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), _ONE_AT_A_TIME:
            # On the streams of the recording: libraries choose kernels and make work spaces for
            # a stream when they first see it, which is not to happen inside of the graph.
            self.fork(branches)
            torch.cuda.synchronize()
            # Other threads may go on with the GPU meanwhile. The outer context brings this one's
            # stream back where the recording fails: torch's own does not.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(
                    graph, self._pool, self._origin, capture_error_mode="thread_local"
                ),
            ):
                self.fork(branches)
        return graph.replay

    def prepare(self, count: int) -> None:
        """Have a stream for each of so many branches."""
        while len(self._streams) < count:
            self._streams.append(new_stream(self._device))

    def fork(self, branches: Sequence[Branch]) -> None:
        """Queue each branch on its stream: after what is queued here, before what will be."""
        current = torch.cuda.current_stream(self._device)
        for stream, branch in zip(self._streams, branches, strict=False):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                branch()
        for stream in self._streams[: len(branches)]:
            current.wait_stream(stream)


def recorder_of(device: torch.device) -> Record:
    """What records on a device."""
    return CudaGraphs(device) if device.type == "cuda" else plain_calls
