"""States as pictures: tiles of channels, mean or max over channels, three as colours, histograms.

Pure functions from arrays to rgb(a) arrays and PNG bytes; small ones, because the browser enlarges
them without smoothing. Knows neither ROS nor NiceGUI. What is asked for is an `Options`, which
checks itself: it may come from a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ParameterError

KINDS = ("tiles", "mean", "max", "rgb", "histogram", "bars", "camera")
COLOURS = ("viridis", "magma", "gray", "RdBu_r", "turbo")
MOST_TILES = 64
_GAP = 2
_BRIGHT = 99.5  # percentile that the colours reach to, where no range is given
_BINS = 48  # of a histogram
_TILE = 48  # pixels: smaller maps are enlarged to about this
_PLOT = (240, 480)  # rows, columns of a histogram or of bars
_INK = (120, 150, 175)  # reads on light and on dark
_ACCENT = (38, 166, 154)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Options:
    """How a state is to be drawn.

    Attributes:
        kind: one of `KINDS`; ``auto`` fits the state.
        channels: which; empty: all, at most `MOST_TILES` (three for ``rgb``).
        colours: one of `COLOURS`.
        low, high: the values that the ends of the colours mean; None: those of each picture, the
            highest half percent left out.

    Raises:
        ParameterError: a value that is not allowed.
    """

    kind: str = "auto"
    channels: tuple[int, ...] = ()
    colours: str = "viridis"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _choose("as", self.kind, ("auto", *KINDS))
        _choose("colours", self.colours, COLOURS)
        if len(self.channels) > MOST_TILES or any(not 0 <= c < 1 << 24 for c in self.channels):
            raise ParameterError(
                "not channels", where="channels", expected=f"at most {MOST_TILES} numbers from 0"
            )
        ends = (self.low, self.high)
        if (self.low is None) != (self.high is None) or any(
            end is not None and not math.isfinite(end) for end in ends
        ):
            raise ParameterError("not a range", where="low, high", expected="both, and finite")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ParameterError("not a range", where="low, high", expected="low < high", got=ends)

    def query(self) -> str:
        """As the query of a request."""
        said = {"as": self.kind, "colours": self.colours}
        if self.channels:
            said["channels"] = ",".join(map(str, self.channels))
        if self.low is not None:
            said |= {"low": f"{self.low:g}", "high": f"{self.high:g}"}
        return "&".join(f"{key}={value}" for key, value in said.items())


def parse_options(given: Mapping[str, str]) -> Options:
    """The options in a request's query.

    Raises:
        ParameterError: an unknown key, or a value that is not allowed.
    """
    unknown = set(given) - {"as", "channels", "colours", "low", "high"}
    if unknown:
        raise ParameterError("unknown key", where="query", got=sorted(unknown)[0])
    try:
        channels = parse_channels(given.get("channels", ""))
        ends = [float(given[key]) if key in given else None for key in ("low", "high")]
    except ValueError:
        raise ParameterError("not a number", where="query", got=dict(given)) from None
    return Options(
        given.get("as", "auto"), channels, given.get("colours", "viridis"), ends[0], ends[1]
    )


def parse_channels(text: str) -> tuple[int, ...]:
    """``0-3,7`` as numbers.

    Raises:
        ParameterError: not such a text, or too many.
    """
    found: list[int] = []
    for part in filter(None, text.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and first.isascii() and (not dash or last.isdecimal())):
            raise ParameterError(
                "not channels", where="channels", expected="for example 0-3,7", got=text
            )
        begin, end = int(first), int(last or first)
        if end - begin >= MOST_TILES or len(found) > MOST_TILES:
            raise ParameterError(
                "too many channels", where="channels", expected=f"at most {MOST_TILES}", got=text
            )
        found.extend(range(begin, end + 1))
    return tuple(found)


def kind_of(shape: Sequence[int], kind: str = "auto") -> str:
    """How a state of this shape is drawn: what was asked for, if that is possible for it."""
    if len(shape) != 3:
        return kind if kind in ("bars", "histogram") else "bars"
    if kind == "auto":
        return "camera" if shape[0] in (1, 3) else "tiles"
    return "tiles" if kind == "bars" else kind


def draw(values: NDArray[Any], options: Options) -> Pixels:
    """A state as pixels.

    Args:
        values: (channels, height, width) or (features,).
        options: how.

    Returns:
        (rows, columns, 4) rgba; transparent where nothing is drawn.

    Raises:
        ParameterError: a channel that the state does not have.
    """
    # In double precision no difference of two single numbers overflows.
    numbers = np.nan_to_num(np.asarray(values, np.float64), posinf=3e38, neginf=-3e38)
    kind = kind_of(numbers.shape, options.kind)
    chosen = [c for c in options.channels if c >= numbers.shape[0]]
    if chosen:
        raise ParameterError(
            "no such channel",
            where="channels",
            expected=f"below {numbers.shape[0]}",
            got=chosen[0],
        )
    if options.channels:
        numbers = numbers[list(options.channels)]
    if kind == "histogram":
        return _histogram(numbers, options)
    if kind == "bars":
        return _bars(numbers, options)
    if kind == "camera":
        return _camera(numbers, options)
    if kind == "rgb":
        return _rgb(numbers, options)
    if kind in ("mean", "max"):
        flat = numbers.mean(0) if kind == "mean" else numbers.max(0)
        return _coloured(_scaled(flat, options), options)
    return _tiles(numbers[:MOST_TILES], options)


def png(pixels: Pixels) -> bytes:
    """Pixels as a PNG file."""
    kind = cv2.COLOR_RGBA2BGRA
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, kind), fast)[1])


def span(values: NDArray[Any]) -> tuple[float, float]:
    """Least and greatest finite number; (0, 0) if there is none."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _choose(where: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ParameterError(
            "value not allowed", where=where, expected="one of " + ", ".join(choices), got=value
        )


def _ends(numbers: NDArray[Any], options: Options) -> tuple[float, float]:
    if options.low is not None and options.high is not None:
        return options.low, options.high
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    if options.colours == "RdBu_r":  # its middle means zero
        high = max(abs(low), abs(high))
        low = -high
    return low, high


def _bright_ends(numbers: NDArray[Any], options: Options) -> tuple[float, float]:
    """The ends of the colours: a few numbers far above all others do not darken the rest."""
    low, high = _ends(numbers, options)
    if options.low is None and numbers.size:
        size = np.abs(numbers) if options.colours == "RdBu_r" else numbers
        bright = float(np.percentile(size, _BRIGHT))
        if options.colours == "RdBu_r" and bright > 0:
            return -bright, bright
        high = bright if bright > low else high
    return low, high


def _scaled(numbers: NDArray[Any], options: Options) -> Pixels:
    """To 0 .. 255."""
    low, high = _bright_ends(numbers, options)
    if high <= low:
        return np.zeros(numbers.shape, np.uint8)
    shares = (numbers.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(shares, 0, 255).astype(np.uint8)


@cache
def _table(colours: str) -> Pixels:
    """(256, 4) rgba of a colour map."""
    ramp = matplotlib.colormaps[colours](np.arange(256), bytes=True)
    return np.asarray(ramp, np.uint8)


def _coloured(shares: Pixels, options: Options) -> Pixels:
    return np.asarray(_table(options.colours)[shares], np.uint8)


def _tiles(numbers: NDArray[Any], options: Options) -> Pixels:
    """Channels beside each other, in about a square; all on one scale."""
    channels, height, width = numbers.shape
    larger = max(1, _TILE // max(height, width))  # a gap of a pixel is then a thin line
    height, width = height * larger, width * larger
    columns = max(1, math.ceil(math.sqrt(channels * (height + _GAP) / (width + _GAP))))
    columns = min(columns, channels)
    rows = math.ceil(channels / columns)
    page = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 4), np.uint8)
    tiles = _coloured(_scaled(numbers, options), options)
    tiles = tiles.repeat(larger, 1).repeat(larger, 2)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        page[top : top + height, left : left + width] = tile
    return page


def _camera(numbers: NDArray[Any], options: Options) -> Pixels:
    """An image as it was fed: numbers of 0 to 255."""
    if numbers.shape[0] not in (1, 3):
        return _rgb(numbers, options)
    plane = np.clip(numbers, 0, 255).astype(np.uint8)
    three = np.repeat(plane, 3, 0) if plane.shape[0] == 1 else plane
    return _opaque(three.transpose(1, 2, 0))


def _rgb(numbers: NDArray[Any], options: Options) -> Pixels:
    """The first three channels, each on its own scale unless one is given."""
    three = np.zeros((3, *numbers.shape[1:]), np.uint8)
    for number, plane in enumerate(numbers[:3]):
        three[number] = _scaled(plane, options)
    return _opaque(three.transpose(1, 2, 0))


def _opaque(pixels: NDArray[Any]) -> Pixels:
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return np.ascontiguousarray(np.concatenate([pixels, alpha], 2))


def _histogram(numbers: NDArray[Any], options: Options) -> Pixels:
    """How often which value occurs; zero has a line."""
    low, high = _ends(numbers, options)
    if high - low <= abs(high) * 1e-9:
        low, high = low - 1 - abs(low), high + 1 + abs(high)
    inside = numbers[(numbers >= low) & (numbers <= high)]
    places = np.minimum((inside - low) / (high - low) * _BINS, _BINS - 1).astype(int)
    counts = np.bincount(places, minlength=_BINS)
    # A logarithm: after a ReLU half of all numbers are zero, and would hide all others.
    heights = np.log1p(counts) / max(1e-9, float(np.log1p(counts).max()))
    return _columns(heights, np.zeros(len(heights)), zero=(0 - low) / (high - low))


def _bars(numbers: NDArray[Any], options: Options) -> Pixels:
    """A vector: a bar for each number, from zero."""
    flat = numbers.reshape(-1)[:1024]
    low, high = _ends(flat, options)
    low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        high = low + 1
    zero = (0 - low) / (high - low)
    tops = np.clip((flat - low) / (high - low), 0, 1)
    return _columns(tops, np.full(len(flat), zero), level=zero)


def _columns(
    ends: NDArray[Any],
    begins: NDArray[Any],
    *,
    zero: float | None = None,
    level: float | None = None,
) -> Pixels:
    """Upright bars from ``begins`` to ``ends`` (shares of the height), and lines at zero."""
    rows, columns = _PLOT
    page = np.zeros((rows, columns, 4), np.uint8)
    edges = np.linspace(0, columns, len(ends) + 1).round().astype(int)
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        low, high = sorted((float(begin), float(end)))
        top, bottom = round((1 - high) * rows), round((1 - low) * rows)
        gap = 1 if edges[number + 1] - edges[number] > 3 else 0
        page[top : max(bottom, top + 1), edges[number] : edges[number + 1] - gap] = (*_ACCENT, 255)
    if zero is not None and 0 <= zero <= 1:
        at = min(columns - 1, round(zero * columns))
        page[:, at : at + 1] = (*_INK, 255)
    if level is not None:
        at = min(rows - 1, round((1 - level) * rows))
        page[at : at + 1] = (*_INK, 255)
    return page
