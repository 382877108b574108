"""Random changes of pictures: the same for all frames of a sequence, but for the noise.

A camera that is mounted a little differently stays so from frame to frame; its noise does not. So
every change is drawn once per sequence, and noise anew in every pixel of every frame. What comes
out is 8-bit again: what a camera would deliver, and what travels to the layer groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from streaming_net_ros.network import Frozen


class Augmentation(Frozen):
    """How much is changed.

    Attributes:
        mirror: exchange left and right in half of the sequences, with the fields that have a side.
        shift: largest move of the picture, in pixels, up, down and sideways.
        brightness: largest shift of the grey, as a share of the full range.
        contrast: largest change of the factor about the picture's middle grey.
        noise: standard deviation of Gaussian noise, as a share of the full range; the sum is
            clipped to the range.
    """

    mirror: bool = False
    shift: Annotated[int, Field(strict=True, ge=0, le=1024)] = 0
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=1000)] = 0.0

    @property
    def of_the_camera(self) -> Augmentation:
        """What stays when a network is judged: the noise."""
        return Augmentation(noise=self.noise)

    def draw(self, count: int, rng: torch.Generator) -> Change:
        """The changes of some sequences.

        Args:
            count: how many sequences.
            rng: a generator on the CPU.
        """

        def between(limit: float) -> Tensor:
            return (2 * torch.rand(count, generator=rng) - 1) * limit

        mirrored = torch.rand(count, generator=rng) < (0.5 if self.mirror else 0)
        moves = torch.randint(0, 2 * self.shift + 1, (count, 2), generator=rng) - self.shift
        factors = 1 + between(self.contrast)
        greys = 255 * between(self.brightness)
        return Change(mirrored, moves, factors, greys, self.noise)


@dataclass(frozen=True)
class Change:
    """What happens to each of some sequences side by side.

    Attributes:
        mirrored: (batch,) bool.
        moves: (batch, 2) int, pixels down and to the right.
        factors: (batch,) of the difference from middle grey.
        greys: (batch,) what is added, 0 to 255.
        noise: standard deviation, as a share of the full range.
    """

    mirrored: Tensor
    moves: Tensor
    factors: Tensor
    greys: Tensor
    noise: float

    def apply(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """The pictures changed.

        Args:
            images: (time, batch, channels, height, width) uint8.
            rng: draws the noise; on the images' device.

        Returns:
            Of the same shape, uint8, on the same device.
        """
        images = self._moved(images)
        is_grey_changed = bool((self.factors != 1).any() or (self.greys != 0).any())
        if not is_grey_changed and not self.noise:
            return images
        changed = images.to(torch.float32)
        if is_grey_changed:
            factors, greys = (
                v.to(images.device)[:, None, None, None] for v in (self.factors, self.greys)
            )
            changed.sub_(128).mul_(factors).add_(128 + greys)
        if self.noise:
            noise = torch.empty_like(changed).normal_(0, 255 * self.noise, generator=rng)
            changed.add_(noise)
        return changed.round_().clamp_(0, 255).to(torch.uint8)

    def _moved(self, images: Tensor) -> Tensor:
        if self.mirrored.any():
            is_mirrored = self.mirrored.to(images.device)[:, None, None, None]
            images = torch.where(is_mirrored, images.flip(-1), images)
        if not self.moves.any():
            return images
        height, width = images.shape[-2:]
        reach = int(self.moves.abs().max())
        padded = F.pad(images.flatten(0, 1).float(), (reach,) * 4, mode="replicate")
        padded = padded.to(torch.uint8).view(*images.shape[:2], *padded.shape[1:])
        return torch.stack(
            [
                padded[:, k, :, reach - down :, reach - right :][..., :height, :width]
                for k, (down, right) in enumerate(self.moves.tolist())
            ],
            dim=1,
        )
