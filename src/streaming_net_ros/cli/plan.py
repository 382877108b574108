"""``streaming-net plan``: what a network answers and when, told before anything is computed.

Owns the verb and its three prints: text for a person, JSON for a program, the rollout table for
``run --rollout``. Adds no theory of its own; the drawing is ``plan_picture``. Imported by ``app``.
Loads torch (for the state shapes) and matplotlib only when they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streaming_net_ros.errors import ParameterError, RolloutError
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import (
    Ages,
    ResponseTimes,
    Rollout,
    count_valid_rollouts,
    equally_model_parallel,
    format_table,
    format_tableau,
    inference_factor,
    lemma1_bounds,
    response_times,
    streaming,
    tableau,
)

if TYPE_CHECKING:
    from streaming_net_ros.network.file import NetworkSpec

MAX_FRAMES = 100
"""Frames that may be asked for; more cannot be read, neither as text nor as a picture."""

MAX_DEFAULT_FRAMES = 16
MAX_WIDTH = 100


@dataclass(frozen=True)
class Plan:
    """All that is printed, before it is printed.

    Args:
        spec: the network file.
        grid: the rate that frames are counted at: the file's, or the one that was asked for.
        shapes: shape of every node's state.
        rollouts: what is compared, by its heading; no rollout is there twice.
        left_out: rollouts that this network does not have, and why, if none was asked for.
        frames: frames of the tableaus and of the picture.
    """

    spec: NetworkSpec
    grid: FrameGrid
    shapes: Mapping[str, tuple[int, ...]]
    rollouts: Mapping[str, Rollout]
    left_out: Mapping[str, str]
    frames: int

    def state_bytes(self, node: str) -> int:
        """Bytes of a node's state as it is sent: an image's are 8-bit, a vector's float32."""
        given = self.spec.inputs.get(node)
        if given is not None:
            return prod(given.shape) * (1 if given.type == "image" else 4)
        return prod(self.shapes[node]) * (2 if self.spec.state_dtype == "float16" else 4)

    def milliseconds(self, frames: int) -> float:
        """Length of so many frames on the frame grid."""
        return self.grid.stamp_ns(frames) / 1e6

    def responses(self, label: str) -> dict[str, ResponseTimes]:
        """Response times of one rollout by the outputs' names."""
        by_group = response_times(self.rollouts[label])
        return {name: by_group[output.group] for name, output in self.spec.outputs.items()}


def plan(
    network: Annotated[str, typer.Argument(help="Network file, or name of a shipped network.")],
    *,
    rollout: Annotated[
        list[str] | None,
        typer.Option(
            help="streaming, sequential, or a file with a rollout table; may be repeated. "
            "Without it: the network file's own, streaming and sequential, side by side."
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Print only the rollout table (of the file's own rollout, unless chosen): "
            "edit it, then 'run --rollout' it.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw network and rollouts: .svg or .png.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Output whose light cone is drawn; default the first."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help=f"Frames of tableau and picture, 2 to {MAX_FRAMES}; default: three more than the "
            f"full response takes, at most {MAX_DEFAULT_FRAMES}.",
        ),
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option(metavar="HZ", help="Frame rate in place of the file's.")
    ] = None,
) -> None:
    """Tell what a network answers and when: responses, ages, tableaus, rollouts, a picture."""
    if table and as_json:
        raise ParameterError("choose one of two prints", where="--table, --json", got="both")
    if picture is not None and picture.suffix.lower() not in (".svg", ".png"):
        raise ParameterError(
            "not a kind of picture", where="--picture", expected=".svg or .png", got=str(picture)
        )
    # The table is for one rollout: what is compared by default would not read back.
    choices: Sequence[str | None] = rollout or ([None] if table else [])
    planned = make_plan(network, choices, frames, rate_hz)
    drawn = _output_to_draw(planned, output)
    if picture is not None:
        from streaming_net_ros.cli.plan_picture import draw_plan, save_picture

        save_picture(draw_plan(planned, drawn), picture)
    if table:
        print("\n".join(format_table(chosen) for chosen in planned.rollouts.values()), end="")
    elif as_json:
        print(json.dumps(as_data(planned), indent=2))
    else:
        console = Console(highlight=False)
        console.width = min(console.width, MAX_WIDTH)
        print_plan(planned, console)
        if picture is not None:
            console.print(Text(f"\nPicture: {picture}"), soft_wrap=True)


def make_plan(
    network: str,
    choices: Sequence[str | None] = (),
    frames: int | None = None,
    rate_hz: float | None = None,
) -> Plan:
    """Read a network file and work out what there is to tell.

    Args:
        network: path of a network file, or name of a shipped one.
        choices: rollouts as ``rollout_of`` takes them; empty for the file's own, streaming and,
            if the network has one, sequential.
        frames: frames of the tableaus and of the picture; None for the default.
        rate_hz: in place of the file's rate.

    Raises:
        NetworkFileError: the file cannot be read, or contradicts itself.
        RolloutError: a chosen rollout is not valid for the network, or cannot be read.
        ParameterError: rate or number of frames is out of range.
    """
    from streaming_net_ros.network import read_network_file, state_shapes

    if frames is not None and not 2 <= frames <= MAX_FRAMES:
        raise ParameterError(
            "bad number of frames", where="--frames", expected=f"2 to {MAX_FRAMES}", got=frames
        )
    spec = read_network_file(find_network(network))
    grid = FrameGrid(spec.rate_hz if rate_hz is None else rate_hz)
    rollouts, left_out = _choose(spec, choices)
    if frames is None:
        responses = (response_times(chosen).values() for chosen in rollouts.values())
        full = max(times.full_frames for of_one in responses for times in of_one)
        frames = min(full + 3, MAX_DEFAULT_FRAMES)
    return Plan(spec, grid, state_shapes(spec), rollouts, left_out, frames)


def _choose(
    spec: NetworkSpec, choices: Sequence[str | None]
) -> tuple[dict[str, Rollout], dict[str, str]]:
    """The rollouts by heading, each once, and why a default one is left out."""
    from streaming_net_ros.network import rollout_of

    rollouts: dict[str, Rollout] = {}
    left_out: dict[str, str] = {}
    for choice in choices or (None, "streaming", "sequential"):
        try:
            chosen = rollout_of(spec, choice)
        except RolloutError as error:
            if not choices and choice is not None:
                left_out[choice] = str(error)
                continue
            if choice is None or choice in str(error) or not Path(choice).is_file():
                raise
            raise RolloutError(str(error), where=choice) from None
        if chosen not in rollouts.values():
            rollouts[_heading(chosen, choice, rollouts)] = chosen
    return rollouts, left_out


def _heading(rollout: Rollout, choice: str | None, taken: Mapping[str, Rollout]) -> str:
    """Its name; with its file where the name alone is taken, or was not its own.

    A table that was printed as streaming and then edited still says ``rollout streaming``.
    """
    plain = ("streaming", "sequential")
    if choice in (None, *plain) or rollout.name not in (*plain, *taken):
        return rollout.name
    short = f"{rollout.name} ({Path(choice).name})"
    return short if short not in taken else f"{rollout.name} ({choice})"


def _output_to_draw(planned: Plan, output: str | None) -> str:
    outputs = planned.spec.outputs
    if output is None:
        return next(iter(outputs))
    if output not in outputs:
        raise ParameterError(
            f"no such output of {planned.spec.name}",
            where="--output",
            expected=f"one of {', '.join(outputs)}",
            got=output,
        )
    return output


def count_rollouts(planned: Plan) -> dict[str, int | None]:
    """How many valid rollouts with delays 0 and 1: count (None if refused), lower, upper bound."""
    graph = planned.spec.graph
    lower, upper = lemma1_bounds(graph)
    try:
        return {"count": count_valid_rollouts(graph), "lower": lower, "upper": upper}
    except RolloutError:  # too many groups on common cycles
        return {"count": None, "lower": lower, "upper": upper}


def as_data(planned: Plan) -> dict[str, Any]:
    """The plan as plain values for ``--json``; frames are integers, times in milliseconds."""
    spec = planned.spec

    def node(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "shape": list(planned.shapes[name]),
            "bytes": planned.state_bytes(name),
        }

    return {
        "network": spec.name,
        "rate_hz": planned.grid.rate_hz,
        "period_ms": planned.milliseconds(1),
        "inputs": [node(name) for name in spec.inputs],
        "groups": [
            {**node(group.name), "sources": [edge.source for edge in group.edges]}
            for group in spec.groups
        ],
        "outputs": {name: output.group for name, output in spec.outputs.items()},
        "valid_rollouts": count_rollouts(planned),
        "rollouts": [_rollout_data(planned, label) for label in planned.rollouts],
        "left_out": dict(planned.left_out),
    }


def _rollout_data(planned: Plan, label: str) -> dict[str, Any]:
    rollout, graph = planned.rollouts[label], planned.spec.graph
    steps = tableau(rollout, planned.frames - 1)
    return {
        "name": label,
        "delays": {str(edge): rollout.delays[edge.key] for edge in graph.edges},
        "is_streaming": rollout.is_streaming,
        "equally_model_parallel": equally_model_parallel(rollout, streaming(graph.freed())),
        "inference_factor": inference_factor(rollout),
        "max_delay": rollout.max_delay,
        "tableau": {
            group: [steps[frame, group] for frame in range(planned.frames)]
            for group in graph.groups
        },
        "responses": {
            output: {
                "group": times.output,
                "first_frames": times.first_frames,
                "first_ms": planned.milliseconds(times.first_frames),
                "full_frames": times.full_frames,
                "full_ms": planned.milliseconds(times.full_frames),
                "first_step": times.first_step,
                "period_steps": times.period_steps,
                "ages": {
                    name: {"delays": list(age.delays), "is_recurrent": age.is_recurrent}
                    for name, age in times.ages.items()
                },
            }
            for output, times in planned.responses(label).items()
        },
    }


def print_plan(planned: Plan, console: Console) -> None:
    """The whole plan for a person: five blocks, each with a sentence that says what it means."""
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


def _print_states(planned: Plan, console: Console) -> None:
    spec, graph = planned.spec, planned.spec.graph
    about = f": {spec.description}" if spec.description else ""
    console.print(Text.assemble((spec.name, "bold cyan"), about))
    sizes = [
        _counted(len(spec.groups), "layer group"),
        f"{_counted(len(graph.edges), 'edge')} ({len(graph.recurrent_edges)} on cycles)",
        _counted(len(spec.inputs), "input"),
        _counted(len(spec.outputs), "output"),
    ]
    period = (
        f"{planned.grid.rate_hz:g} Hz, a frame every {number_told(planned.milliseconds(1))} ms"
    )
    own = spec.rollout if isinstance(spec.rollout, str) else "hybrid"
    console.print(Text(f"{', '.join(sizes)}; {period}; rollout of the file: {own}"))
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
        f"all paths have reached, at {number_told(planned.milliseconds(1))} ms a frame; the time "
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
    # Freed: a delay of 0 that the file fixes makes its "streaming" wait within the frame.
    reference = streaming(planned.spec.graph.freed())
    row("  inference factor", [inference_factor(one) for one in chosen])
    parallel = [equally_model_parallel(one, reference) for one in chosen]
    row("  equally model-parallel", ["yes" if same else "no" for same in parallel])
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
    return f"{_counted(frames, 'frame')}, {number_told(planned.milliseconds(frames))} ms"


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
