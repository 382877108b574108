"""What is lost when a process is killed, the camera stops, or a host drops off: in frames.

    python benchmarks/recovery.py [--hosts] [--only NAME ...] [--out FOLDER]

A live network of six groups at 30 Hz, each in a process of its own (``live.py``). Every process is
killed in turn (SIGKILL) and started again by its parent; then the camera is stopped for 3 s. With
``--hosts`` two groups run on a second host (``hosts.py``) and its cable is cut, for less and for
more than the time after which a host is taken for lost. For each event and output:

    down       frames from the event to its end: the first answer of the new process (of its first
               hearer, for the frame source), or camera or cable are back
    silent     the longest run of frames without any answer
    missed     frames without an answer until all is normal again
    held       answers of which a part was held or absent
    recovered  frames from the event's end until age and holds are normal again
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hosts import TwoHosts, go_inside, why_not
from report import Report, arguments, finish, told

CUTS_S = {"short cut": 2.0, "long cut": 8.0}  # the lease in config/fastdds.xml is 5 s
STOP_FRAMES = 90
FAR = ("mid", "deep")


@dataclass(frozen=True)
class Event:
    """An event, and what it cost every output."""

    name: str
    down: int
    outputs: dict[str, dict[str, int | None]]
    restarted: list[str]
    others_kept_their_pids: bool


class Recovery:
    """Makes events happen to a live run and measures them."""

    def __init__(self, live) -> None:
        self._live = live
        self._ages = live.come_up()

    def kill(self, name: str) -> Event:
        """SIGKILL of one process."""
        first, before = self._live.now_frame() + 1, self._live.children.pids
        os.kill(before[name], signal.SIGKILL)
        restarts = sum(self._live.children.restarts.values())
        self._live.wait(lambda: sum(self._live.children.restarts.values()) > restarts, 30)
        self._settle()
        watched = self._live.watched.get(name, self._live.watched["stem"])
        frames = [answer.frame for answer in watched.since(first - 10)]
        gaps = [(after - before, after) for before, after in pairwise(frames)]
        return self._measured(f"kill {name}", first, max(gaps)[1], before, {name})

    def stop_camera(self, frames: int) -> Event:
        """No images for so many frames."""
        first, before = self._live.now_frame() + 1, self._live.children.pids
        self._live.camera.is_on.clear()
        self._live.go(frames)
        self._live.camera.is_on.set()
        since = self._live.now_frame()
        self._settle()
        return self._measured("camera stop", first, since, before, set())

    def cut(self, name: str, hosts: TwoHosts, seconds: float) -> Event:
        """A host is away for so many seconds."""
        first, before = self._live.now_frame() + 1, self._live.children.pids
        hosts.cut()
        self._live.go(round(seconds * self._live.grid.rate_hz))
        hosts.mend()
        since = self._live.now_frame()
        self._settle()
        return self._measured(name, first, since, before, set())

    def _settle(self) -> None:
        """Wait until all is calm."""
        from live import GROUPS

        self._live.go(10)
        self._live.wait(lambda: self._live.is_calm(GROUPS, 30), 60)

    def _measured(
        self, name: str, first: int, since: int, before: dict[str, int], expected: set[str]
    ) -> Event:
        """Count, now that all is over."""
        from live import OUTPUTS, outage

        live = self._live
        end = min(live.watched[group].newest for group in OUTPUTS.values()) + 1
        outputs = {
            output: asdict(outage(live.watched[group], first, end, self._ages[group], since))
            for output, group in OUTPUTS.items()
        }
        after = live.children.pids
        changed = {process for process, pid in before.items() if after.get(process) != pid}
        return Event(name, since - first, outputs, sorted(changed), changed <= expected)


def rows_of(events: list[Event]) -> list[dict[str, Any]]:
    """A row for every event and output."""
    return [
        {
            "event": event.name,
            "down": event.down,
            "output": output,
            **{name: "never" if cost[name] is None else cost[name]
               for name in ("silent", "missed", "held", "recovered")},
            "restarted": ", ".join(event.restarted) or "none",
        }
        for event in events
        for output, cost in event.outputs.items()
    ]  # fmt: skip


def draw(report: Report) -> Any:
    """How long each output was silent, and how long it lived on held states."""
    from picture import FAINT, INK, NAIVE, PROCESSES, new_figure

    rows = report.rows
    figure = new_figure("What an event costs each output", told(report.machine), 8.5,
                        1.6 + 0.22 * len(rows))  # fmt: skip
    axes = figure.subplots()
    places = [number + 0.8 * (number // len({row["output"] for row in rows}))
              for number in range(len(rows))]  # fmt: skip
    missed = [row["missed"] for row in rows]
    axes.barh(places, missed, 0.75, color=NAIVE, label="without an answer")
    axes.barh(places, [row["held"] for row in rows], 0.75, left=missed, color=PROCESSES,
              label="answered from held states")  # fmt: skip
    axes.plot([row["down"] for row in rows], places, "|", color=INK, markersize=11,
              label="end of the event itself")  # fmt: skip
    axes.set_yticks(places, [f"{row['event']}: {row['output']}" for row in rows], fontsize=8)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.invert_yaxis()
    axes.set(xlabel="frames of 33 ms")
    axes.legend(fontsize=8.5)
    return figure


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--hosts", action="store_true", help="two hosts, and a cut cable")
    parser.add_argument("--only", nargs="*", help="these processes, 'camera', 'short cut', ...")
    parser.add_argument("--json", type=Path, help="write the events alone to this file")
    given = parser.parse_args()
    if given.hosts:
        if (reason := why_not()) is not None:
            print(f"error: {reason}", file=sys.stderr)
            return 2
        go_inside()
    from live import GROUPS, LiveRun

    kills = [] if given.hosts else ["frame_source", *GROUPS]
    others = list(CUTS_S) if given.hosts else ["camera"]
    wanted = given.only if given.only else [*kills, *others]
    events = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = stack.enter_context(TwoHosts(FAR)) if given.hosts else None
        options = {} if hosts is None else {"start": hosts.start}
        live = stack.enter_context(LiveRun(folder, **options))
        recovery = Recovery(live)
        for name in wanted:
            if name in CUTS_S and hosts is not None:
                event = recovery.cut(name, hosts, CUTS_S[name])
            elif name == "camera":
                event = recovery.stop_camera(STOP_FRAMES)
            else:
                event = recovery.kill(name)
            print(f"{event.name}: measured", flush=True)
            events.append(event)
    told_events = [asdict(event) for event in events]
    name = "recovery_hosts" if given.hosts else "recovery"
    question = "What does an event cost each output, in frames of 33 ms, until all is normal?"
    report = Report(name, question, rows_of(events), details={"events": told_events})
    finish(report, given, draw)
    if given.json is not None:
        given.json.write_text(json.dumps({"events": told_events}, indent=2) + "\n")
    is_well = all(
        event.others_kept_their_pids
        and all(cost["recovered"] is not None for cost in event.outputs.values())
        for event in events
    )
    print("PASS" if is_well else "FAIL", "every output recovered, and nothing else was restarted")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
