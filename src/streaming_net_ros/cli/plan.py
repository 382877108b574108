"""``streaming-net plan``: what a network will do, before anything is computed.

Prints, side by side for several rollouts, when a network answers, how old its answers are and how
many update steps they cost; writes the same as JSON, as a picture, or as a rollout table to edit.
All numbers come from ``theory``; the state shapes need torch, but no weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streaming_net_ros.errors import ParameterError, RolloutError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec
    from streaming_net_ros.theory import Ages, ResponseTimes, Rollout

FRAMES_AFTER_FULL = 3
MOST_FRAMES = 100
MOST_FRAMES_UNASKED = 16
PICTURE_SUFFIXES = (".svg", ".png")
SIDE_BY_SIDE = 3


def plan(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    rollout: Annotated[
        list[str] | None,
        typer.Option(
            help="streaming, sequential, or the file of a rollout table (--table). Repeat it to "
            "compare several; without it: the file's own, streaming and sequential."
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Print only the rollout table, to be edited and used.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the network and its rollouts (.svg or .png).")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The output whose light cone is drawn; else the first.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames to show; else a few more than the full response.")
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option(help="Frame rate, instead of the file's.")
    ] = None,
) -> None:
    """Show when a network answers, how old the answers are, and what each rollout costs.

    Example: streaming-net plan pilot --picture pilot.svg
    """
    if table and as_json:
        raise ParameterError("--table and --json print different things", remedy="choose one")
    if picture is not None and picture.suffix.lower() not in PICTURE_SUFFIXES:
        raise ParameterError(
            "not a picture",
            where="--picture",
            expected=" or ".join(PICTURE_SUFFIXES),
            got=str(picture),
        )
    if frames is not None and not 1 <= frames <= MOST_FRAMES:
        expected = f"1 to {MOST_FRAMES} frames"
        raise ParameterError("cannot show that", where="--frames", expected=expected, got=frames)
    made = make_plan(network, rollout or [], frames, rate_hz, only_own=table)
    shown = made.output_named(output)
    if table and len(made.rollouts) > 1:
        raise ParameterError("--table prints one rollout", got=rollout, remedy="choose one")
    if picture is not None:
        from streaming_net_ros.cli.plan_picture import draw_plan

        draw_plan(made, shown, picture)
    if table:
        from streaming_net_ros.theory import format_table

        print(format_table(made.rollouts[0]), end="")
    elif as_json:
        print(json.dumps(made.to_json(), indent=2))
    else:
        print_plan(made, Console(markup=False, highlight=False, emoji=False))


@dataclass(frozen=True)
class Plan:
    """A network, the rollouts to compare, and what theory says about them.

    Args:
        spec: the network.
        shapes: of every node's state, inputs included.
        rollouts: to compare, all for this network, with different names.
        responses: response times by group that answers, per rollout.
        valid_rollouts: how many there are, or None if they are too many to count.
        bounds: Lemma 1's bounds of that number.
        rate_hz: frames per second.
        period_ns: from one frame to the next.
        frames: how many to show; frames 0 to ``frames - 1``.
    """

    spec: NetworkSpec
    shapes: dict[str, tuple[int, ...]]
    rollouts: tuple[Rollout, ...]
    responses: tuple[dict[str, ResponseTimes], ...]
    valid_rollouts: int | None
    bounds: tuple[int, int]
    rate_hz: float
    period_ns: int
    frames: int
    is_frames_given: bool

    @property
    def outputs(self) -> dict[str, str]:
        """The group behind every output's name."""
        return {name: spec.group for name, spec in self.spec.outputs.items()}

    @property
    def sources(self) -> dict[str, list[str]]:
        """What every group hears."""
        return {group.name: [edge.source for edge in group.edges] for group in self.spec.groups}

    def output_named(self, name: str | None) -> str:
        """The output of that name, or the first one.

        Raises:
            ParameterError: there is no such output.
        """
        names = list(self.outputs)
        if name is not None and name not in names:
            raise ParameterError(
                "no such output", where="--output", expected="one of " + ", ".join(names), got=name
            )
        return name or names[0]

    def size_bytes(self, node: str) -> int:
        """Bytes of a node's state in a message: an image stays 8-bit, all else is float."""
        given = self.spec.inputs.get(node)
        if given is not None:
            number = 1 if given.type == "image" else 4
        else:
            number = 2 if self.spec.state_dtype == "float16" else 4
        return math.prod(self.shapes[node]) * number

    def milliseconds(self, frames: int) -> float:
        """So many frames at the plan's rate."""
        return frames * self.period_ns / 1e6

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        lower, upper = self.bounds
        return {
            "network": self.spec.name,
            "rate_hz": self.rate_hz,
            "period_ms": self.milliseconds(1),
            "inputs": [
                {
                    "name": name,
                    "type": given.type,
                    "shape": list(given.shape),
                    "bytes": self.size_bytes(name),
                }
                for name, given in self.spec.inputs.items()
            ],
            "groups": [
                {
                    "name": name,
                    "shape": list(self.shapes[name]),
                    "bytes": self.size_bytes(name),
                    "sources": sources,
                }
                for name, sources in self.sources.items()
            ],
            "outputs": self.outputs,
            "valid_rollouts": {"count": self.valid_rollouts, "lower": lower, "upper": upper},
            "rollouts": [
                self._rollout_json(rollout, responses)
                for rollout, responses in zip(self.rollouts, self.responses, strict=True)
            ],
        }

    def _rollout_json(
        self, rollout: Rollout, responses: dict[str, ResponseTimes]
    ) -> dict[str, Any]:
        from streaming_net_ros.theory import (
            equally_model_parallel,
            inference_factor,
            streaming,
            tableau,
        )

        steps = tableau(rollout, self.frames - 1)
        return {
            "name": rollout.name,
            "delays": {str(edge): rollout.delays[edge.key] for edge in rollout.graph.edges},
            "is_streaming": rollout.is_streaming,
            "equally_model_parallel": equally_model_parallel(rollout, streaming(rollout.graph)),
            "inference_factor": inference_factor(rollout),
            "max_delay": rollout.max_delay,
            "tableau": {
                group: [steps[frame, group] for frame in range(self.frames)]
                for group in rollout.graph.groups
            },
            "responses": {
                output: {
                    "group": group,
                    "first_frames": responses[group].first_frames,
                    "first_ms": self.milliseconds(responses[group].first_frames),
                    "full_frames": responses[group].full_frames,
                    "full_ms": self.milliseconds(responses[group].full_frames),
                    "first_step": responses[group].first_step,
                    "period_steps": responses[group].period_steps,
                    "ages": {
                        name: {"delays": list(ages.delays), "is_recurrent": ages.is_recurrent}
                        for name, ages in responses[group].ages.items()
                    },
                }
                for output, group in self.outputs.items()
            },
        }


def make_plan(
    network: str,
    choices: Sequence[str] = (),
    frames: int | None = None,
    rate_hz: float | None = None,
    only_own: bool = False,
) -> Plan:
    """Read a network and ask theory about its rollouts.

    Args:
        network: the path of a network file, or the name of a shipped one.
        choices: rollouts as ``--rollout`` takes them; none: see ``only_own``.
        frames: how many to show; None: a few more than the slowest full response.
        rate_hz: instead of the file's.
        only_own: without choices, the file's own rollout alone; else streaming and sequential too.

    Raises:
        NetworkFileError: the network file is missing or wrong.
        RolloutError: a choice is not a valid rollout of this network.
        ParameterError: the rate is out of range.
    """
    from streaming_net_ros.frames import FrameGrid
    from streaming_net_ros.network import read_network_file, state_shapes
    from streaming_net_ros.theory import count_valid_rollouts, lemma1_bounds, response_times

    spec = read_network_file(find_network(network))
    grid = FrameGrid(spec.rate_hz if rate_hz is None else rate_hz)
    rollouts = _chosen(spec, choices, only_own)
    responses = tuple(response_times(rollout) for rollout in rollouts)
    slowest = max(times.full_frames for by_group in responses for times in by_group.values())
    try:
        count = count_valid_rollouts(spec.graph)
    except RolloutError:
        count = None  # too many to count: the bounds are told instead
    return Plan(
        spec=spec,
        shapes=state_shapes(spec),
        rollouts=rollouts,
        responses=responses,
        valid_rollouts=count,
        bounds=lemma1_bounds(spec.graph),
        rate_hz=grid.rate_hz,
        period_ns=grid.period_ns,
        frames=frames or min(slowest + FRAMES_AFTER_FULL, MOST_FRAMES_UNASKED),
        is_frames_given=frames is not None,
    )


def _chosen(spec: NetworkSpec, choices: Sequence[str], only_own: bool) -> tuple[Rollout, ...]:
    """The rollouts to compare, without duplicates, each with a name of its own."""
    from streaming_net_ros.network import rollout_of
    from streaming_net_ros.theory import Rollout

    rollouts = [_read_rollout(spec, choice) for choice in choices]
    if not choices:
        rollouts = [rollout_of(spec)]
        for name in () if only_own else ("streaming", "sequential"):
            try:
                rollouts.append(rollout_of(spec, name))
            except RolloutError:
                continue  # an unmarked cycle: this network has no sequential rollout
    named: dict[str, Rollout] = {}
    for rollout in dict.fromkeys(rollouts):
        name, number = rollout.name, 2
        while name in named:
            name, number = f"{rollout.name}_{number}", number + 1
        named[name] = Rollout(rollout.graph, rollout.delays, name)
    return tuple(named.values())


def _read_rollout(spec: NetworkSpec, choice: str) -> Rollout:
    from streaming_net_ros.network import rollout_of

    try:
        return rollout_of(spec, choice)
    except RolloutError as error:
        if choice in str(error):
            raise
        raise RolloutError(str(error), where=choice) from None


def print_plan(made: Plan, console: Console) -> None:
    """The plan for a person, on a terminal of 80 columns or more."""
    _print_network(made, console)
    _print_responses(made, console)
    _print_count(made, console)
    _print_tableaus(made, console)


def _print_network(made: Plan, console: Console) -> None:
    spec, graph = made.spec, made.spec.graph
    console.print(
        Text(spec.name, "bold").append(f": {spec.description}" if spec.description else "")
    )
    counts = [
        _counted(len(spec.inputs), "input"),
        _counted(len(spec.groups), "group"),
        f"{_counted(len(graph.edges), 'edge')} ({len(graph.recurrent_edges)} recurrent)",
        _counted(len(spec.outputs), "output"),
        f"{made.rate_hz:g} Hz, {_ms(made.milliseconds(1))} per frame",
    ]
    console.print("; ".join(counts))
    table = _table("node", "state", "KiB", "hears")
    for column in table.columns[1:3]:
        column.justify = "right"
    for node in [*spec.inputs, *made.sources]:
        shape = " x ".join(map(str, made.shapes[node]))
        hears = ", ".join(made.sources[node]) if node in made.sources else "(input)"
        table.add_row(node, shape, f"{made.size_bytes(node) / 1024:,.2f}", hears)
    console.print(table)
    _explain(
        console,
        "Every group holds one state and hands it on once a frame; KiB is the size of that message.",
    )


def _print_responses(made: Plan, console: Console) -> None:
    from streaming_net_ros.theory import equally_model_parallel, inference_factor, streaming

    for start in range(0, len(made.rollouts), SIDE_BY_SIDE):
        rollouts = made.rollouts[start : start + SIDE_BY_SIDE]
        table = _table("rollout", *(rollout.name for rollout in rollouts))
        for column in table.columns[1:]:
            column.justify = "right"
        table.add_row("inference factor", *(str(inference_factor(r)) for r in rollouts))
        parallel = [equally_model_parallel(r, streaming(r.graph)) for r in rollouts]
        table.add_row("as parallel as streaming", *("yes" if yes else "no" for yes in parallel))
        table.add_row("longest delay", *(_counted(r.max_delay, "frame") for r in rollouts))
        for output, group in made.outputs.items():
            times = [by_group[group] for by_group in made.responses[start:][:SIDE_BY_SIDE]]
            name = output if output == group else f"{output} (group {group})"
            table.add_row()
            table.add_row(Text(f"output {name}", "bold"))
            for row in _response_rows(made, times):
                table.add_row(*row)
        console.print(table)
    own = made.spec.rollout if isinstance(made.spec.rollout, str) else "hybrid"
    _explain(
        console,
        f"The file's own rollout is {own}. The first response is the first output that an image can "
        "influence, the full response the one that all its paths have reached. Update steps, each "
        "one group's work, tell the effort: a frame takes as many as the inference factor, one "
        "after the other. The ages are those of the images in one answer; 'and older' means that "
        "a cycle keeps the memory of earlier ones.",
    )


def _response_rows(made: Plan, times: list[ResponseTimes]) -> list[list[str]]:
    """The rows of one output: a label and a cell for each rollout."""
    rows = [
        ["  first response", *(_duration(made, t.first_frames) for t in times)],
        ["  full response", *(_duration(made, t.full_frames) for t in times)],
        ["  first answer after", *(_counted(t.first_step, "step") for t in times)],
        ["  then an answer every", *(_counted(t.period_steps, "step") for t in times)],
    ]
    for name in times[0].ages:  # the graph decides which inputs these are, not the rollout
        rows.append([f"  frames since {name}", *(format_ages(t.ages[name]) for t in times)])
    return rows


def _print_count(made: Plan, console: Console) -> None:
    lower, upper = map(_big, made.bounds)
    if made.valid_rollouts is None:
        console.print(
            Text("valid rollouts: ", "bold").append(f"from {lower} to {upper} (Lemma 1)")
        )
        note = "Too many groups lie on common cycles to count them exactly: these are bounds. "
    else:
        told = f"{_big(made.valid_rollouts)} (Lemma 1: from {lower} to {upper})"
        console.print(Text("valid rollouts: ", "bold").append(told))
        note = ""
    fixed = any(edge.delay is not None for edge in made.spec.graph.edges)
    free = " Delays that the file fixes count as free here." if fixed else ""
    _explain(
        console,
        f"{note}All ways to give every edge a delay of 0 or 1 so that no cycle waits for itself.{free}",
    )


def _print_tableaus(made: Plan, console: Console) -> None:
    grids = [
        Text(f"{rollout.name}\n", "bold").append(text.rstrip("\n"), "not bold")
        for rollout in made.rollouts
        for text in [_fitting_tableau(made, rollout, console.width)]
    ]
    console.print(Text("tableau", "bold").append(" (update step after which a state is done)"))
    console.print(Columns(grids, padding=(1, 5)))
    _explain(
        console,
        "Frame 0 is given. A row that grows by 1 a frame belongs to a group that works all the time; "
        "larger steps are the time that it waits for others.",
    )


def _fitting_tableau(made: Plan, rollout: Rollout, width: int) -> str:
    """The tableau; with fewer frames than planned if the terminal is narrow and none were asked."""
    from streaming_net_ros.theory import format_tableau

    for last in range(made.frames - 1, 0, -1):
        text = format_tableau(rollout, last)
        if made.is_frames_given or len(text.splitlines()[0]) <= width:
            return text
    return format_tableau(rollout, 0)


def format_ages(ages: Ages) -> str:
    """``2, 4 and older``; three or more in a row become ``2 to 5``."""
    runs: list[list[int]] = []
    for delay in ages.delays:
        if runs and delay == runs[-1][-1] + 1:
            runs[-1].append(delay)
        else:
            runs.append([delay])
    words = [
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    ]
    return ", ".join(words) + (" and older" if ages.is_recurrent else "")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _explain(console: Console, sentence: str) -> None:
    console.print(Text(sentence, "dim"))
    console.print()


def _duration(made: Plan, frames: int) -> str:
    return f"{_counted(frames, 'frame')}, {_ms(made.milliseconds(frames))}"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.1f}".removesuffix(".0") + " ms"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _big(number: int) -> str:
    """Readable up to any size; a number of rollouts doubles with every edge."""
    return f"{number:,}" if number < 10**12 else f"about {Decimal(number):.1e}"
