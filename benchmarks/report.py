"""What every benchmark leaves behind: its rows as a table, a JSON file, and a picture.

Owns the frame and nothing of what is measured. A benchmark makes a parser with ``arguments``, and
hands a ``Report`` to ``finish``. The JSON is sorted and carries no date, so that two runs can be
compared line by line; ``ros2_benchmark`` converts it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUT = Path(__file__).parent / "results"
Row = Mapping[str, Any]
_UNITS = {  # how a name of a row ends -> how its unit is written
    "per_s": "1/s", "hz": "Hz", "s": "s", "ms": "ms", "us": "µs", "mib": "MiB", "kib": "KiB",
    "percent": "%",
}  # fmt: skip


def machine_facts() -> dict[str, Any]:
    """This machine: processor, cores of this process, and what runs on it."""
    model = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "rclpy": _version("rclpy", "ros-rclpy"),
        "rmw": _middleware(),
    }


def told(facts: Mapping[str, Any]) -> str:
    """A machine in a line."""
    return (
        f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}, "
        f"torch {facts['torch']}, rclpy {facts['rclpy']} ({facts['rmw']})"
    )


def command_line() -> str:
    """What this process was started with, as one would type it in the repository."""
    script = Path(sys.argv[0])
    return shlex.join(["python", f"benchmarks/{script.name}", *sys.argv[1:]])


def _version(*distributions: str) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _middleware() -> str | None:
    try:
        import rclpy
    except ImportError:
        return None
    return str(rclpy.get_rmw_implementation_identifier())


@dataclass(frozen=True)
class Timeline:
    """When images left a camera and when answers about them came: one measured stretch.

    Attributes:
        sent_s: by image, in order.
        received_s: when image ``number`` was answered first; None: never.
    """

    sent_s: tuple[float, ...]
    received_s: tuple[float | None, ...]


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark.

    Attributes:
        name: of its files.
        question: what it answers, in a sentence.
        rows: of the table; the names of numbers end in their unit.
        notes: what a reader of the figures must know.
        details: figures that are no rows.
        timelines: what ros2_benchmark's metrics are made of, by title.
        machine, command: where and how it was measured.
    """

    name: str
    question: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    timelines: Mapping[str, Timeline] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=machine_facts)
    command: str = field(default_factory=command_line)

    def save(self, folder: Path, draw: Callable[[Report], Figure] | None = None) -> list[Path]:
        """Write ``NAME.json`` and, if there is something to draw, ``NAME.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / f"{self.name}.json"]
        text = json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False)
        written[0].write_text(text + "\n")
        if draw is not None:
            from picture import house_style

            with house_style():
                figure = draw(self)
                written.append(folder / f"{self.name}.png")
                figure.savefig(written[-1], dpi=120, metadata={"Software": None})
        return written

    def table(self) -> Table:
        """The rows, with units in the head."""
        table = Table(title=self.question, caption="\n".join([told(self.machine), *self.notes]))
        table.title_justify = table.caption_justify = "left"
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        columns = []
        for name in names:
            cells = [row.get(name) for row in self.rows]
            is_number = all(isinstance(cell, int | float | None) for cell in cells)
            table.add_column(
                heading(name), justify="right" if is_number else "left", no_wrap=not is_number
            )
            columns.append(_written(cells))
        for row in zip(*columns, strict=True):
            table.add_row(*row)
        return table


def median_row(rows: Sequence[Row]) -> dict[str, Any]:
    """Repeats of one row as one: the median of every number, the rest as it is in the first."""
    told: dict[str, Any] = {}
    for name, first in rows[0].items():
        cells = [row[name] for row in rows if row[name] is not None]
        is_number = cells and all(type(cell) in (int, float) for cell in cells)
        told[name] = statistics.median(cells) if is_number else first
    return told


def heading(name: str) -> str:
    """``latency_p50_ms`` to ``latency p50 (ms)``."""
    for ending, unit in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return f"{name.removesuffix(ending).replace('_', ' ').strip()} ({unit})"
    return name.replace("_", " ")


def _written(cells: Sequence[Any]) -> list[str]:
    """The cells of a column, numbers with as many decimals as the largest one needs."""
    numbers = [abs(cell) for cell in cells if isinstance(cell, float)]
    largest = max(numbers, default=0.0)
    decimals = 1 if largest >= 20 else 2 if largest >= 0.04 else 4

    def write(cell: Any) -> str:
        if cell is None:
            return "-"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, list | tuple):
            return ", ".join(map(write, cell))
        return f"{cell:.{decimals}f}" if isinstance(cell, float) else str(cell)

    return [write(cell) for cell in cells]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for JSON and picture")
    parser.add_argument(
        "--ros2-benchmark", type=Path, metavar="FOLDER",
        help="write the timelines in the layout of ros2_benchmark's reports as well",
    )  # fmt: skip
    return parser


def finish(
    report: Report,
    given: argparse.Namespace,
    draw: Callable[[Report], Figure] | None = None,
) -> None:
    """Print, write and draw a report as the options say."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(report.table())
    written = report.save(given.out, draw)
    if given.ros2_benchmark is not None:
        from ros2_benchmark import write_reports

        written += write_reports(asdict(report), given.ros2_benchmark)
    print("written:", ", ".join(map(str, written)))
