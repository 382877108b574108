"""A training's picture: the loss, and how errors fall for early and for late responses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from streaming_net_ros.training import TrainingHistory


def draw_training(history: TrainingHistory, path: Path, name: str) -> None:
    """Write the picture.

    Args:
        history: what happened.
        path: a PNG or SVG file.
        name: of what was trained.
    """
    objectives = list(history.validations[0].errors) if history.validations else []
    figure = Figure(figsize=(5 * (1 + len(objectives)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, *panels = figure.subplots(1, 1 + len(objectives), squeeze=False)[0]
    _loss(loss, history)
    for axes, objective in zip(panels, objectives, strict=True):
        _errors(axes, history, objective)
    figure.suptitle(f"{name}: {len(history.losses)} steps", fontweight="bold")
    figure.savefig(path, dpi=110)


def _loss(axes: Axes, history: TrainingHistory) -> None:
    losses = np.array(history.losses)
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="#BBBBBB", linewidth=0.7, label="each step")
    width = max(1, len(losses) // 50)
    if len(losses) > 2 * width:
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        axes.plot(steps[width - 1 :], smooth, color="#0072B2", label=f"mean of {width}")
    if (losses > 0).all():
        axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)


def _errors(axes: Axes, history: TrainingHistory, objective: str) -> None:
    """One line per response, from the first (dark) to the last (bright)."""
    steps = [validation.step for validation in history.validations]
    # (validations, responses), of the first column
    errors = np.array([validation.errors[objective][:, 0] for validation in history.validations])
    colours = colormaps["viridis"](np.linspace(0, 0.9, errors.shape[1]))
    for k, colour in enumerate(colours):
        label = f"response {k + 1}" if k in (0, errors.shape[1] - 1) else None
        axes.plot(steps, errors[:, k], color=colour, marker="o", markersize=3, label=label)
    axes.axvline(history.best_step, color="#D55E00", linestyle=":", label="kept")
    column = history.validations[0].columns[objective][0]
    axes.set(xlabel="step", ylabel=f"{objective}: {column}", ylim=(0, None))
    axes.legend(frameon=False)
