"""``streaming-net``: the verbs, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from streaming_net_ros.cli import plan, run, simulate, train
from streaming_net_ros.errors import StreamingNetError

app = typer.Typer(
    name="streaming-net",
    help="Run a neural network on a robot as a streaming rollout: every layer group a ROS 2 node, "
    "an answer every frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry ``streaming-net``.

    Returns:
        0, or the error's exit code: 2 for bad input, 3 for a run that could not go on.
    """
    try:
        result = app(args=arguments, standalone_mode=False)
    except StreamingNetError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]error:[/] {error}", markup=True
        )
        return error.exit_code
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
