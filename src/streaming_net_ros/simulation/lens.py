"""What makes a picture worse than the scene: light, vignette, shutter and noise.

Owns the way from a clean picture to the one a cheap camera delivers. Everything is a pure
function of the lens, the time and the frame number, so that a frame looks the same whether or
not the frames before it were ever drawn. Knows no geometry; only ``world`` uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.simulation.checks import check_between, check_count

_SLOW_HZ = np.array([0.05, 0.11, 0.23])
_GREY = 100.0  # the level that contrast turns about


@dataclass(frozen=True)
class LensNoise:
    """Light and camera faults; zeros everywhere make a perfect camera.

    Attributes:
        seed: of the drifts and the noise.
        brightness_drift: largest relative change of brightness over time.
        contrast_drift: largest relative change of contrast over time.
        tint_drift: largest relative change of one colour over time.
        vignette: relative loss of light in the corners.
        noise_std: deviation of the pixel noise, in grey levels of 0..255.
        exposure_s: how long the shutter is open; what moves is blurred.
    """

    seed: int = 0
    brightness_drift: float = 0.25
    contrast_drift: float = 0.2
    tint_drift: float = 0.06
    vignette: float = 0.35
    noise_std: float = 4.0
    exposure_s: float = 0.02

    def __post_init__(self) -> None:
        check_count("lens", "seed", self.seed, 0)
        for name in ("brightness_drift", "contrast_drift", "tint_drift", "vignette"):
            check_between("lens", name, getattr(self, name), 0.0, 0.9)
        check_between("lens", "noise_std", self.noise_std, 0.0, 100.0)
        check_between("lens", "exposure_s", self.exposure_s, 0.0, 1.0)

    def develop(self, clean: NDArray[np.uint8], time_s: float, frame: int) -> NDArray[np.uint8]:
        """The picture as the camera delivers it, same shape and type as ``clean``.

        Args:
            clean: (height, width, 3), uint8, RGB.
            time_s: of the drive; sets the light.
            frame: number of the picture; sets the noise.
        """
        brightness, contrast, *tint = self._light(time_s)
        gain = 1.0 + self.brightness_drift * brightness
        stretch = 1.0 + self.contrast_drift * contrast
        colours = gain * (1.0 + self.tint_drift * np.array(tint))
        scales = np.array([*(stretch * colours), 0.0])
        lifts = np.array([*((1.0 - stretch) * _GREY * colours), 0.0])
        lit = cv2.add(cv2.multiply(clean.astype(np.float32), scales), lifts)
        shaded = cv2.multiply(lit, _vignette(clean.shape[1], clean.shape[0], self.vignette))
        picture = np.asarray(shaded, dtype=np.float32)
        if self.noise_std > 0:
            rng = np.random.Generator(np.random.SFC64([self.seed, frame]))
            picture += self.noise_std * rng.standard_normal(clean.shape, dtype=np.float32)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _light(self, time_s: float) -> NDArray[np.float64]:
        """Five slow waves in [-1, 1]: brightness, contrast, red, green, blue."""
        phases, weights = _waves(self.seed)
        waves = np.sin(2 * math.pi * _SLOW_HZ * time_s + phases)
        return np.asarray((weights * waves).sum(axis=1))


@lru_cache(maxsize=64)
def _waves(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases and weights, (5, 3) each; the weights of a row add up to 1."""
    rng = np.random.default_rng([seed, 4])
    weights = rng.uniform(0.2, 1.0, (5, len(_SLOW_HZ)))
    phases = rng.uniform(0.0, 2 * math.pi, (5, len(_SLOW_HZ)))
    return phases, weights / weights.sum(axis=1, keepdims=True)


@lru_cache(maxsize=16)
def _vignette(width: int, height: int, strength: float) -> NDArray[np.float32]:
    """Share of the light that arrives, (height, width, 3); 1 - strength in the corners."""
    x = np.linspace(-1.0, 1.0, width)[None, :]
    y = np.linspace(-1.0, 1.0, height)[:, None]
    share = 1.0 - strength * (x**2 + y**2) / 2
    return np.repeat(share[..., None], 3, axis=2).astype(np.float32)
