"""Windows of consecutive frames out of recordings, with what was right at each image.

Owns the cutting (a window never crosses a gap in a recording, nor two recordings), the seeded
draw of batches, and the changes of pictures that make a small recording go further. Knows numpy
and the recordings of ``evaluation``. ``trainer`` and the command line import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation import Recording, align, open_bag
from streaming_net_ros.network import ImageInput

GAP_PERIODS = 1.5
# Fields that change sign in a mirror whose left is right (REP 103: y left, angles about x and z).
MIRRORED_FIELDS = ("linear.y", "angular.x", "angular.z")


@dataclass(frozen=True)
class Segment:
    """Consecutive frames without a gap.

    Attributes:
        captured_ns: (frames,) int64.
        images: (frames, channels, height, width) uint8.
        targets: (frames, fields) float32, what was right at each image's capture; NaN if unknown.
        name: of the recording, for messages.
    """

    captured_ns: NDArray[np.int64]
    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    name: str = ""

    def __len__(self) -> int:
        return len(self.captured_ns)

    def part(self, first: int, last: int) -> Segment:
        """Frames ``first`` up to, not including, ``last``."""
        chosen = slice(first, last)
        return Segment(
            self.captured_ns[chosen], self.images[chosen], self.targets[chosen], self.name
        )


@dataclass(frozen=True)
class Batch:
    """Windows side by side.

    Attributes:
        images: (time, batch, channels, height, width) uint8.
        targets: (time, batch, fields) float32: at t, what was right at image t's capture.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def targets_of_responses(self, first_frames: int) -> NDArray[np.float32]:
        """Per frame from the first response on, the target of the newest image inside it.

        The newest image inside the response of frame t is image t - first_frames, so these are
        the targets of the images from 0 on: (time - first_frames, batch, fields).
        """
        return self.targets[: len(self.targets) - first_frames]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a window, the same for all of its frames but for the noise.

    Attributes:
        mirror: exchange left and right in half of the windows, with the fields that have a side.
        brightness: largest shift, as a share of the full range.
        contrast: largest change of the factor about the picture's middle grey.
        noise: standard deviation, as a share of the full range, drawn anew in every pixel.
    """

    mirror: bool = False
    brightness: float = 0.15
    contrast: float = 0.25
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "noise"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(
                    "out of its range",
                    where=f"augmentation.{name}",
                    expected="0 to 1",
                    got=getattr(self, name),
                )


def read_segments(
    path: Path,
    given: ImageInput,
    topic: str,
    fields: Sequence[str],
    *,
    image_topic: str | None = None,
    part: slice = slice(None),
    lag_ns: int = 0,
) -> list[Segment]:
    """Images of a bag, with the fields of another topic as targets.

    Args:
        path: the bag.
        given: the network's input that the images are for.
        topic: of the targets.
        fields: of its messages.
        image_topic: None for the only one.
        part: which of the bag's images.
        lag_ns: how much later than an image its target is stamped.

    Raises:
        BagError: a bag, topic, field or image that is not there or broken; an empty part.
    """
    with open_bag(path) as bag:
        recording = bag.images(image_topic, given.colour, given.height, given.width)
        series = bag.series(topic, fields)
    # Commands hold until the next one: as near as either of the two topics is dense.
    periods = [
        np.median(np.diff(stamps)) if len(stamps) > 1 else 0
        for stamps in (recording.captured_ns, series.stamps_ns)
    ]
    recording = recording.part(part.start, part.stop)
    if len(recording.captured_ns) == 0:
        raise BagError("no frame in this part", where=str(path), got=f"{part.start}:{part.stop}")
    return segments_of(
        recording,
        align(series, recording.captured_ns, lag_ns=lag_ns, tolerance_ns=int(max(periods))),
    )


def segments_of(recording: Recording, targets: NDArray[np.float32]) -> list[Segment]:
    """Cut a recording at its gaps: where the next frame is more than 1.5 median periods away.

    Args:
        recording: the images.
        targets: (frames, fields), aligned to them.
    """
    steps = np.diff(recording.captured_ns)
    longest = GAP_PERIODS * np.median(steps) if len(steps) else 0
    gaps = np.flatnonzero(steps > longest)
    ends = [0, *(int(gap) + 1 for gap in gaps), len(recording.captured_ns)]
    whole = Segment(recording.captured_ns, recording.images, targets, recording.name)
    return [whole.part(first, last) for first, last in pairwise(ends)]


def split(segments: Sequence[Segment], share: float) -> tuple[list[Segment], list[Segment]]:
    """The first frames of a recording, and the last ones that training must not see.

    Args:
        segments: of one recording, in order.
        share: of the frames that are set aside, in [0, 1).

    Raises:
        ParameterError: the share is out of its range.
    """
    if not 0 <= share < 1:
        raise ParameterError("not a share", where="validate", expected="0 to 1", got=share)
    left = sum(map(len, segments)) - round(share * sum(map(len, segments)))
    first, last = [], []
    for segment in segments:
        cut = min(left, len(segment))
        left -= cut
        first.append(segment.part(0, cut))
        last.append(segment.part(cut, len(segment)))
    return [s for s in first if len(s)], [s for s in last if len(s)]


class Windows:
    """All windows of a number of frames in some segments.

    Args:
        segments: where windows are cut from.
        frames: length of a window.
        fields: names of the targets' fields, as the network's output has them.
        augmentation: what ``batches`` does to each window; None leaves it as it is.

    Raises:
        BagError: no segment is as long as a window, or no target is known.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        frames: int,
        fields: Sequence[str],
        augmentation: Augmentation | None = None,
    ) -> None:
        self.segments = tuple(segments)
        self.frames = frames
        self.fields = tuple(fields)
        self.augmentation = augmentation
        self._starts = [  # (segment, first frame), of every window
            (number, start)
            for number, segment in enumerate(self.segments)
            for start in range(len(segment) - frames + 1)
        ]
        if not self._starts:
            longest = max(map(len, self.segments), default=0)
            raise BagError(
                "no window fits into the recordings",
                expected=f"at least {frames} frames without a gap",
                got=longest,
                remedy="take a longer part, a shorter --window, or another --validate",
            )
        if all(np.isnan(segment.targets).any(axis=1).all() for segment in self.segments):
            raise BagError(
                "no image has a target near it",
                where=self.segments[0].name,
                remedy="are images and targets stamped by one clock?",
            )

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def target_scale(self) -> NDArray[np.float32]:
        """(fields,) standard deviation of the targets; 1 for a field that never changes."""
        targets = np.concatenate([segment.targets for segment in self.segments])
        deviation = np.nanstd(targets, axis=0)
        return np.where(deviation > 1e-6, deviation, 1).astype(np.float32)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Some windows side by side, as they are."""
        chosen = [self._starts[number] for number in numbers]
        parts = [self.segments[n].part(start, start + self.frames) for n, start in chosen]
        return Batch(
            np.stack([part.images for part in parts], axis=1),
            np.stack([part.targets for part in parts], axis=1),
        )

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Batches without end: every window once in random order, then all over again."""
        waiting: list[int] = []
        while True:
            while len(waiting) < size:
                waiting.extend(rng.permutation(len(self)).tolist())
            batch = self.batch(waiting[:size])
            del waiting[:size]
            yield (
                batch
                if self.augmentation is None
                else augmented(batch, self.fields, self.augmentation, rng)
            )

    def tiles(self, size: int) -> Iterator[Batch]:
        """Windows that do not overlap, in order, in batches: for validation."""
        numbers = [n for n, (_, start) in enumerate(self._starts) if start % self.frames == 0]
        for first in range(0, len(numbers), size):
            yield self.batch(numbers[first : first + size])


def mirrored(batch: Batch, fields: Sequence[str]) -> Batch:
    """Left and right exchanged, in the pictures and in the fields that have a side."""
    signs = np.array([-1 if field.endswith(MIRRORED_FIELDS) else 1 for field in fields])
    return Batch(batch.images[..., ::-1], batch.targets * signs.astype(np.float32))


def augmented(
    batch: Batch, fields: Sequence[str], how: Augmentation, rng: np.random.Generator
) -> Batch:
    """Each window changed at random; see ``Augmentation``."""
    count = batch.images.shape[1]
    if how.mirror:
        batch = _chosen(np.asarray(rng.random(count) < 0.5), mirrored(batch, fields), batch)
    factors = 1 + rng.uniform(-how.contrast, how.contrast, (count, 1, 1, 1))
    shifts = 128 + 255 * rng.uniform(-how.brightness, how.brightness, (count, 1, 1, 1))
    changed = batch.images.astype(np.float32)
    changed -= 128
    changed *= factors.astype(np.float32)
    changed += shifts.astype(np.float32)
    if how.noise:
        changed += 255 * how.noise * rng.standard_normal(changed.shape, dtype=np.float32)
    np.rint(changed, out=changed)
    return Batch(np.clip(changed, 0, 255).astype(np.uint8), batch.targets)


def _chosen(is_first: NDArray[np.bool_], first: Batch, second: Batch) -> Batch:
    """Window by window, that of one batch or of the other."""
    return Batch(
        np.where(is_first[:, None, None, None], first.images, second.images),
        np.where(is_first[:, None], first.targets, second.targets),
    )
