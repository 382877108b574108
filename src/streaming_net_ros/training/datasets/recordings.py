"""Recordings: a camera's images out of bags, with fields of other topics as what was right.

A recording is cut where a frame is missing: no clip crosses a gap, nor two bags. Knows the bags
of ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation import Recording, align, open_bag
from streaming_net_ros.network import ImageInput
from streaming_net_ros.training.clips import Clips

GAP_PERIODS = 1.5


@dataclass(frozen=True)
class TopicFields:
    """Where a target stands in a bag, and what it is called in the network.

    Attributes:
        topic: of the messages.
        fields: dotted, in them.
        names: of the same fields in the network's output.
    """

    topic: str
    fields: tuple[str, ...]
    names: tuple[str, ...]


def read_recording(
    path: Path,
    given: ImageInput,
    targets: Mapping[str, TopicFields],
    *,
    image_topic: str | None = None,
    part: slice = slice(None),
    lag_ns: int = 0,
) -> Clips:
    """Images of a bag, with fields of other topics as targets.

    Args:
        path: the bag.
        given: the network's input that the images are for.
        targets: by the name of the network's output.
        image_topic: None for the only one.
        part: which of the bag's images.
        lag_ns: how much later than an image its target is stamped.

    Raises:
        BagError: a bag, topic, field or image that is not there or broken; an empty part; no
            image with a target near it.
    """
    with open_bag(path) as bag:
        recording = bag.images(image_topic, given.colour, given.height, given.width)
        series = {name: bag.series(t.topic, list(t.fields)) for name, t in targets.items()}
    periods = [
        _period_ns(recording.captured_ns),
        *(_period_ns(s.stamps_ns) for s in series.values()),
    ]
    recording = recording.part(part.start, part.stop)
    if len(recording.captured_ns) == 0:
        raise BagError("no frame in this part", where=str(path), got=f"{part.start}:{part.stop}")
    aligned = {
        # Commands hold until the next one: as near as either of the two topics is dense.
        name: align(s, recording.captured_ns, lag_ns=lag_ns, tolerance_ns=int(max(periods)))
        for name, s in series.items()
    }
    for name, values in aligned.items():
        if np.isnan(values).any(axis=1).all():
            raise BagError(
                "no image has a target near it",
                where=f"{path}: {targets[name].topic}",
                remedy="are images and targets stamped by one clock?",
            )
    return clips_of(recording, aligned, {name: t.names for name, t in targets.items()})


def clips_of(
    recording: Recording,
    targets: Mapping[str, NDArray[np.float32]],
    fields: Mapping[str, Sequence[str]],
) -> Clips:
    """A recording cut at its gaps: where the next frame is more than 1.5 median periods away.

    Args:
        recording: the images.
        targets: by output, (frames, fields), aligned to them.
        fields: by output, the names of its fields.
    """
    steps = np.diff(recording.captured_ns)
    longest = GAP_PERIODS * np.median(steps) if len(steps) else 0
    gaps = np.flatnonzero(steps > longest)
    ends = [0, *(int(gap) + 1 for gap in gaps), len(recording.captured_ns)]
    return Clips(
        torch.from_numpy(recording.images),
        {name: torch.from_numpy(values) for name, values in targets.items()},
        torch.tensor(list(pairwise(ends))),
        fields={name: tuple(names) for name, names in fields.items()},
        stamps_ns=torch.from_numpy(recording.captured_ns),
        name=recording.name,
    )


def _period_ns(stamps_ns: NDArray[np.int64]) -> float:
    return float(np.median(np.diff(stamps_ns))) if len(stamps_ns) > 1 else 0.0
