"""``streaming-net demo``: an unseen simulated drive through the ROS nodes of the shipped pilot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming_net_ros.cli.run import stream
from streaming_net_ros.cli.simulate import COMMAND_TOPIC, COMPRESSED_TOPIC, write_drive
from streaming_net_ros.errors import BagError
from streaming_net_ros.paths import find_network

UNSEEN_SEED = 9001  # the pilot's weights were trained on seeds below 1000
_MARK = ".streaming_net_demo"  # only a folder that this verb made is ever replaced


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the bags and the picture.")] = Path("demo"),
    frames: Annotated[int, typer.Option(min=40, help="Frames to drive.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the track and the drive.")] = UNSEEN_SEED,
    processes: Annotated[
        bool, typer.Option("--processes", help="One process per group, instead of one for all.")
    ] = False,
) -> None:
    """Drive: a simulated camera streams through the pilot's ROS nodes at its frame rate.

    Prints cadence and errors of the early and the full response against the expert who drove, and
    draws them beside camera frames. Takes about half a minute.
    """
    from streaming_net_ros.cli.demo_picture import draw_demo
    from streaming_net_ros.evaluation.recorded import judge_recording
    from streaming_net_ros.launching import process_list
    from streaming_net_ros.network import read_network_file, rollout_of
    from streaming_net_ros.nodes.feeds import bag_feed
    from streaming_net_ros.nodes.settings import Settings

    console = Console(highlight=False, soft_wrap=True)
    _fresh_folder(out)
    path = find_network("pilot").resolve()
    spec = read_network_file(path)
    rollout = rollout_of(spec)
    drive, answers, picture = out / "drive", out / "answers", out / "demo.png"

    console.print(f"[bold]1[/] simulating {frames} camera frames of a track never seen before")
    write_drive(drive, seed, frames, spec.rate_hz, compressed=True)
    seconds = frames / spec.rate_hz
    where = "a process each" if processes else "one process"
    console.print(
        f"[bold]2[/] streaming them at {spec.rate_hz:g} Hz ({seconds:.0f} s) through "
        f"{len(spec.groups)} layer groups as ROS 2 nodes ({where})"
    )
    settings = Settings(path, mode="realtime")
    namespace = f"{spec.name}_demo"
    groups = [group.name for group in spec.groups]
    shares = process_list(str(path), groups, namespace=namespace, parameters=settings.parameters())
    result = stream(
        spec,
        settings,
        bag_feed(drive, spec, COMPRESSED_TOPIC),
        answers,
        shares if processes else None,
        namespace,
        total=frames,
    )
    judged = judge_recording(
        spec,
        rollout,
        answers,
        drive,
        image_topic=COMPRESSED_TOPIC,
        reference=f"{COMMAND_TOPIC}:twist.angular.z",
        part=slice(None),
    )
    draw_demo(picture, spec.name, drive, COMPRESSED_TOPIC, judged)

    answered = ", ".join(f"{count} on response/{name}" for name, count in result.responses.items())
    console.print(f"[bold]3[/] {result.images} images in, {answered}")
    for line in result.cadence:
        console.print(f"    {line}")
    console.print(f"[bold]4[/] steering against the expert, {judged.errors}")
    lag_ms = 1e3 * (judged.errors.full_frames - judged.errors.first_frames) / spec.rate_hz
    console.print(
        f"    (an image's full response comes {lag_ms:.0f} ms after its early one; the car has\n"
        "    moved by then, and the response is about newer images too: see docs/training.md)"
    )
    console.print(f"    picture: [bold]{picture}[/]")
    console.print(
        "\nTry next:\n"
        "  streaming-net plan pilot --picture pilot.svg   what answers when, and why\n"
        f"  streaming-net run pilot --bag {drive} --processes --record again\n"
        f"                                                 exact, a process per group\n"
        "  pip install '.\\[view]' && streaming-net view pilot --simulate\n"
        "                                                 look into it, and change it\n"
        f"  ros2 launch streaming_net_ros streaming_net.launch.py image_topic:=/your/camera\n"
        "                                                 on a robot"
    )


def _fresh_folder(out: Path) -> None:
    """An empty folder; one that an earlier demo made is replaced, nothing else is."""
    if out.exists() and not (out / _MARK).is_file():
        raise BagError(
            "will not write over what exists",
            where=str(out),
            remedy="choose another folder: --out FOLDER",
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()
