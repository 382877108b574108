"""The pictures of an evaluation: answers beside what was right, errors, ages and lags.

Owns colours and layout. Draws without a display; the same comparison gives the same bytes.
Imported by ``report``, which puts them together, and by ``annotated`` for the colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streaming_net_ros.evaluation.streaming.comparison import Comparison
from streaming_net_ros.evaluation.streaming.measures import Measures
from streaming_net_ros.evaluation.streaming.world import Lived

# Okabe and Ito's palette: told apart by colour-blind eyes too.
RIGHT = "#000000"
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
_WINDOW_NS = 20_000_000_000
_STYLE = {
    "svg.hashsalt": "streaming_net_ros",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: of its file, without an ending.
        text: what can be seen, for those who cannot.
        svg, png: its bytes.
    """

    name: str
    text: str
    svg: bytes
    png: bytes


def colour_of(number: int) -> str:
    """The colour of the contender of that number."""
    return COLOURS[number % len(COLOURS)]


def draw(comparison: Comparison) -> Iterator[Picture]:
    """All pictures, two per field of an output."""
    with matplotlib.rc_context(_STYLE):
        for output, reference in comparison.references.items():
            for field, name in enumerate(reference.names):
                title = f"{output}_{name}"
                yield _picture(
                    f"{title}_over_time",
                    f"newest answers of each rollout and the reference {name} over time",
                    _over_time(comparison, output, field),
                )
                yield _picture(
                    f"{title}_measures",
                    f"errors, ages and lags of {name} of each rollout",
                    _measures(comparison, output, field),
                )


def _picture(name: str, text: str, figure: Figure) -> Picture:
    svg, png = BytesIO(), BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=130, metadata={"Software": None})
    return Picture(name, text, svg.getvalue(), png.getvalue())


def _over_time(comparison: Comparison, output: str, field: int) -> Figure:
    """A row per rollout: what the newest answer was, and what was right."""
    contenders = comparison.task.contenders
    reference = comparison.references[output]
    drive = comparison.task.drives[0].name
    begin_ns, end_ns = _window(comparison.lived[contenders[0].name][output][drive], field)
    figure = _figure(10, 0.5 + 1.75 * len(contenders))
    rows = figure.subplots(len(contenders), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    drawn: list[NDArray[np.float64]] = []
    for number, (axes, contender) in enumerate(zip(rows, contenders, strict=True)):
        lived = comparison.lived[contender.name][output][drive]
        start_ns = int(lived.world.captured_ns[0])

        def seconds(times_ns: NDArray[np.int64], start_ns: int = start_ns) -> NDArray[np.float64]:
            return (times_ns - start_ns) / 1e9

        world, timed = lived.world, lived.timed
        axes.step(seconds(world.stamps_ns), world.values[:, field], where="post", color=RIGHT,
                  lw=1.6, alpha=0.75, label="reference")  # fmt: skip
        axes.step(seconds(timed.published_ns), timed.values[:, field], where="post",
                  color=colour_of(number), lw=1.6, label="newest answer")  # fmt: skip
        measures = comparison.single[contender.name][output][drive]
        axes.set_title(_caption(contender.name, measures, field))
        axes.set_ylabel(reference.names[field])
        axes.legend(loc="upper right", ncols=2, frameon=False, borderaxespad=0.1)
        drawn += [world.values[:, field], timed.values[:, field]]
    _with_room_above(rows[0], drawn)
    rows[-1].set(
        xlabel=f"time in {drive} (s)",
        xlim=tuple(seconds(np.array([begin_ns, end_ns]))),
    )
    return figure


def _caption(name: str, measures: Measures, field: int) -> str:
    error = measures.streaming[measures.main][field]
    word = "accuracy" if measures.kind == "class" else "error"
    return (
        f"{name}: {word} {error:.3f} against the world of that time, "
        f"{measures.answers_hz:.1f} answers/s, {measures.age_ms.mean:.0f} ms old"
    )


def _measures(comparison: Comparison, output: str, field: int) -> Figure:
    """Errors by response, errors with and without time, ages, lags."""
    measured = [
        (contender.name, colour_of(number), comparison.pooled[contender.name][output])
        for number, contender in enumerate(comparison.task.contenders)
    ]
    figure = _figure(10, 6.4)
    ((by_response, with_time), (ages, lags)) = figure.subplots(2, 2)
    _draw_by_response(by_response, measured, field)
    _draw_with_time(with_time, measured, field)
    _draw_ages(ages, measured)
    if measured[0][2].kind == "class":
        _draw_answered(lags, measured, field)
    else:
        _draw_lags(lags, measured, field)
    return figure


_Measured = Sequence[tuple[str, str, Measures]]


def _draw_by_response(axes: Axes, measured: _Measured, field: int) -> None:
    most = 0
    for name, colour, m in measured:
        frames = np.arange(m.first_frames, m.full_frames + 1)
        errors = [numbers[m.main][field] for numbers in m.offline]
        axes.plot(frames, errors, color=colour, marker="o", ms=6, label=name)
        most = max(most, m.full_frames)
    main = measured[0][2]
    _mean_line(axes, main.offline_mean[main.main][field])
    axes.set(
        title="Offline: the early to the full response to an image",
        xlabel="frames since the image",
        ylabel=_error_word(main),
        xticks=range(most + 1),
        xlim=(-0.4, most + 0.4),
    )
    axes.set_ylim(0, 1.02 if main.kind == "class" else 1.08 * axes.get_ylim()[1])
    axes.legend(frameon=False)


def _draw_with_time(axes: Axes, measured: _Measured, field: int) -> None:
    main = measured[0][2]
    kinds = (
        "early response,\noffline",
        "full response,\noffline",
        "newest answer,\nstreaming evaluation",
    )
    width = 0.8 / len(measured)
    for number, (name, colour, m) in enumerate(measured):
        heights = [m.offline[0][m.main][field], m.offline[-1][m.main][field],
                   m.streaming[m.main][field]]  # fmt: skip
        places = np.arange(3) + (number - (len(measured) - 1) / 2) * width
        bars = axes.bar(places, heights, 0.92 * width, color=colour, label=name)
        axes.bar_label(bars, fmt="%.3f", fontsize=7.5, padding=2)
    _mean_line(axes, main.streaming_mean[main.main][field], "")
    axes.set(
        title="What time costs",
        ylabel=_error_word(main),
        xticks=range(3),
        xticklabels=kinds,
    )
    axes.margins(y=0.15)


def _draw_ages(axes: Axes, measured: _Measured) -> None:
    most = max(float(m.ages_ns.max()) for _, _, m in measured) / 1e6
    width = max(10.0, 10 * np.ceil(most / 300))
    edges = np.arange(-width / 2, most + 1.5 * width, width)
    for name, colour, m in measured:
        shares = np.full(len(m.ages_ns), 100 / len(m.ages_ns))
        axes.hist(m.ages_ns / 1e6, bins=edges.tolist(), weights=shares, color=colour, alpha=0.75,
                  label=f"{name}: {m.age_ms.mean:.0f} ms")  # fmt: skip
    axes.set(
        title="Age of the newest answer",
        xlabel="since the capture of the newest image inside (ms)",
        ylabel="share of the time (%)",
        xlim=(0, most + 2 * width),
    )
    axes.legend(title="mean", frameon=False)


def _draw_lags(axes: Axes, measured: _Measured, field: int) -> None:
    for name, colour, m in measured:
        lag = m.lags[m.names[field]]
        place = lag.best
        label = name if place is None else f"{name}: {lag.lags_ns[place] / 1e6:+.0f} ms"
        axes.plot(lag.lags_ns / 1e6, lag.correlations, color=colour, label=label)
        if place is not None:
            axes.plot(lag.lags_ns[place] / 1e6, lag.correlations[place], "o", color=colour, ms=6)
    axes.axvline(0, color="0.8", lw=1, zorder=0)
    axes.set(
        title="How late answers follow the reference",
        xlabel="answers shifted back by (ms)",
        ylabel="correlation with the reference",
    )
    axes.legend(title="fits best at", frameon=False)
    axes.margins(y=0.12)


def _draw_answered(axes: Axes, measured: _Measured, field: int) -> None:
    changes = [m.changes[m.names[field]] for _, _, m in measured]
    heights = [c.median_ms if np.isfinite(c.median_ms) else 0 for c in changes]
    bars = axes.bar(range(len(measured)), heights, 0.6, color=[c for _, c, _ in measured])
    labels = [
        f"{c.median_ms:.0f} ms" if np.isfinite(c.median_ms) else f"{c.answered} of {c.changes}"
        for c in changes
    ]
    axes.bar_label(bars, labels, padding=2)
    axes.set(
        title="Until a change of class is answered (median)",
        ylabel="ms",
        xticks=range(len(measured)),
        xticklabels=[name for name, _, _ in measured],
    )
    axes.margins(y=0.15)


def _error_word(measures: Measures) -> str:
    return "accuracy" if measures.kind == "class" else "mean absolute error"


def _mean_line(axes: Axes, height: float, text: str = "always the same answer") -> None:
    axes.axhline(height, color="0.45", ls="--", lw=1.2)
    axes.annotate(text, (1, height), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right", color="0.35", fontsize=8)  # fmt: skip


def _with_room_above(axes: Axes, values: Sequence[NDArray[np.float64]]) -> None:
    """Room for the legend above what is drawn."""
    finite = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    space = max(high - low, 1e-6)
    axes.set_ylim(low - 0.06 * space, high + 0.3 * space)


def _window(lived: Lived, field: int) -> tuple[int, int]:
    """The stretch of the judged part in which the reference changes most."""
    times_ns = lived.times_ns
    begin_ns, end_ns = int(times_ns[0]), int(times_ns[-1])
    if end_ns - begin_ns <= _WINDOW_NS:
        return begin_ns, end_ns
    values = lived.world.at(times_ns)[:, field]
    travelled = np.concatenate([[0.0], np.nancumsum(np.abs(np.diff(values)))])
    ends = np.searchsorted(times_ns, times_ns + _WINDOW_NS, "right") - 1
    whole = times_ns + _WINDOW_NS <= end_ns
    best = int(np.where(whole, travelled[ends] - travelled, -1.0).argmax())
    return int(times_ns[best]), int(times_ns[best]) + _WINDOW_NS


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
