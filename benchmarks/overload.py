"""One of six groups slowed to three times the period for the middle third of a live run.

    python benchmarks/overload.py [--seconds 60] [--out FOLDER]

A live network of six groups at 30 Hz, each in a process of its own (``live.py``). Group ``mid``
is slowed by sleeping, which stands for layers on another device (``slow.py``). Must hold:

1. an output that does not pass it keeps at least 99 % of the frames of the whole run;
2. one that does answers every frame from held states (99 % of them), and they are counted;
3. after the overload its age is normal again within (path length + 2) frames.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from live import CALM_FRAMES, GROUPS, OUTPUTS, LiveRun, outage
from report import Report, arguments, finish, told
from slow import CONTROL

from streaming_net_ros.network import rollout_of
from streaming_net_ros.theory import response_times

SLOW = "mid"
PERIODS = 3.0
LEAST = 0.99


@dataclass(frozen=True)
class Kept:
    """What one output kept.

    Attributes:
        passes: a path to it passes the slow group.
        path_frames: its longest path.
        run_share: answered frames of the whole run.
        overload_share: answered frames of the overload.
        held: answers of the overload of which a part was held or absent.
        late_frames: how much older than normal the newest image inside was at most.
        recovered: frames after the overload until age and holds were normal; None: never.
    """

    passes: bool
    path_frames: int
    run_share: float
    overload_share: float
    held: int
    late_frames: int
    recovered: int | None

    def clauses(self) -> dict[str, bool]:
        """Which clauses apply to it, and whether they hold."""
        if not self.passes:
            return {"1 keeps its frames": self.run_share >= LEAST}
        is_back = self.recovered is not None and self.recovered <= self.path_frames + 2
        return {
            "2 answers from held states": self.overload_share >= LEAST and self.held > 0,
            "3 age normal again in time": is_back,
        }


def measure(live: LiveRun, control: Path, seconds: float) -> dict[str, Kept]:
    """Run, slow the group down in the middle third, and count."""
    period_ms = live.grid.period_ns / 1e6
    third = round(seconds / 3 * live.grid.rate_hz)
    ages = live.come_up()
    begun = live.now_frame() + 1
    live.go(third)
    _write(control, PERIODS * period_ms)
    slowed = live.now_frame() + 1
    live.go(third)
    _write(control, 0.0)
    since = live.now_frame()
    live.go(third)
    end = min(live.watched[group].newest for group in OUTPUTS.values()) + 1
    times = response_times(rollout_of(live.spec))
    kept = {}
    for output, group in OUTPUTS.items():
        watched = live.watched[group]
        answered = {answer.frame: answer for answer in watched.since(begun) if answer.frame < end}
        during = [answer for frame, answer in answered.items() if slowed <= frame < since]
        cost = outage(watched, slowed, end, ages[group], since)
        kept[output] = Kept(
            passes=group in ("deep", "head"),
            path_frames=times[group].full_frames,
            run_share=len(answered) / (end - begun),
            overload_share=len(during) / (since - slowed),
            held=sum(answer.held > 0 for answer in during),
            late_frames=max((a.age_frames for a in during), default=0) - ages[group],
            recovered=cost.recovered,
        )
    return kept


def _write(control: Path, milliseconds: float) -> None:
    """Whole or not at all: the group reads it at any time."""
    fresh = control.with_suffix(".new")
    fresh.write_text(str(milliseconds))
    fresh.replace(control)


def row_of(output: str, one: Kept) -> dict[str, Any]:
    """One output as a row."""
    return {
        "output": output,
        "passes_slow_group": one.passes,
        "frames_kept_percent": 100 * one.run_share,
        "kept_in_overload_percent": 100 * one.overload_share,
        "from_held_states": one.held,
        "older_by_frames": one.late_frames,
        "normal_after_frames": "never" if one.recovered is None else one.recovered,
        "limit_frames": one.path_frames + 2 if one.passes else None,
        "holds": all(one.clauses().values()),
    }


def draw(report: Report) -> Any:
    """What every output kept."""
    from picture import COMPOSED, PROCESSES, grouped_bars, legend_above, new_figure

    rows = report.rows
    title = f"Frames kept while '{SLOW}' takes {PERIODS:g} periods"
    figure = new_figure(title, told(report.machine), 7.5)
    axes = figure.subplots()
    grouped_bars(
        axes,
        [f"{row['output']}\n({'passes' if row['passes_slow_group'] else 'does not pass'} {SLOW})"
         for row in rows],
        [
            ("whole run", COMPOSED, [row["frames_kept_percent"] for row in rows]),
            ("overload", PROCESSES, [row["kept_in_overload_percent"] for row in rows]),
        ],
    )  # fmt: skip
    axes.set(ylabel="frames answered (%)")
    legend_above(figure, axes)
    return figure


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the run, once it is up")
    given = parser.parse_args()
    if given.seconds < 3 * CALM_FRAMES / 10:
        parser.error("a run of less than 4.5 s shows nothing")
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "milliseconds"
        _write(control, 0.0)
        os.environ[CONTROL] = str(control)
        own = str(Path(__file__).parent)
        os.environ["PYTHONPATH"] = os.pathsep.join([own, os.environ.get("PYTHONPATH", "")])
        with LiveRun(Path(folder), slow=SLOW) as live:
            kept = measure(live, control, given.seconds)
    rows = [row_of(output, one) for output, one in kept.items()]
    details = {
        "groups": len(GROUPS), "slow": SLOW, "periods": PERIODS, "seconds": given.seconds,
        "outputs": {output: asdict(one) for output, one in kept.items()},
    }  # fmt: skip
    question = f"What does '{SLOW}' at {PERIODS:g} periods for the middle third cost each output?"
    finish(Report("overload", question, rows, details=details), given, draw)
    for output, one in kept.items():
        for clause, holds in one.clauses().items():
            print("PASS" if holds else "FAIL", f"{clause}: {output}")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
