"""``streaming-net plan``: what a network answers and when, told before anything is computed.

Owns the verb's options and which of its prints is wanted: text for a person (``plan_text``), JSON
for a program (``plan_data``), the rollout table for ``run --rollout``, a picture
(``plan_picture``). Knows no theory. Imported by ``app``; loads torch and matplotlib only when they
are needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streaming_net_ros.cli.plan_data import (
    MAX_DEFAULT_FRAMES,
    MAX_FRAMES,
    Plan,
    as_data,
    make_plan,
)
from streaming_net_ros.cli.plan_text import print_plan
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import format_table, future_cone, past_cone

MAX_WIDTH = 100


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
    cone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --picture FILE.svg: draw only the first rollout's frames, and in them what "
            "can influence the output NAME, or what the first image of the input NAME influences.",
        ),
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
    if cone is not None and (picture is None or picture.suffix.lower() != ".svg"):
        raise ParameterError("a cone is a picture", where="--cone", expected="--picture FILE.svg")
    # The table is for one rollout: what is compared by default would not read back.
    choices: Sequence[str | None] = rollout or ([None] if table else [])
    planned = make_plan(network, choices, frames, rate_hz)
    drawn = _output_to_draw(planned, output)
    if picture is not None and cone is not None:
        _write(picture, _cone_picture(planned, cone))
    elif picture is not None:
        from streaming_net_ros.cli.plan_picture import draw_plan, save_picture  # matplotlib

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


def _cone_picture(planned: Plan, name: str) -> str:
    """The rollout view of the first rollout, with the cone of an output or an input lit."""
    from streaming_net_ros.network import computes_of
    from streaming_net_ros.viewer.rollout_picture import draw_rollout
    from streaming_net_ros.viewer.rollout_view import MAX_COLUMNS, RolloutView

    spec, rollout = planned.spec, next(iter(planned.rollouts.values()))
    last, computes = min(planned.frames, MAX_COLUMNS) - 1, computes_of(spec)
    if name in spec.outputs:
        lit = past_cone(rollout, spec.outputs[name].group, last, 0, computes)
    elif name in spec.inputs:
        lit = future_cone(rollout, name, 0, last, computes)
    else:
        raise ParameterError(
            f"no such output or input of {spec.name}", where="--cone",
            expected=f"one of {', '.join([*spec.outputs, *spec.inputs])}", got=name,
        )  # fmt: skip
    outputs = {output: given.group for output, given in spec.outputs.items()}
    view = RolloutView(rollout, 0, last, cone=lit, outputs=outputs, computes=computes)
    return draw_rollout(view, is_file=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ParameterError(
            "cannot write the picture", where=str(path), got=error.strerror or str(error)
        ) from None
