"""The one style of the benchmarks' pictures. Draws without a display.

Imported by a benchmark's drawing function only, which loads matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

# Okabe and Ito's palette: told apart by colour-blind eyes too. One colour, one contender, always.
COMPOSED, PROCESSES, ON_CORES, ONE_NODE = "#0072B2", "#E69F00", "#F0E442", "#8A8A8A"
NAIVE, PIPELINING, STATESTREAM = "#D55E00", "#CC79A7", "#009E73"
INK, PALE, FAINT = "#222222", "#555555", "#D8D8D8"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib as delivered but for this style, whatever the user's settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(title: str, under: str, width: float = 9.0, height: float = 4.0) -> Figure:
    """An empty page with what it shows above, and the machine below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, weight="bold", size=12, x=0.01, ha="left")
    figure.supxlabel(under, size=7.5, color=PALE, x=0.01, ha="left")
    return figure


def legend_above(figure: Figure, axes: Axes) -> None:
    """One legend for the whole page, in a line below its title: what these axes name."""
    handles, labels = axes.get_legend_handles_labels()
    figure.suptitle(f"{figure.get_suptitle()}\n", weight="bold", size=12, x=0.01, ha="left")
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.27 / figure.get_figheight()),  # the title takes 0.27 inches
        ncols=len(labels),
        fontsize=8.5,
        borderaxespad=0,
        columnspacing=1.4,
    )


def grouped_bars(
    axes: Axes,
    places: Sequence[str],
    kinds: Sequence[tuple[str, str, Sequence[float | None]]],
    numbers: Sequence[Sequence[float | None]] | None = None,
) -> None:
    """Bars side by side at every place, with the number on each; None leaves a gap.

    Args:
        axes: where.
        places: what stands below each group of bars.
        kinds: label, colour and heights of one bar of every group.
        numbers: per kind, what stands on its bars instead of their heights.
    """
    width = 0.8 / len(kinds)
    for number, (label, colour, heights) in enumerate(kinds):
        at = [place + width * (number - (len(kinds) - 1) / 2) for place in range(len(places))]
        bars = axes.bar(at, [height or 0.0 for height in heights], 0.92 * width, color=colour,
                        label=label)  # fmt: skip
        on_bars = heights if numbers is None else numbers[number]
        texts = ["" if one is None else number_told(one) for one in on_bars]
        for text in axes.bar_label(bars, texts, padding=2, fontsize=8, color=PALE):
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.set_xticks(range(len(places)), places)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.12)


def number_told(number: float) -> str:
    """Three digits, never a power of ten."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def decades(axes: Axes, along: str = "xy") -> None:
    """Logarithmic axes with plain numbers and a faint grid."""
    for name in along:
        axis = getattr(axes, f"{name}axis")
        getattr(axes, f"set_{name}scale")("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(color=FAINT, linewidth=0.6)
