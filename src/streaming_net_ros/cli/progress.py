"""Long work on a terminal: a bar, and an end that leaves things whole.

Imported by the verbs that take their time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(
    doing: str, things: str, console: Console | None = None
) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; gives what moves it: (done, total, note)."""
    with bars(things, console) as progress:
        task = progress.add_task(doing, total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield advance


def bars(things: str, console: Console | None = None) -> Progress:
    """Bars on stderr that vanish when they are done; each task has a ``note``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(things + " {task.fields[note]}"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C only asks to stop, between two steps; a second one ends at once.

    Gives what tells whether it was asked. Outside the main thread it is never asked.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
