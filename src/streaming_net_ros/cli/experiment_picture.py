"""Pictures of an experiment: accuracy while answers come, and confusion over the delay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from streaming_net_ros.cli.experiment_outcome import Outcome
    from streaming_net_ros.training.experiment_run import RunResult

# Okabe and Ito's palette: told apart by colour-blind eyes too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vPX*"
_DELAYS = 4


def draw_accuracy(outcome: Outcome, path: Path) -> None:
    """Accuracy over update steps: points where answers come, lines while they hold.

    Args:
        outcome: of the runs; the band is one standard deviation over seeds.
        path: a PNG or SVG file.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    over_steps, means = figure.subplots(1, 2, width_ratios=(2.2, 1))
    runs = outcome.by_variant
    last = max(outcome.spec.horizon_steps, *(_shown_until(r, runs) for r in runs.values()))
    for number, (name, of_name) in enumerate(runs.items()):
        _curve(over_steps, name, of_name, number, last)
        published = outcome.spec.variants[name].published
        if published:
            at = [step for step in published if step <= last]
            over_steps.plot(at, [published[step] for step in at], linestyle="none",
                            marker=MARKERS[number % 8], markersize=9, fillstyle="none",
                            color=COLOURS[number % 8])  # fmt: skip
    if any(variant.published for variant in outcome.spec.variants.values()):
        over_steps.plot([], [], "o", fillstyle="none", color="#666666", label="published")
    classes = len(next(iter(runs.values()))[0].confusion[0])
    over_steps.axhline(1 / classes, color="#999999", linewidth=0.8, linestyle=":")
    over_steps.annotate("chance", (0.02 * last, 1 / classes), va="bottom", color="#777777")
    over_steps.set(xlabel="update steps since the first image", ylabel="accuracy", xlim=(0, last))
    over_steps.legend(frameon=False, fontsize=9, loc="lower right")
    _bars(means, outcome)
    which = "reduced protocol" if outcome.protocol.is_reduced else "full protocol"
    figure.suptitle(f"{outcome.spec.title} ({which}, {outcome.protocol.seeds} seeds)",
                    fontweight="bold")  # fmt: skip
    figure.savefig(path, dpi=120)


def draw_confusion(outcome: Outcome, path: Path) -> None:
    """Confusion over the delay: one row per variant, from its first response to its last."""
    runs = outcome.by_variant
    figure = Figure(figsize=(2.5 * _DELAYS + 1.2, 2.5 * len(runs) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(runs), _DELAYS, squeeze=False)
    for row, (name, of_name) in zip(panels, runs.items(), strict=True):
        mean = np.mean([run.confusion for run in of_name], axis=0)
        accuracy = np.mean([run.accuracy for run in of_name], axis=0)
        chosen = np.unique(np.linspace(0, len(mean) - 1, _DELAYS).round().astype(int))
        for axes in row[len(chosen) :]:
            axes.set_axis_off()
        for axes, k in zip(row, chosen, strict=False):
            axes.imshow(mean[k], vmin=0, vmax=1, cmap="magma_r")
            axes.set_title(f"step {of_name[0].steps[k]}: {accuracy[k]:.0%} right", fontsize=9)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{name}\nshown", fontsize=9)
        row[0].set_xlabel("answered", fontsize=9)
    figure.suptitle(f"{outcome.spec.title}: what is taken for what, over the delay",
                    fontweight="bold")  # fmt: skip
    figure.savefig(path, dpi=110)


def draw_switch(outcome: Outcome, path: Path) -> None:
    """Accuracy of the newest answer when one stimulus gives way to another."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (name, runs) in enumerate(outcome.by_variant.items()):
        switched = np.array([run.switched for run in runs])
        steps = np.arange(1, switched.shape[1] + 1)
        mean, deviation = switched.mean(0), switched.std(0, ddof=min(1, len(runs) - 1))
        colour = COLOURS[number % 8]
        axes.step(steps, mean, where="post", color=colour, label=name)
        axes.fill_between(steps, mean - deviation, mean + deviation, step="post", color=colour,
                          alpha=0.2, linewidth=0)  # fmt: skip
    at = outcome.spec.switch_step or 0
    axes.axvline(at, color="#D55E00", linestyle=":")
    axes.annotate("another stimulus", (at, 0.94), xytext=(4, 0), textcoords="offset points",
                  color="#D55E00", fontsize=9)  # fmt: skip
    axes.set(xlabel="update steps", ylabel="accuracy of the newest answer, held", ylim=(0, 1))
    axes.legend(frameon=False)
    which = "reduced protocol" if outcome.protocol.is_reduced else "full protocol"
    figure.suptitle(f"{outcome.spec.title}, and switches ({which})", fontweight="bold")
    figure.savefig(path, dpi=120)


def _curve(axes: Axes, name: str, runs: list[RunResult], number: int, last: int) -> None:
    steps = np.array(runs[0].steps)
    accuracy = np.array([run.accuracy for run in runs])
    mean, deviation = accuracy.mean(0), accuracy.std(0, ddof=min(1, len(runs) - 1))
    seen = steps <= last
    colour, marker = COLOURS[number % 8], MARKERS[number % 8]
    # An answer holds until the next one.
    until = np.append(steps[seen], last)
    held = np.append(mean[seen], mean[seen][-1])
    axes.step(until, held, where="post", color=colour, linewidth=1.4)
    axes.errorbar(steps[seen], mean[seen], deviation[seen], color=colour, marker=marker,
                  linestyle="none", capsize=2, markersize=5, label=name)  # fmt: skip


def _bars(axes: Axes, outcome: Outcome) -> None:
    """Hold means, beside each other."""
    rows = list(outcome.rows())
    places = np.arange(len(rows))[::-1]
    axes.barh(
        places,
        [row["hold_mean"] for row in rows],
        xerr=[row["hold_mean_deviation"] for row in rows],
        color=[COLOURS[k % 8] for k in range(len(rows))],
        capsize=3,
    )
    for place, row in zip(places, rows, strict=True):
        axes.text(0.01, place, f"{row['hold_mean']:.3f}", va="center", color="white", fontsize=9)
    axes.set_yticks(places, [row["variant"] for row in rows])
    axes.set_xlabel("hold mean")
    axes.set_title(f"newest answer held, steps 1 to {outcome.spec.horizon_steps}", fontsize=10)


def _shown_until(runs: list[RunResult], all_runs: dict[str, list[RunResult]]) -> int:
    """As far as the quickest variant answers, and at least the slowest one's third answer."""
    quickest = min(of_name[0].steps[-1] for of_name in all_runs.values())
    return max(quickest, runs[0].steps[min(2, len(runs[0].steps) - 1)])
