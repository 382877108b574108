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
from streaming_net_ros.frames import AnswerLine, FrameGrid, read_ledger
from streaming_net_ros.network import (
    ImageInput,
    OutputSpec,
    StampedState,
    StreamingNetwork,
    check_head,
    replay,
    run_head,
)
from streaming_net_ros.network.layout import to_payload
from streaming_net_ros.wire import read_stamp_ns


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
    ledgers: Sequence[Path],
    bags: Mapping[str, Recording],
    *,
    weights: Path | None,
    seed: int = 0,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Replayed:
    """Compute a run again.

    Args:
        network: all groups, in evaluation mode, with its weights and rollout.
        ledgers: one for each host.
        bags: per image input the images that it was fed from.
        weights: file of the weights; None if they are drawn.
        seed: that they were drawn with.
        on_frame: told of progress.

    Raises:
        LedgerError: a damaged ledger, one of another run, or one that lacks a process.
        BagError: an image that is not in the recording.
    """
    head, lines = read_ledger(ledgers)
    grid = FrameGrid(head.rate_hz)
    own = run_head(network.spec, network.rollout, grid, "realtime", weights=weights, seed=seed)
    check_head(head, own)
    newest: dict[str, StampedState] = {}
    given: dict[str, list[tuple[int, NDArray[Any]]]] = {name: [] for name in network.spec.outputs}
    kept_back = frames = 0
    for done in replay(network, lines, _pictures(bags)):
        if isinstance(done, AnswerLine):
            spec = network.spec.outputs[done.output]
            kept_back += not done.has_left
            if done.has_left:
                state = newest[spec.group]
                given[done.output].append((state.captured_ns, published(spec, state.batch)))
        else:
            newest[done.group] = done.state
            frames += 1
            on_frame(frames, len(lines))
    return Replayed(
        {name: _stacked(answers) for name, answers in given.items()},
        frames,
        sum(len(getattr(line, "held", ())) for line in lines),
        sum(getattr(line, "skipped", 0) for line in lines),
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
    """What ``run --record`` wrote of an output; safe commands are left out.

    Raises:
        BagError: the output is not in the recording.
    """
    with open_bag(path) as bag:
        topics = [topic for topic in bag.topics if topic.endswith(f"/response/{output}")]
        if len(topics) != 1:
            raise BagError(f"no responses of output '{output}'", where=str(path))
        found = []
        for _, message in bag.messages(topics[0]):
            if spec.publish == "tensor":
                values = np.frombuffer(message.data, np.uint8).view(_dtype(message.encoding))
            else:
                values = np.array([_field(message.twist, name) for name in spec.fields])
                if spec.safe is not None and values.tolist() == _in_order(spec, spec.safe):
                    continue
            found.append((read_stamp_ns(message.header.stamp), values))
    return _stacked(found)


def first_difference(computed: Answers, recorded: Answers) -> str | None:
    """Where two runs of answers differ first, in words; None if they are equal bit for bit."""
    pairs = zip(computed.stamps_ns, recorded.stamps_ns, strict=False)
    for number, (ours, theirs) in enumerate(pairs):
        if ours != theirs:
            return f"answer {number} is stamped {ours} ns, recorded {theirs} ns"
        if computed.values[number].tobytes() != recorded.values[number].tobytes():
            return (
                f"answer {number}: {computed.values[number]}, recorded {recorded.values[number]}"
            )
    if len(computed.stamps_ns) != len(recorded.stamps_ns):
        return f"{len(computed.stamps_ns)} answers, recorded {len(recorded.stamps_ns)}"
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


def _in_order(spec: OutputSpec, command: Mapping[str, float]) -> list[float]:
    return [float(command[name]) for name in spec.fields]


def _field(twist: Any, name: str) -> float:
    part, axis = name.split(".")
    return float(getattr(getattr(twist, part), axis))


def _dtype(encoding: str) -> type[np.generic]:
    return np.float16 if encoding.startswith("16FC") else np.float32
