"""Saliency as a piece of a page: the newest image, heat over it, and the strip of all images.

Pure functions from an answer to pixels and text. Knows neither ROS nor NiceGUI; imported by the
saliency panel.
"""

from __future__ import annotations

import base64
from functools import cache
from html import escape
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.network import Saliency
from streaming_net_ros.viewer.pictures import png

STYLE = """
.sn-saliency { display: flex; flex-direction: column; gap: 10px; padding: 8px 0 4px; }
.sn-saliency .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
.sn-saliency figure { margin: 0; min-width: 0; }
.sn-saliency img { width: 100%; display: block; image-rendering: pixelated; border-radius: 4px;
  background: var(--well, #eceff1); }
.sn-saliency .pair img { max-height: 44vh; object-fit: contain; }
.sn-saliency figcaption { font: 11px var(--mono, ui-monospace, monospace);
  color: var(--pale, #6b7883); padding-top: 3px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.sn-saliency .strip { display: grid; gap: 6px; }
.sn-saliency .bar { height: 5px; border-radius: 3px; background: var(--well, #eceff1);
  margin-top: 4px; overflow: hidden; }
.sn-saliency .bar div { height: 100%; background: var(--accent, #26a69a); }
.sn-saliency .none { opacity: .4; }
"""


def saliency_html(found: Saliency, images: NDArray[Any], told: str) -> str:
    """The answer as HTML; every name in it is escaped.

    Args:
        found: the gradient.
        images: (images, channels, height, width) uint8, those that it is about.
        told: the question, in words.
    """
    heat = found.heat.numpy()
    camera = _address(_three(images[-1]))
    over = _address(heat_over(images[-1], heat[-1]))
    newest = found.frames[-1]
    after, number = found.response_frame - newest, f"{newest:,}".replace(",", " ")
    figures = "".join(
        _figure(_address(heat_over(image, warm)), frame - newest, share)
        for image, warm, frame, share in zip(images, heat, found.frames, found.shares, strict=True)
    )
    columns = f"grid-template-columns: repeat({len(images)}, minmax(0, 1fr))"
    return (
        f'<style>{STYLE}</style><div class="sn-saliency"><div class="pair">'
        f'<figure><img src="{camera}" alt="newest image"/>'
        f"<figcaption>newest image, frame {number}</figcaption></figure>"
        f'<figure><img src="{over}" alt="saliency"/>'
        f"<figcaption>{escape(told)} = {found.value:+.3f}, {after} frames later</figcaption>"
        f'</figure></div><div class="strip" style="{columns}">{figures}</div></div>'
    )


def heat_over(image: NDArray[Any], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """An image in grey with the heat laid over it, (height, width, 4) uint8.

    Args:
        image: (channels, height, width) uint8.
        heat: (height, width) from 0 to 1.
    """
    grey = image.astype(np.float32).mean(0)[..., None] * 0.75
    # A root: the strongest pixel is a hundred times the usual one, and would be all that is seen.
    strength = np.sqrt(np.clip(heat, 0, 1)).astype(np.float32)
    colour = _table()[(strength * 255).astype(np.uint8)].astype(np.float32)
    share = np.clip(1.25 * strength, 0, 0.92)[..., None]
    return _opaque(grey * (1 - share) + colour * share)


def _figure(address: str, offset: int, share: float) -> str:
    """One image of the strip: how long before the newest, and its share of the gradient."""
    name = "newest" if offset == 0 else f"{offset}"
    percent = f"{100 * share:.0f} %" if share >= 0.005 else "<1 %" if share > 0 else "none"
    kind = "" if share > 0 else ' class="none"'
    return (
        f'<figure{kind}><img src="{address}" alt="image {name}"/>'
        f'<div class="bar"><div style="width: {100 * share:.1f}%"></div></div>'
        f"<figcaption>{name}: {percent}</figcaption></figure>"
    )


def _three(image: NDArray[Any]) -> NDArray[np.uint8]:
    planes = np.repeat(image, 3, 0) if image.shape[0] == 1 else image
    return _opaque(planes.transpose(1, 2, 0))


def _opaque(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return np.ascontiguousarray(np.concatenate([pixels.astype(np.uint8), alpha], 2))


def _address(pixels: NDArray[np.uint8]) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


@cache
def _table() -> NDArray[np.uint8]:
    """(256, 3) colours of 0 to 1: dark, red, yellow."""
    ramp = matplotlib.colormaps["inferno"](np.arange(256), bytes=True)
    return np.asarray(ramp[:, :3], np.uint8)
