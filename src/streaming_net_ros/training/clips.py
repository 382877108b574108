"""Clips: pictures in the order in which they were taken, with what was right at each.

The one form in which the trainer takes data, whatever it was read from. A still picture is a clip
of one frame, a track of an approaching sign a clip of thirty, a recording without gaps a clip of
thousands. Knows torch; ``datasets`` reads files into clips, ``sequences`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from streaming_net_ros.errors import DataError

UNKNOWN_CLASS = -100  # torch's own ignore_index
# Fields that change sign in a mirror whose left is right (REP 103: y left, angles about x and z).
MIRRORED_FIELDS = ("linear.y", "angular.x", "angular.z")


@dataclass(frozen=True)
class Clips:
    """Pictures and targets, cut into clips.

    Attributes:
        images: (pictures, channels, height, width) uint8.
        targets: by name: (pictures,) int64 class numbers, ``UNKNOWN_CLASS`` where nobody knows;
            or (pictures, fields) float32, NaN where nobody knows.
        bounds: (clips, 2) int64, each clip's first picture and the one after its last.
        classes: by target, the names of its classes.
        fields: by target, the names of its columns.
        stamps_ns: (pictures,) int64, when each was taken; None if nobody knows.
        name: where they come from, for messages.

    Raises:
        DataError: parts that do not fit together.
    """

    images: Tensor
    targets: Mapping[str, Tensor]
    bounds: Tensor
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stamps_ns: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype is not torch.uint8 or self.images.dim() != 4:
            raise DataError(
                "not pictures",
                where=self.name,
                expected="(pictures, channels, height, width) uint8",
                got=f"{tuple(self.images.shape)} {self.images.dtype}",
            )
        for name, target in self.targets.items():
            if len(target) != len(self.images):
                raise DataError(
                    f"a '{name}' for each picture is needed",
                    where=self.name,
                    expected=f"{len(self.images)}",
                    got=len(target),
                )
            labels = target[target != UNKNOWN_CLASS] if name in self.classes else target[:0]
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(
                self.classes[name]
            ):
                raise DataError(
                    f"a '{name}' is no class",
                    where=self.name,
                    expected=f"0 to {len(self.classes[name]) - 1}",
                    got=f"{int(labels.min())} to {int(labels.max())}",
                )
        if not len(self.bounds) or not len(self.images):
            raise DataError("there is not one picture", where=self.name)

    @classmethod
    def of_stills(
        cls, images: Tensor, labels: Tensor, classes: Sequence[str], name: str, target: str
    ) -> Clips:
        """Pictures that have nothing to do with each other, each of one class."""
        first = torch.arange(len(images))
        return cls(
            images,
            {target: labels},
            torch.stack([first, first + 1], dim=1),
            classes={target: tuple(classes)},
            name=name,
        )

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def frames(self) -> Tensor:
        """(clips,) how many frames each clip has."""
        return self.bounds[:, 1] - self.bounds[:, 0]

    def chosen(self, clips: Tensor) -> Clips:
        """Some of the clips, by number; all pictures stay, whoever shows them."""
        return replace(self, bounds=self.bounds[clips])

    def images_of(self, clip: int) -> Tensor:
        """(frames, channels, height, width) the pictures of one clip."""
        first, last = self.bounds[clip].tolist()
        return self.images[first:last]

    def split(self, share: float) -> tuple[Clips | None, Clips | None]:
        """By time: the first frames, and the last share of all, which training must not see.

        Raises:
            DataError: the share is not in [0, 1].
        """
        if not 0 <= share <= 1:
            raise DataError("not a share", where="validate", expected="0 to 1", got=share)
        total = int(self.frames.sum())
        left = total - round(share * total)
        first, last = [], []
        for begin, end in self.bounds.tolist():
            cut = begin + min(left, end - begin)
            left -= cut - begin
            first += [(begin, cut)] if cut > begin else []
            last += [(cut, end)] if end > cut else []
        return self._with_bounds(first), self._with_bounds(last)

    def _with_bounds(self, bounds: list[tuple[int, int]]) -> Clips | None:
        return replace(self, bounds=torch.tensor(bounds)) if bounds else None

    def to(self, device: torch.device | str) -> Clips:
        """The same on another device."""
        return replace(
            self,
            images=self.images.to(device),
            targets={name: target.to(device) for name, target in self.targets.items()},
            bounds=self.bounds,
        )

    def signs(self, target: str) -> Tensor:
        """(fields,) what a mirror multiplies a target by: -1 for fields that point sideways."""
        names = self.fields.get(target, ())
        return torch.tensor([-1.0 if name.endswith(MIRRORED_FIELDS) else 1.0 for name in names])

    def deviation(self, target: str) -> Tensor:
        """(fields,) standard deviation of a target in these clips; 1 where it never changes."""
        rows = torch.cat([self.targets[target][b:e] for b, e in self.bounds.tolist()])
        known = ~rows.isnan()
        count = known.sum(0).clamp(min=1)
        mean = rows.nan_to_num().sum(0) / count
        spread = ((rows - mean).nan_to_num().square().sum(0) / count).sqrt()
        return torch.where(spread > 1e-6, spread, torch.ones_like(spread))


def joined(parts: Sequence[Clips]) -> Clips:
    """Clips of several sources as one; each clip stays whole.

    Raises:
        DataError: no parts, or parts with other targets, classes, or picture sizes.
    """
    if not parts:
        raise DataError("there is not one clip")
    one = parts[0]
    for part in parts[1:]:
        if (part.images.shape[1:], part.classes, part.fields, set(part.targets)) != (
            one.images.shape[1:],
            one.classes,
            one.fields,
            set(one.targets),
        ):
            raise DataError(
                "these data cannot be learnt together",
                where=f"{one.name} and {part.name}",
                expected="pictures of one size, with the same targets and classes",
                got=f"{tuple(one.images.shape[1:])} and {tuple(part.images.shape[1:])}",
            )
    stamps = [part.stamps_ns for part in parts if part.stamps_ns is not None]
    shift, bounds = 0, []
    for part in parts:
        bounds.append(part.bounds + shift)
        shift += len(part.images)
    return replace(
        one,
        images=torch.cat([part.images for part in parts]),
        targets={n: torch.cat([part.targets[n] for part in parts]) for n in one.targets},
        bounds=torch.cat(bounds),
        stamps_ns=None if len(stamps) < len(parts) else torch.cat(stamps),
    )
