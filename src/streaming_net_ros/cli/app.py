"""``streaming-net``: the verbs, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from streaming_net_ros.cli import (
    demo,
    drive,
    evaluate,
    experiment,
    layout,
    new,
    plan,
    replay,
    run,
    simulate,
    train,
    tune,
    view,
)
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
app.command("demo")(demo.demo)
app.command("drive")(drive.drive)
app.command("evaluate")(evaluate.evaluate)
app.command("experiment")(experiment.experiment)
app.command("layout")(layout.layout)
app.command("new")(new.new)
app.command("plan")(plan.plan)
app.command("replay")(replay.replay)
app.command("run")(run.run)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("view")(view.view)


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry ``streaming-net``.

    Returns:
        0, or the error's exit code: 2 for bad input, 3 for a run that could not go on.
    """
    try:
        app(args=arguments)  # typer tells of unknown options, and always ends by SystemExit
    except StreamingNetError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(Text.assemble(("error: ", "bold red"), str(error)))
        return error.exit_code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
