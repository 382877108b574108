"""The ways to compute a network on one GPU that ``gpu.py`` compares. On a CPU they run as well.

Each is a function that queues one frame: the image from pinned memory, the network, the answer
back into pinned memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from streaming_net_ros.network import NetworkSpec, StreamingNetwork, rollout_of
from streaming_net_ros.network.capture import Branch, CudaGraphs, Replay, plain_calls, recorder_of
from streaming_net_ros.network.flat import Layers, flattened
from streaming_net_ros.network.frame_graph import FrameGraph
from streaming_net_ros.network.layout import from_payload
from streaming_net_ros.network.tuning import example_inputs
from streaming_net_ros.network.upload import uploader_to

STREAMING, SEQUENTIAL = "frame graph", "one CUDA graph"
Frame = Callable[[], None]


class Feed:
    """One image in pinned memory, and where an answer goes; the same for every contender."""

    def __init__(self, network: StreamingNetwork, device: torch.device) -> None:
        (self.input,) = network.spec.inputs  # one camera
        (output,) = network.spec.outputs.values()
        self.output = output.group
        uploader = uploader_to(device)
        shape = network.shapes[self.input]
        flat = uploader.memory(torch.Size(shape).numel(), torch.uint8)
        flat.random_(0, 256, generator=torch.Generator().manual_seed(0))
        self.image = from_payload(flat, shape)
        self._answer = uploader.memory(torch.Size(network.shapes[self.output]).numel(),
                                       network.group(self.output).dtype)  # fmt: skip

    def answered(self, state: Tensor | None) -> None:
        """Queue the copy of an answer to the host."""
        if state is not None:
            self._answer.copy_(state.flatten(), non_blocking=True)

    @property
    def bytes_up(self) -> int:
        """What has to go to the device in a frame."""
        return self.image.nbytes

    @property
    def bytes_down(self) -> int:
        """What has to come back."""
        return self._answer.nbytes


def contenders(spec: NetworkSpec, device: torch.device) -> tuple[dict[str, Frame], Feed]:
    """All ways to compute a frame, ready and warm. Recording and compiling take their time."""
    streaming = StreamingNetwork(spec, rollout_of(spec, "streaming")).eval().to(device)
    sequential = StreamingNetwork(spec, rollout_of(spec, "sequential")).eval().to(device)
    feed = Feed(streaming, device)
    made = {
        STREAMING: _streamed(FrameGraph(streaming), feed),
        "group streams": _streamed(FrameGraph(streaming, _forked(device)), feed),
        **_passes(sequential, feed, device),
    }
    warm = 2 * (len(spec.groups) + 2)  # silence, the recordings, and each of them
    with torch.inference_mode():
        for frame in made.values():
            for _ in range(warm):
                frame()
    return made, feed


def _streamed(graph: FrameGraph, feed: Feed) -> Frame:
    def frame() -> None:
        feed.answered(graph.advance({feed.input: feed.image})[feed.output])

    return frame


def _forked(device: torch.device) -> Callable[[Sequence[Branch]], Replay]:
    """In place of a recording: the branches are started from here, each on its stream."""
    if device.type != "cuda":
        return plain_calls
    graphs = CudaGraphs(device)

    def record(branches: Sequence[Branch]) -> Replay:
        graphs.prepare(len(branches))
        return partial(graphs.fork, branches)

    return record


def _passes(network: StreamingNetwork, feed: Feed, device: torch.device) -> dict[str, Frame]:
    """The sequential network, in three ways."""
    image = feed.image.to(device, copy=True)
    order = [(name, flattened(network.group(name))) for name in network.rollout.frame_order]
    compiled = torch.compile(_whole(network))
    made: list[Tensor] = []

    def run() -> Tensor:
        states = {feed.input: image}
        for name, layers in order:
            state = layers(states)
            assert state is not None
            states[name] = state
        return states[feed.output]

    def recorded() -> None:
        made[:] = [run()]

    with torch.inference_mode():
        replay = recorder_of(device)([recorded])

    def frame(compute: Callable[[], Tensor]) -> None:
        image.copy_(feed.image, non_blocking=True)
        feed.answered(compute())

    def replayed() -> Tensor:
        replay()
        return made[0]

    return {
        "eager": partial(frame, run),
        "compiled": partial(frame, lambda: compiled(image)),
        SEQUENTIAL: partial(frame, replayed),
    }


def _whole(network: StreamingNetwork) -> Callable[[Tensor], Tensor]:
    """The sequential network as one function, for a compiler."""
    (given,), (output,) = network.spec.inputs, network.spec.outputs.values()
    order = [(name, network.group(name)) for name in network.rollout.frame_order]

    def whole(image: Tensor) -> Tensor:
        states = {given: image}
        for name, group in order:
            states[name] = group(states)
        return states[output.group]

    return whole


def groups_alone(spec: NetworkSpec, device: torch.device) -> dict[str, Frame]:
    """Each group by itself, as one recording, on numbers that stay where they are."""
    network = StreamingNetwork(spec).eval().to(device)
    made = {}
    with torch.inference_mode():
        for name in network.groups:
            heard = example_inputs(network, name, device=device)
            layers = flattened(network.group(name))
            made[name] = recorder_of(device)([partial(_call, layers, heard)])
    return made


def _call(layers: Layers, heard: dict[str, Tensor]) -> None:
    layers(heard)
