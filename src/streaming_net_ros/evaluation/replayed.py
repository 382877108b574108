"""A run computed again from its ledger and its recording, and held against what was recorded.

Owns answers as arrays and their comparison bit for bit. Knows bags and torch, no ROS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError, LedgerError
from streaming_net_ros.evaluation.bags import Recording, open_bag
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.frames.ledger import FrameLine, Line, RunHead
from streaming_net_ros.network import (
    ImageInput,
    OutputSpec,
    ReplayedResponse,
    StreamingNetwork,
    check_head,
    replay,
    run_head,
)
from streaming_net_ros.network.layout import to_payload
from streaming_net_ros.wire import read_stamp_ns

_TWIST = "geometry_msgs/msg/TwistStamped"


@dataclass(frozen=True)
class Answers:
    """The answers of one output in the order in which they left.

    Attributes:
        stamps_ns: (n,) capture stamps.
        values: (n, numbers) float64 fields of a twist, or the tensor's numbers.
    """

    stamps_ns: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True)
class Replayed:
    """What a ledger gives.

    Attributes:
        answers: by output; only those that left.
        frames: computed or repeated, of all groups.
        held: inputs that were stood in for.
        skipped: frames given up.
        kept_back: answers that an output's guard kept back.
    """

    answers: Mapping[str, Answers]
    frames: int
    held: int
    skipped: int
    kept_back: int


def replay_run(
    network: StreamingNetwork,
    head: RunHead,
    lines: Sequence[Line],
    bags: Mapping[str, Recording],
    *,
    weights: Path | None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Replayed:
    """Compute a run again.

    Bit for bit only with the head's ``torch_threads``, which the caller sets.

    Args:
        network: all groups, in evaluation mode, with its weights (or the head's seed) and rollout.
        head: of the ledger.
        lines: of the ledger.
        bags: per image input the images that it was fed from.
        weights: file of the weights; None if they are drawn.
        on_frame: told of progress, in frames of groups.

    Raises:
        LedgerError: a damaged ledger, one of another run, or one that lacks a process.
        BagError: an image that is not in the recording.
    """
    grid = FrameGrid(head.rate_hz)
    own = run_head(network.spec, network.rollout, grid, head.mode, weights=weights, seed=head.seed)
    check_head(head, own)
    given: dict[str, list[tuple[int, NDArray[Any]]]] = {name: [] for name in network.spec.outputs}
    frame_lines = [line for line in lines if isinstance(line, FrameLine)]
    total = sum(line.is_finite for line in frame_lines)
    kept_back = frames = 0
    for done in replay(network, lines, _pictures(bags), head):
        if isinstance(done, ReplayedResponse):
            kept_back += not done.line.has_left
            if done.line.has_left:
                output, state = done.line.output, done.state
                values = published(network.spec.outputs[output], state.batch)
                given[output].append((state.captured_ns, values))
        else:
            frames += 1
            on_frame(frames, total)
    return Replayed(
        {name: _stacked(answers) for name, answers in given.items()},
        frames,
        sum(len(line.held) for line in frame_lines),
        sum(line.skipped for line in frame_lines),
        kept_back,
    )


def published(spec: OutputSpec, batch: torch.Tensor) -> NDArray[Any]:
    """The numbers that a response carries: a twist's fields in their order, or the payload."""
    payload = to_payload(batch.cpu()).numpy()
    if spec.publish == "tensor":
        return payload
    least, greatest = spec.limits or (-np.inf, np.inf)
    chosen = [min(max(float(payload[e]), least), greatest) for e in spec.fields.values()]
    return np.array(chosen, dtype=np.float64)


def recorded_answers(path: Path, output: str, spec: OutputSpec) -> Answers:
    """What ``run --record`` wrote of an output, safe commands among them.

    Raises:
        BagError: the output is not in the recording, or not as the network publishes it.
    """
    kind = "sensor_msgs/msg/Image" if spec.publish == "tensor" else _TWIST
    with open_bag(path) as bag:
        topics = [topic for topic in bag.topics if topic.endswith(f"/response/{output}")]
        if len(topics) != 1 or bag.topics[topics[0]] != kind:
            raise BagError(
                f"no responses of output '{output}'",
                where=str(path),
                expected=f"one topic .../response/{output} of {kind}",
                got=", ".join(f"{topic} ({bag.topics[topic]})" for topic in topics) or None,
            )
        found = [
            (read_stamp_ns(message.header.stamp), _numbers(message, spec))
            for _, message in bag.messages(topics[0])
        ]
    if len({values.shape for _, values in found}) > 1:
        raise BagError(
            "responses of several sizes", where=f"{path}: {topics[0]}", expected="one size"
        )
    return _stacked(found)


def safe_values(spec: OutputSpec) -> NDArray[np.float64] | None:
    """An output's safe command, its fields in the order of answers; None if it has none."""
    if spec.safe is None:
        return None
    return np.array([spec.safe[name] for name in spec.fields], dtype=np.float64)


def first_difference(
    computed: Answers, recorded: Answers, safe: NDArray[np.float64] | None = None
) -> str | None:
    """Where two runs of answers differ first, in words; None if they are equal bit for bit.

    Args:
        computed: the answers.
        recorded: the same, and among them safe commands, which no group has computed.
        safe: the output's safe command. What equals it, and is not stamped like the next answer,
            is one.
    """
    number = 0
    for stamp_ns, values in zip(recorded.stamps_ns, recorded.values, strict=True):
        is_next = number < len(computed.stamps_ns) and computed.stamps_ns[number] == stamp_ns
        if not is_next and safe is not None and np.array_equal(values, safe):
            continue
        if number < len(computed.stamps_ns):
            if not is_next:
                ours = computed.stamps_ns[number]
                return f"answer {number} is stamped {ours} ns, recorded {stamp_ns} ns"
            if computed.values[number].tobytes() != values.tobytes():
                return f"answer {number}: {computed.values[number]}, recorded {values}"
        number += 1
    if number != len(computed.stamps_ns):
        return f"{len(computed.stamps_ns)} answers, recorded {number}"
    return None


def image_recordings(
    network: StreamingNetwork, bag: Path, image_topic: str | None
) -> dict[str, Recording]:
    """The images of a recording for the network's camera.

    Raises:
        BagError: no such topic.
        LedgerError: the network has several cameras.
    """
    cameras = {n: g for n, g in network.spec.inputs.items() if isinstance(g, ImageInput)}
    if len(cameras) > 1:
        raise LedgerError(
            "a network with several cameras cannot be replayed from one topic",
            where=network.spec.name,
            got=list(cameras),
        )
    with open_bag(bag) as opened:
        return {
            name: opened.images(image_topic, given.colour, given.height, given.width)
            for name, given in cameras.items()
        }


def _pictures(bags: Mapping[str, Recording]) -> Callable[[str, int], torch.Tensor]:
    places = {
        name: {int(stamp): place for place, stamp in enumerate(bag.captured_ns)}
        for name, bag in bags.items()
    }

    def picture(name: str, captured_ns: int) -> torch.Tensor:
        place = places[name].get(captured_ns)
        if place is None:
            raise BagError(
                "an image of the run is not in the recording",
                where=bags[name].name,
                expected=f"an image of '{name}' stamped {captured_ns} ns",
                remedy="give the recording that was streamed",
            )
        return torch.from_numpy(bags[name].images[place])[None]

    return picture


def _stacked(answers: Sequence[tuple[int, NDArray[Any]]]) -> Answers:
    stamps = np.array([stamp for stamp, _ in answers], dtype=np.int64)
    values = np.stack([v for _, v in answers]) if answers else np.empty((0, 0))
    return Answers(stamps, values)


def _numbers(message: Any, spec: OutputSpec) -> NDArray[Any]:
    """The numbers of a recorded response, as ``published`` gives them."""
    if spec.publish == "tensor":
        dtype = np.dtype(np.float16 if message.encoding.startswith("16FC") else np.float32)
        return np.frombuffer(message.data, dtype, len(message.data) // dtype.itemsize)
    return np.array([_field(message.twist, name) for name in spec.fields], dtype=np.float64)


def _field(twist: Any, name: str) -> float:
    part, axis = name.split(".")
    return float(getattr(getattr(twist, part), axis))
