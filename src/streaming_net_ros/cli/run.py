"""``streaming-net run``: a recording, video or camera through the ROS nodes of a network."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streaming_net_ros.errors import LedgerError, ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.metrics import ResponseErrors
    from streaming_net_ros.launching import Process
    from streaming_net_ros.network import NetworkSpec
    from streaming_net_ros.nodes.run import Feed, RunResult
    from streaming_net_ros.nodes.settings import Settings


def run(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    bag: Annotated[Path | None, typer.Option(help="Stream this recording.")] = None,
    video: Annotated[Path | None, typer.Option(help="Stream this video file.")] = None,
    camera: Annotated[int | None, typer.Option(help="Stream this camera (its number).")] = None,
    image_topic: Annotated[
        str | None, typer.Option(help="The bag's image topic; not needed if it has only one.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="INPUT=TOPIC for a further input of the network.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="lockstep: every frame, exact. realtime: at the recorded pace.")
    ] = "lockstep",
    rollout: Annotated[
        str | None,
        typer.Option(help="streaming, sequential, or the file of a rollout table (plan --table)."),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="One process per group, instead of one for all.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="Write what the responses' subscribers got to this bag.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Write what was computed from what to this file: see 'replay'."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights, instead of the file's.")] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="Tuning file: how each group is computed (see tune).")
    ] = None,
    restore: Annotated[
        Path | None, typer.Option(help="Go on from the snapshot in this folder.")
    ] = None,
    transport: Annotated[
        str, typer.Option(help="States between processes: auto, or message (not shared memory).")
    ] = "auto",
    rate_hz: Annotated[
        float | None, typer.Option(help="Frame rate, instead of the file's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N")] = "cpu",
    namespace: Annotated[str, typer.Option(help="Namespace; else the network's name.")] = "",
    images: Annotated[int | None, typer.Option(min=1, help="End after so many images.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="TOPIC:FIELD[,FIELD] in the bag: report the responses' errors against it."
        ),
    ] = None,
    judge: Annotated[
        str, typer.Option(help="FIRST:LAST images over which the errors are taken.")
    ] = ":",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Stream a recording, a video or a camera through the network's ROS nodes.

    An answer leaves every frame from the first response on. In lockstep no frame is lost and the
    result is exactly repeatable; in realtime the frame grid never waits.

    Example: streaming-net run pilot --bag my_drive --record answers --reference
    /teleop/cmd_vel:twist.angular.z
    """
    from streaming_net_ros.evaluation.recorded import parse_part, parse_reference
    from streaming_net_ros.network import read_network_file, rollout_of
    from streaming_net_ros.nodes.settings import Settings

    if sum(source is not None for source in (bag, video, camera)) != 1:
        raise ParameterError("what to stream?", expected="one of --bag, --video, --camera")
    if reference is not None and (record is None or bag is None):
        raise ParameterError("--reference needs --bag and --record", where="--reference")
    if mode not in ("lockstep", "realtime"):
        raise ParameterError(
            "no such mode", where="--mode", expected="lockstep or realtime", got=mode
        )
    if transport not in ("auto", "message"):
        raise ParameterError(
            "no such transport", where="--transport", expected="auto or message", got=transport
        )
    if reference is not None:
        parse_reference(reference)
    if ledger is not None and ledger.exists():
        raise LedgerError(
            "will not write over what exists",
            where=str(ledger),
            remedy="remove it or choose another file",
        )
    part = parse_part(judge, "--judge")
    path = find_network(network).resolve()
    spec = read_network_file(path)
    settings = Settings(
        path,
        weights=weights,
        tuning=tuning,
        restore=None if restore is None else restore.resolve(),
        transport=transport,
        rollout=rollout,
        mode="realtime" if mode == "realtime" else "lockstep",
        rate_hz=rate_hz,
        device=device,
        ledger=None if ledger is None else ledger.resolve(),
    )
    feed = _feed(spec, bag, video, camera, image_topic, _pairs(topic or []), images)
    shares = _processes(spec, settings, namespace) if processes else None
    result = stream(spec, settings, feed, record, shares, namespace, total=images)
    errors = None
    if reference is not None and bag is not None and record is not None:
        from streaming_net_ros.evaluation.recorded import judge_recording

        errors = judge_recording(
            spec,
            rollout_of(spec, rollout),
            record,
            bag,
            image_topic=image_topic,
            reference=reference,
            part=part,
        ).errors
    if as_json:
        told = {**asdict(result), "errors": None if errors is None else errors.to_json()}
        print(json.dumps(told, indent=2))
    else:
        _print(result, record, errors)
    if result.was_interrupted and camera is None:
        raise typer.Exit(130)


def stream(
    spec: NetworkSpec,
    settings: Settings,
    feed: Feed,
    record: Path | None,
    processes: list[Process] | None = None,
    namespace: str = "",
    total: int | None = None,
) -> RunResult:
    """Run a network on a feed with progress on the terminal, recording what leaves it."""
    from streaming_net_ros.evaluation import BagWriter
    from streaming_net_ros.nodes.run import run_network

    with ExitStack() as stack:
        writer = None if record is None else stack.enter_context(BagWriter(record))

        def write(topic: str, kind: str, stamp_ns: int, cdr: bytes) -> None:
            if writer is not None:
                writer.write(topic, kind, stamp_ns, cdr)

        progress = stack.enter_context(
            Progress(
                TextColumn("streaming {task.fields[name]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("frames"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
        )
        task = progress.add_task("", total=total, name=spec.name)
        return run_network(
            spec,
            settings,
            feed,
            write,
            processes=processes,
            namespace=namespace,
            on_progress=lambda frames: progress.update(task, completed=frames),
        )


def _feed(
    spec: NetworkSpec,
    bag: Path | None,
    video: Path | None,
    camera: int | None,
    image_topic: str | None,
    named: dict[str, str],
    images: int | None,
) -> Feed:
    from streaming_net_ros.nodes.feeds import bag_feed, video_feed

    if bag is not None:
        return bag_feed(bag, spec, image_topic, named, images)
    return video_feed(video if video is not None else (camera or 0), spec, images)


def _processes(spec: NetworkSpec, settings: Settings, namespace: str) -> list[Process]:
    from streaming_net_ros.launching import process_list

    return process_list(
        str(settings.network),
        [group.name for group in spec.groups],
        namespace=namespace or spec.name,
        parameters=settings.parameters(),
    )


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if text.count("=") != 1:
            raise ParameterError("not a topic", where="--topic", expected="INPUT=TOPIC", got=text)
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _print(result: RunResult, record: Path | None, errors: ResponseErrors | None) -> None:
    console = Console(highlight=False)
    responses = ", ".join(f"{count} on {name}" for name, count in result.responses.items())
    rate = result.frames / result.seconds if result.seconds > 0 else 0.0
    console.print(
        f"{result.images} images in, {result.frames} frames, {result.seconds:.1f} s "
        f"({rate:.1f} frames/s); responses: {responses}"
    )
    for line in result.cadence:
        console.print(f"  {line}")
    if result.unnumbered:
        console.print(
            f"[yellow]{result.unnumbered} images became no frame (refused or dropped)[/]"
        )
    if result.restarts:
        told = ", ".join(f"{name} ({count} times)" for name, count in result.restarts.items())
        console.print(f"[yellow]processes that died and were started again: {told}[/]")
    if record is not None:
        console.print(f"recorded to {record}")
    if errors is not None:
        console.print(str(errors))
