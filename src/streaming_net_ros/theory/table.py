"""Rollouts and tableaus as plain text, to be printed, kept in files and read again.

Owns the rollout table. Knows nothing of files. Imported by the command line and the viewer.

    rollout sequential of poster
    source -> target  delay
    u -> v                0
    v -> v                1
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory.graph import EdgeKey, NetworkGraph
from streaming_net_ros.theory.rollout import Rollout
from streaming_net_ros.theory.tableau import tableau

COLUMNS = ("source", "->", "target", "delay")


def format_table(rollout: Rollout) -> str:
    """The rollout as text: a header, the columns, then one aligned line per edge in file order."""
    rows = [(" ".join(COLUMNS[:3]), COLUMNS[3])]
    rows += [(str(edge), str(rollout.delays[edge.key])) for edge in rollout.graph.edges]
    first, last = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"rollout {rollout.name} of {rollout.graph.name}"]
    lines += [f"{edge:<{first}}  {delay:>{last}}" for edge, delay in rows]
    return "\n".join(lines) + "\n"


def parse_table(text: str, graph: NetworkGraph) -> Rollout:
    """Read what `format_table` wrote, for the same network.

    The order of the edges is free. Blank lines and comments (from ``#`` to the end of a line)
    are skipped.

    Raises:
        RolloutError: a line is not understood, names an unknown edge or one for the second time,
            or contradicts a fixed delay (the line's number is told); the table is for another
            network; or what `Rollout` raises for the whole.
    """
    lines = _lines(text)
    number, words = next(lines, (1, []))
    match words:
        case ["rollout", name, "of", network]:
            pass
        case _:
            raise _error(number, "no header", "`rollout NAME of NETWORK`", " ".join(words))
    if network != graph.name:
        raise _error(number, "a table for another network", graph.name, network)
    number, words = next(lines, (number + 1, []))
    if tuple(words) != COLUMNS:
        raise _error(number, "no columns", f"`{' '.join(COLUMNS)}`", " ".join(words))
    delays: dict[EdgeKey, int] = {}
    for number, words in lines:
        key, delay = _edge_line(number, words, graph)
        if key in delays:
            raise _error(number, f"edge {' -> '.join(key)} is there twice", "one line per edge")
        delays[key] = delay
    return Rollout(graph, delays, name)


def format_tableau(rollout: Rollout, last_frame: int) -> str:
    """The update steps of `tableau` as a grid: one line per group, one column per frame.

    Raises:
        RolloutError: `last_frame` is not an integer >= 0.
    """
    steps = tableau(rollout, last_frame)
    frames = range(last_frame + 1)
    groups = rollout.graph.groups
    wide = max(len(name) for name in ("frame", *groups))
    cell = max(len(str(number)) for number in (*steps.values(), last_frame)) + 2
    lines = [f"{'frame':<{wide}}" + "".join(f"{frame:>{cell}}" for frame in frames)]
    for group in groups:
        row = "".join(f"{steps[frame, group]:>{cell}}" for frame in frames)
        lines.append(f"{group:<{wide}}{row}")
    return "\n".join(lines) + "\n"


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers from 1 and the words of the lines that say something."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            yield number, words


def _edge_line(number: int, words: list[str], graph: NetworkGraph) -> tuple[EdgeKey, int]:
    match words:
        case [source, "->", target, digits] if re.fullmatch("[0-9]+", digits):
            key, delay = (source, target), int(digits)
        case _:
            raise _error(number, "not an edge", "`source -> target delay`", " ".join(words))
    fixed = {edge.key: edge.delay for edge in graph.edges}
    if key not in fixed:
        raise _error(number, "no such edge", f"an edge of {graph.name}", f"{source} -> {target}")
    if fixed[key] not in (None, delay):
        raise _error(number, "the edge's delay is fixed", str(fixed[key]), digits)
    return key, delay


def _error(number: int, what: str, expected: str, got: str = "") -> RolloutError:
    return RolloutError(
        what, where=f"rollout table, line {number}", expected=expected, got=got or None
    )
