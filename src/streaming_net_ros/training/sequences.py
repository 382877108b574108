"""Sequences of frames out of clips: windows of recordings, tracks, repeated stills, switches.

A sequence is nothing but a row of picture numbers, one per frame: a still shown eight times is
one number eight times, a window of a recording is consecutive numbers, and a stimulus that
switches goes on with the numbers of another clip. Targets follow the pictures by themselves.

Every batch is a pure function of the seed and its number, so that a training that is resumed sees
what it would have seen. Imported by ``trainer`` and by whoever judges a network on clips.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training.augmentation import Augmentation, Change
from streaming_net_ros.training.clips import Clips

_TRAINING, _TILES, _ORDER, _NOISE = range(4)  # kinds of draws, so that none repeats another


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers that depend on some numbers (seed, batch, ...) alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(seed & (2**63 - 1))


class Batch:
    """Sequences side by side; pictures are put together when they are asked for.

    Args:
        clips: where they come from.
        world: (pictures, batch) picture numbers, as the world shows them one after the other.
        stride: of these pictures, each ``stride``-th one is a frame; the last frame is followed
            by ``stride`` more, during which the world goes on.
        change: of each sequence.
        key: numbers that the noise depends on.
    """

    def __init__(self, clips: Clips, world: Tensor, stride: int, change: Change,
                 key: tuple[int, ...]) -> None:  # fmt: skip
        self.clips = clips
        self.world = world
        self.rows = world[:-1:stride]  # (frames, batch)
        self._change = change
        self._key = key

    @property
    def frames(self) -> int:
        """Length of the sequences."""
        return len(self.rows)

    def __len__(self) -> int:
        return self.rows.shape[1]

    def images(self, first: int = 0, last: int | None = None) -> Tensor:
        """Pictures of frames ``first`` up to, not including, ``last``.

        Returns:
            (last - first, batch, channels, height, width) uint8, on the clips' device. The noise
            depends on where a part begins: ask for the same parts to get the same pictures.
        """
        device = self.clips.images.device
        images = self.clips.images[self.rows[first:last].to(device)]
        return self._change.apply(images, generator(*self._key, _NOISE, first, device=device))

    def targets(self, name: str, first: int = 0, last: int | None = None) -> Tensor:
        """What was right at the pictures of frames ``first`` up to, not including, ``last``.

        Returns:
            (last - first, batch) int64 for classes, (last - first, batch, fields) float32 else.
        """
        target = self.clips.targets[name]
        chosen = target[self.rows[first:last].to(target.device)]
        if name in self.clips.classes or not self._change.mirrored.any():
            return chosen
        signs = self.clips.signs(name).to(target.device)
        return torch.where(
            self._change.mirrored.to(target.device)[:, None], chosen * signs, chosen
        )


class Sequences:
    """All sequences of a number of frames in some clips.

    Args:
        clips: on the device where pictures are to be put together.
        frames: length of a sequence.
        augmentation: what is changed; nothing by default.
        hold: a clip shorter than a sequence goes on with its last picture; else it is left out.
        stride: pictures from one frame to the next: above 1 for a network that is too slow for
            the camera.
        switch: (first, last) picture of a random one at which each sequence goes on with another
            clip; None for no switch.

    Raises:
        DataError: no clip is as long as a sequence.
        ParameterError: frames or a switch that cannot be.
    """

    def __init__(
        self,
        clips: Clips,
        frames: int,
        augmentation: Augmentation | None = None,
        *,
        hold: bool = False,
        stride: int = 1,
        switch: tuple[int, int] | None = None,
    ) -> None:
        if frames < 1:
            raise ParameterError("not a length", where="frames", expected="at least 1", got=frames)
        self._pictures = frames * stride + 1
        if switch is not None and not 1 <= switch[0] <= switch[1] < self._pictures:
            raise ParameterError(
                "no such pictures to switch at",
                where="switch",
                expected=f"[first, last] between 1 and {self._pictures - 1}",
                got=list(switch),
            )
        self.clips = clips
        self.frames = frames
        self.augmentation = augmentation or Augmentation()
        self.stride = stride
        self.switch = switch
        self._starts, self._ends, self._is_tile = _starts(
            clips.bounds, (frames - 1) * stride + 1, hold
        )
        if not len(self._starts):
            raise DataError(
                "no sequence fits into the data",
                where=clips.name,
                expected=f"at least {frames} frames without a gap",
                got=int(clips.frames.max()),
                remedy="take a longer part, fewer --responses, or another --validate",
            )
        self._order: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def batch(self, number: int, size: int, seed: int) -> Batch:
        """One of the batches of a training: each sequence once in random order, then all again.

        Args:
            number: of the batch, from 0.
            size: sequences in it.
            seed: of the draw and the changes.
        """
        places = range(number * size, (number + 1) * size)
        chosen = torch.stack([self._ordered(place, seed) for place in places])
        return self._batch(chosen, (seed, number, _TRAINING))

    def tiles(self, size: int, seed: int = 0) -> Iterator[Batch]:
        """Sequences that do not overlap, in order, in batches: to judge on."""
        tiles = torch.nonzero(self._is_tile)[:, 0]
        for number, chosen in enumerate(torch.split(tiles, size)):
            yield self._batch(chosen, (seed, number, _TILES))

    def _ordered(self, place: int, seed: int) -> Tensor:
        """The sequence at a place in the endless random order."""
        epoch, within = divmod(place, len(self))
        if self._order is None or self._order[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator(seed, epoch, _ORDER))
            self._order = (seed, epoch), order
        return self._order[1][within]

    def _batch(self, chosen: Tensor, key: tuple[int, ...]) -> Batch:
        rng = generator(*key)
        world = self._shown(chosen, torch.zeros(len(chosen), dtype=torch.int64))
        change = self.augmentation.draw(len(chosen), rng)
        if self.switch is not None:
            first, last = self.switch
            at = torch.randint(first, last + 1, (len(chosen),), generator=rng)
            # Any sequence but the one that is on: a step of 1 to all but one around the ring.
            steps = torch.randint(1, max(2, len(self)), (len(chosen),), generator=rng)
            others = self._shown((chosen + steps) % len(self), at)
            world = torch.where(torch.arange(self._pictures)[:, None] < at, world, others)
        return Batch(self.clips, world, self.stride, change, key)

    def _shown(self, chosen: Tensor, begin: Tensor) -> Tensor:
        """(pictures, batch) numbers; each sequence's first picture stands at ``begin``."""
        pictures = (torch.arange(self._pictures)[:, None] - begin).clamp(min=0)
        return torch.minimum(self._starts[chosen] + pictures, self._ends[chosen] - 1)


def _starts(bounds: Tensor, pictures: int, hold: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of every sequence: its first picture, its clip's end, whether it is a tile."""
    starts, ends, is_tile = [], [], []
    for first, last in bounds.tolist():
        count = max(last - first - pictures + 1, 1 if hold else 0)
        starts.append(torch.arange(first, first + count))
        ends.append(torch.full((count,), last))
        is_tile.append(torch.arange(count) % pictures == 0)
    return torch.cat(starts), torch.cat(ends), torch.cat(is_tile)
