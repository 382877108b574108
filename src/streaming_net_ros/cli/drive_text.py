"""What ``streaming-net drive`` found, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.driving.speeds import Outcome, SpeedSearch


def drive_table(outcomes: Sequence[Outcome], common_mps: float) -> Table:
    """A row per entrant.

    Args:
        outcomes: of all entrants.
        common_mps: speed of the drives that all had to try.
    """
    tracks = ", ".join(str(search.track_seed) for search in outcomes[0].searches)
    table = Table(
        caption=f"tracks {tracks}; *: all at {common_mps:g} m/s, put back on the track",
        caption_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("run as", no_wrap=True)
    for head in (
        "commands\nper s *",
        "age, ms\n(p95) *",
        "largest\nm/s",
        "by track\nm/s",
        "left per\nlap *",
        "aside\ncm *",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for outcome in outcomes:
        scores = [drive.score for drive in outcome.common]
        laps = sum(score.laps for score in scores)
        events = sum(score.off_track_events for score in scores)
        age = _mean(score.age_mean_ms for score in scores)
        late = _mean(score.age_p95_ms for score in scores)
        table.add_row(
            outcome.entrant.name,
            _figure(_mean(score.commands_per_s for score in scores), 1),
            f"{_figure(age, 0)} ({_figure(late, 0)})",
            _figure(outcome.largest_mps, 2),
            ", ".join(largest_text(search) for search in outcome.searches),
            _figure(events / laps if laps > 0 else None, 1),
            _figure(_mean(score.lateral_mean_m for score in scores), 1, scale=100),
        )
    return table


def largest_text(search: SpeedSearch) -> str:
    """The largest speed of one track; ``<`` or ``>=`` where only a bound is known."""
    if search.largest_mps is None:
        return f"< {search.scores[0].asked_mps:g}"
    return f"{'>= ' if search.is_open else ''}{search.largest_mps:g}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _figure(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
