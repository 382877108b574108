"""The demo's picture: early and full responses over the drive, beside camera frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streaming_net_ros.evaluation.bags import Recording, open_bag
from streaming_net_ros.evaluation.recorded import Judged

# Okabe and Ito's palette: told apart by colour-blind eyes too.
EXPERT, EARLY, FULL = "#000000", "#E69F00", "#0072B2"
_PICTURES = 6


def draw_demo(path: Path, name: str, drive: Path, image_topic: str, judged: Judged) -> None:
    """Write the picture.

    Args:
        path: a PNG or SVG file.
        name: the network's.
        drive: the recording that was streamed.
        image_topic: of it.
        judged: its responses beside the expert's commands; the first field is drawn.
    """
    with open_bag(drive) as bag:
        recording = bag.images(image_topic, "rgb", 120, 160)
    errors = judged.errors
    at = dict(zip(judged.stamps_ns.tolist(), judged.responses[:, 0].tolist(), strict=True))
    early = np.array([at.get(stamp, np.nan) for stamp in judged.captured_ns.tolist()])
    lag = errors.full_frames - errors.first_frames
    full = np.concatenate([early[lag:], np.full(lag, np.nan)])
    expert = judged.references[:, 0]

    figure = Figure(figsize=(11, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.9))
    top, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    chosen = np.linspace(0, len(recording.images) - 1 - lag, _PICTURES + 2).astype(int)[1:-1]
    for axes, number in zip(top.subplots(1, _PICTURES), chosen, strict=True):
        _camera(axes, recording, int(number), expert, early, full)
    _curves(below.subplots(), judged, expert, early, full, chosen)
    figure.suptitle(
        f"{name}: steering of a drive never seen before, streamed through ROS 2 nodes",
        fontweight="bold",
    )
    figure.savefig(path, dpi=120)


def _camera(
    axes: Axes,
    recording: Recording,
    number: int,
    expert: np.ndarray,
    early: np.ndarray,
    full: np.ndarray,
) -> None:
    """One camera frame with the three steering commands as needles."""
    picture = recording.images[number].transpose(1, 2, 0)
    height, width = picture.shape[:2]
    axes.imshow(picture)
    for values, colour, thickness in ((expert, EXPERT, 5), (early, EARLY, 2.5), (full, FULL, 2.5)):
        if np.isfinite(values[number]):
            angle = values[number] * np.pi / 3  # left positive: a needle to the left
            tip = (width / 2 - np.sin(angle) * 45, height - np.cos(angle) * 45)
            axes.plot((width / 2, tip[0]), (height, tip[1]), color=colour, lw=thickness,
                      solid_capstyle="round")  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], title=f"frame {number}")


def _curves(
    axes: Axes,
    judged: Judged,
    expert: np.ndarray,
    early: np.ndarray,
    full: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """The commands over time."""
    errors = judged.errors
    seconds = (judged.captured_ns - judged.captured_ns[0]) / 1e9
    for number in chosen:
        axes.axvline(seconds[number], color="0.85", lw=1, zorder=0)
    axes.plot(seconds, expert, color=EXPERT, lw=2.5, label="expert", alpha=0.8)
    for values, colour, kind, frames, error in (
        (early, EARLY, "early", errors.first_frames, errors.early.mae[0]),
        (full, FULL, "full", errors.full_frames, errors.full.mae[0]),
    ):
        label = f"{kind} response, {frames} frames after its image: mean error {error:.3f}"
        axes.plot(seconds, values, color=colour, lw=1.4, label=label)
    axes.set(
        xlabel="capture time of the image (s)",
        ylabel="steering (left positive)",
        ylim=(-1.08, 1.4),
        xlim=(0, seconds[-1]),
        title=f"always answering the mean would err by {errors.mean.mae[0]:.3f}",
    )
    axes.legend(loc="upper center", ncols=3, frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
