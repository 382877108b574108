"""A plan as text for a person: what is computed, what answers when, and in which update step.

Owns the tables and the words for ages, counts and numbers. Does not know where the plan comes
from, nor theory beyond the numbers it prints. Imported by ``plan``, and by ``plan_picture`` for
its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streaming_net_ros.cli.plan_data import Plan, count_rollouts
from streaming_net_ros.theory import Ages, format_tableau, inference_factor


def print_plan(planned: Plan, console: Console) -> None:
    """The whole plan for a person: blocks, each with a sentence that says what it means."""
    _print_network(planned, console)
    _print_states(planned, console)
    labels = list(planned.rollouts)
    beside = 3 if console.width > 95 else 2
    for start in range(0, len(labels), beside):
        _print_responses(planned, labels[start : start + beside], console)
    for label, reason in planned.left_out.items():
        console.print(Text(f"\n{label} is left out: {reason}", "yellow"))
    _print_count(planned, console)
    _print_tableaus(planned, console)


def _title(console: Console, title: str, meaning: str) -> None:
    console.print()
    console.print(Text.assemble((title, "bold"), f": {meaning}"))


def _columns(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    table.columns[0].no_wrap = True
    return table


def _print_network(planned: Plan, console: Console) -> None:
    spec, graph = planned.spec, planned.spec.graph
    about = f": {spec.description}" if spec.description else ""
    console.print(Text.assemble((spec.name, "bold cyan"), about))
    sizes = [
        _counted(len(spec.groups), "layer group"),
        f"{_counted(len(graph.edges), 'edge')} ({len(graph.recurrent_edges)} on cycles)",
        _counted(len(spec.inputs), "input"),
        _counted(len(spec.outputs), "output"),
    ]
    period = f"{planned.grid.rate_hz:g} Hz, a frame every {milliseconds_told(planned, 1)}"
    own = spec.rollout if isinstance(spec.rollout, str) else "hybrid"
    console.print(Text(f"{', '.join(sizes)}; {period}; rollout of the file: {own}"))


def _print_states(planned: Plan, console: Console) -> None:
    spec = planned.spec
    _title(console, "States", "what every layer group computes in every frame, and whom it hears.")
    table = _columns("node", "shape", "KiB", "hears", "output")
    table.columns[2].justify = "right"
    sources = {group.name: [edge.source for edge in group.edges] for group in spec.groups}
    for node in (*spec.inputs, *sources):
        table.add_row(
            Text(node, "cyan" if node in spec.inputs else ""),
            " x ".join(map(str, planned.shapes[node])),
            _kibibytes(planned.state_bytes(node)),
            ", ".join(sources.get(node, ["(an input)"])),
            ", ".join(name for name, output in spec.outputs.items() if output.group == node),
        )
    console.print(table)


def _print_responses(planned: Plan, labels: list[str], console: Console) -> None:
    _title(
        console,
        "Responses",
        "frames from an image to the first output that it can influence, and to the output that "
        f"all paths have reached, at {milliseconds_told(planned, 1)} a frame; the time "
        "to compute is not in it. Ages: how many frames old the images are that an output mixes.",
    )
    table = _columns("", *labels)
    times = [planned.responses(label) for label in labels]

    def row(heading: str, values: Sequence[object]) -> None:
        table.add_row(Text(heading), *(Text(str(value)) for value in values))

    for output in planned.spec.outputs:
        of = [by_output[output] for by_output in times]
        group = "" if output == of[0].output else f" (group {of[0].output})"
        table.add_row(Text(f"{output}{group}", "bold"))
        row("  first response", [_span(planned, one.first_frames) for one in of])
        row("  full response", [_span(planned, one.full_frames) for one in of])
        for name in of[0].ages:
            row(f"  ages of {name}", [ages_told(one.ages[name]) for one in of])
        row("  first update step", [one.first_step for one in of])
        row("  response period", [_counted(one.period_steps, "step") for one in of])
    table.add_row(Text("rollout", "bold"))
    chosen = [planned.rollouts[label] for label in labels]
    row("  inference factor", [inference_factor(one) for one in chosen])
    parallel = ["yes" if planned.is_model_parallel(label) else "no" for label in labels]
    row("  equally model-parallel", parallel)
    row("  longest delay", [_counted(one.max_delay, "frame") for one in chosen])
    console.print(table)


def _print_count(planned: Plan, console: Console) -> None:
    _title(
        console,
        "Valid rollouts",
        "ways to give every edge a delay of 0 or 1 frame so that no group waits for itself "
        "(delays that the file fixes count as free).",
    )
    found = count_rollouts(planned)
    exact = "not counted (too many groups on common cycles)"
    if found["count"] is not None:
        exact = number_told(found["count"])
    patterns = number_told(2 ** len(planned.spec.graph.edges))
    bounds = f"{number_told(found['lower'] or 0)} to {number_told(found['upper'] or 0)}"
    console.print(Text(f"{exact} of {patterns} patterns; Lemma 1 bounds them by {bounds}"))


def _print_tableaus(planned: Plan, console: Console) -> None:
    _title(
        console,
        "Tableau",
        "the update step that completes each group's state of each frame, all groups updating "
        "at once; frame 0 is given. The largest step of frame 1 is the inference factor.",
    )
    texts, wide = [], 0
    for label, rollout in planned.rollouts.items():
        frames = planned.frames
        while len((text := format_tableau(rollout, frames - 1)).split("\n")[0]) > console.width:
            frames -= 1
        cut = f", frames 0 to {frames - 1} of {planned.frames}" if frames < planned.frames else ""
        texts.append(Text.assemble((label, "bold"), cut, "\n", text.rstrip()))
        wide += 4 + max(map(len, texts[-1].plain.split("\n")))
    grid = Table.grid(padding=(0, 4, 0, 0))
    if wide - 4 <= console.width:
        grid.add_row(*texts)
    else:
        for told in texts:
            grid.add_row(told)
    console.print(grid)


def ages_told(ages: Ages) -> str:
    """Ages as words: ``2, 4 to 6 and older (recurrent)``; runs of three and more are ranges."""
    told: list[str] = []
    delays = list(ages.delays)
    while delays:
        run = next((n for n, d in enumerate(delays) if d != delays[0] + n), len(delays))
        run = run if run > 2 else 1
        told.append(f"{delays[0]} to {delays[run - 1]}" if run > 2 else str(delays[0]))
        del delays[:run]
    return ", ".join(told) + (" and older (recurrent)" if ages.is_recurrent else "")


def _span(planned: Plan, frames: int) -> str:
    return f"{_counted(frames, 'frame')}, {milliseconds_told(planned, frames)}"


def milliseconds_told(planned: Plan, frames: int) -> str:
    """Length of so many frames in words: ``250 ms``."""
    return f"{number_told(planned.milliseconds(frames))} ms"


def _kibibytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024:,.1f}" if size_bytes >= 0.05 * 1024 else "<0.1"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def number_told(value: float) -> str:
    """A number that can be read: thousands grouped, one decimal, powers of ten when huge."""
    if value >= 10**12:
        digits = str(int(value))  # an integer may be too large for a float
        return f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"
    return f"{value:,.1f}".removesuffix(".0")
