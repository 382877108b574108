"""``streaming-net drive``: how fast a network can drive, run in several ways at equal compute.

Virtual time throughout: the figures are those of the stated compute times, whatever the machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming_net_ros.cli.drive_entrants import find_conditions, find_entrants, parse_speeds
from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.errors import ParameterError

UNSEEN_SEED = 9001  # the pilot's weights were trained on seeds below 1000


def drive(
    *,
    out: Annotated[Path, typer.Option(help="Folder for drive.json and drive.png; must be new.")],
    network: Annotated[
        str, typer.Option(help="Network file, or the name of a shipped one.")
    ] = "pilot",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="streaming, hybrid, pipelined, sequential or 'no compute time'. Can be repeated."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many tracks.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Track k has seed SEED + k.")] = UNSEEN_SEED,
    work_ms: Annotated[
        float, typer.Option(min=0, max=1e6, help="Compute time of every group (ms).")
    ] = 35.0,
    work: Annotated[
        list[str] | None, typer.Option(help="GROUP=MS for a group that takes another time.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Groups that compute at once; 0: all of them.")
    ] = 0,
    rate_hz: Annotated[
        float, typer.Option(min=1, max=1000, help="Of the camera, and of the frames.")
    ] = 20.0,
    speeds: Annotated[
        str, typer.Option(help="FIRST:LAST:STEP or A,B,C (m/s), tried until the track is left.")
    ] = "0.8:6:0.1",
    common_mps: Annotated[
        float | None,
        typer.Option("--at", help="Speed (m/s) of the drives that are drawn; else in the middle."),
    ] = None,
    laps: Annotated[float, typer.Option(min=0.01, max=1000, help="Of each drive.")] = 1.0,
    seconds: Annotated[
        float, typer.Option(min=1, max=1e5, help="Of each drive, at the latest.")
    ] = 120.0,
    own_throttle: Annotated[
        bool,
        typer.Option(
            "--own-throttle",
            help="The network's own throttle drives; speeds are those of full throttle.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Let a network drive, streaming and sequential, with the same compute, faster and faster.

    Every group takes a stated time; the car moves on meanwhile. Told per way of running: how old
    its commands are, and the largest speed at which it keeps the track. Takes some minutes.

    Example: streaming-net drive --out closed_loop
    """
    import torch

    from streaming_net_ros.cli.drive_picture import draw_drives
    from streaming_net_ros.cli.drive_text import drive_table
    from streaming_net_ros.evaluation.driving.closed_loop import DriveTask
    from streaming_net_ros.evaluation.driving.speeds import checked_speeds, compare_entrants
    from streaming_net_ros.simulation import World

    torch.set_num_threads(1)  # small layers: more threads only wait for each other
    given = checked_speeds(parse_speeds(speeds))
    task = DriveTask(
        speed_mps=given[0] if common_mps is None else common_mps,
        holds_speed=not own_throttle,
        laps=laps,
        seconds=seconds,
        rate_hz=rate_hz,
    )
    conditions = find_conditions(network, work_ms, work or [], workers, rate_hz)
    entrants = find_entrants(network, only or [], conditions)
    make_new_folder(out)
    worlds = [World.from_seed(seed + k) for k in range(seeds)]
    parts = 2 * len(entrants) * len(worlds)
    with progress_bar("driving", "parts") as advance:
        common_mps, outcomes = compare_entrants(
            entrants,
            worlds,
            given,
            task,
            common_mps=common_mps,
            on_drive=lambda done, note: advance(done, parts, note),
        )
    told = {
        "network": network,
        **conditions.to_json(),
        "task": {"holds_speed": task.holds_speed, "laps": laps, "seconds": seconds},
        "speeds_mps": list(given),
        "common_speed_mps": common_mps,
        "outcomes": [outcome.to_json() for outcome in outcomes],
    }
    (out / "drive.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    draw_drives(out / "drive.png", worlds[0], outcomes, common_mps, str(conditions))
    if as_json:
        print(json.dumps(told, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(str(conditions))
    console.print(drive_table(outcomes, common_mps))
    console.print(f"written to {out}: drive.json, drive.png")


def make_new_folder(out: Path) -> None:
    """Make a folder; an empty one may be there.

    Raises:
        ParameterError: something is there, or it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        is_empty = not any(out.iterdir())
    except OSError as error:
        raise ParameterError(
            f"cannot make the folder ({error.strerror})", where="--out", got=str(out)
        ) from None
    if not is_empty:
        raise ParameterError(
            "will not write over what exists",
            where=f"--out {out}",
            remedy="remove it or choose another path",
        )
