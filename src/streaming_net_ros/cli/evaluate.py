"""``streaming-net evaluate``: rollouts judged on recordings as a robot would have lived them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streaming_net_ros.cli.evaluate_contenders import MEASURED, MS, entries_of, work_of
from streaming_net_ros.cli.machine import machine
from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.cli.train_data import bags_at
from streaming_net_ros.errors import BagError, ParameterError

if TYPE_CHECKING:
    from streaming_net_ros.cli.evaluate_contenders import Entry
    from streaming_net_ros.evaluation.streaming.comparison import Comparison, Drive, Play, Task
    from streaming_net_ros.evaluation.streaming.played import Timing


def evaluate(
    networks: Annotated[
        list[str],
        typer.Argument(help="Network file, or the name of a shipped one. Several are compared."),
    ],
    *,
    bag: Annotated[
        list[Path],
        typer.Option(help="A recording, or a folder of several. Can be repeated; all are pooled."),
    ],
    reference: Annotated[
        list[str],
        typer.Option(
            help="[OUTPUT=]TOPIC:FIELD[,FIELD] in the bags: what was right. Can be repeated, one "
            "for each output. One field for a tensor of several elements is the number of a class."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; must be new.")],
    rollout: Annotated[
        list[str] | None,
        typer.Option(
            help="streaming, sequential (one pass of the network after the other), pipelined "
            "(sequential, all groups at once), or the file of a rollout table. Can be repeated; "
            "else streaming and sequential, or of several networks each one's own."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="FILE, or NAME=FILE for the rollout of that name. Can be repeated."),
    ] = None,
    work_ms: Annotated[
        float | None, typer.Option(help="Compute time of every group; else none, as offline.")
    ] = None,
    work: Annotated[
        list[str] | None,
        typer.Option(help="GROUP=MS for one group, or 'measured': on this machine."),
    ] = None,
    camera_ms: Annotated[
        float, typer.Option(min=0, help="From the capture of an image to its arrival.")
    ] = 0.0,
    workers: Annotated[
        int, typer.Option(min=0, help="Groups that compute at once; 0: all.")
    ] = 0,
    rate_hz: Annotated[
        float | None, typer.Option(min=1e-3, help="Frame rate, instead of the file's.")
    ] = None,
    image_topic: Annotated[
        str | None, typer.Option(help="The bags' image topic; not needed if they have only one.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="INPUT=TOPIC for a further input of the networks.")
    ] = None,
    judge: Annotated[
        str, typer.Option(help="FIRST:LAST images of each bag that are judged.")
    ] = ":",
    change: Annotated[
        float | None,
        typer.Option(help="How far a reference goes to have changed; else half its deviation."),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option("--realtime", help="Through the ROS nodes at the recorded pace, on this "
                     "machine, instead of in virtual time."),
    ] = False,
    answers: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BAG with the responses of the rollout of that name, recorded "
                     "while the bag was played into it; it is not played again."),
    ] = None,
    no_video: Annotated[bool, typer.Option("--no-video", help="No annotated video.")] = False,
    no_bag: Annotated[bool, typer.Option("--no-bag", help="No annotated bag.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:  # fmt: skip
    """Judge rollouts on recordings: what they answer, when, and what that is worth by then.

    Deterministic unless times are measured: groups take stated compute times in virtual time. The
    folder gets result.json, report.html with its pictures, and an annotated bag and video.

    Example: streaming-net evaluate pilot --bag my_drive --reference
    /teleop/cmd_vel:twist.angular.z --work-ms 35 --out evaluation
    """
    import torch

    from streaming_net_ros.evaluation.recorded import parse_part
    from streaming_net_ros.evaluation.streaming.comparison import Task, compare
    from streaming_net_ros.evaluation.streaming.played import Timing

    _check(out, change, topic or [], realtime=realtime, timed=bool(work_ms or work or camera_ms))
    torch.set_num_threads(1)  # as the nodes do: the same bits
    entries = entries_of(networks, rollout or [], weights or [], is_pipelined=realtime)
    work_ns = work_of(entries, work_ms, work or [])
    timing = Timing(work_ns, round(camera_ms * MS), rate_hz, workers)
    task = Task(
        contenders=[entry.contender for entry in entries],
        drives=_drives(bag),
        references=reference,
        timing={entry.contender.name: timing for entry in entries},
        image_topic=image_topic,
        topics=_pairs(topic or []),
        part=parse_part(judge, "--judge"),
        threshold=change,
    )
    is_measured = MEASURED in (work or [])
    if is_measured:
        task = replace(task, timing=_measured(task, entries, timing, work or []))
    notes = [note for entry in entries for note in entry.notes()]
    players = _players(entries, task, answers or [], realtime=realtime)
    notes += _timing_notes(
        realtime=realtime,
        is_measured=is_measured,
        has_work=any(work_ns.values()) or len(players) == len(entries),
    )
    with progress_bar("playing", "images") as advance:
        comparison = compare(task, players, advance)
    told = {
        "mode": "realtime" if realtime else "virtual time",
        "judged": judge,
        **({"machine": machine("cpu")} if realtime or is_measured else {}),
        "notes": notes,
        **comparison.to_json(),
    }
    _write(out, comparison, told, video=not no_video, bags=not no_bag)
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _print(comparison, out, notes)


def _check(
    out: Path, change: float | None, topics: Sequence[str], *, realtime: bool, timed: bool
) -> None:
    if out.exists():
        raise BagError(
            "will not write over what exists",
            where=str(out),
            remedy="choose another folder: --out FOLDER",
        )
    if change is not None and not (isfinite(change) and change > 0):
        raise ParameterError("not a change", where="--change", expected="a number > 0", got=change)
    if realtime and timed:
        raise ParameterError(
            "realtime takes the time that it takes",
            where="--realtime",
            expected="no --work-ms, --work or --camera-ms beside it",
        )
    _pairs(topics)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if text.count("=") != 1:
            raise ParameterError("not a topic", where="--topic", expected="INPUT=TOPIC", got=text)
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _drives(bags: Sequence[Path]) -> list[Drive]:
    """The recordings, each by a name of its own."""
    from streaming_net_ros.evaluation.streaming.comparison import Drive

    drives: list[Drive] = []
    for path in (found for given in bags for found in bags_at(given)):
        same = sum(drive.path.resolve().stem == path.resolve().stem for drive in drives)
        name = path.resolve().stem + (f" ({same + 1})" if same else "")
        drives.append(Drive(name, path))
    return drives


def _measured(
    task: Task, entries: Sequence[Entry], timing: Timing, work: Sequence[str]
) -> dict[str, Timing]:
    """Compute times of this machine, but for those groups that were given one."""
    from streaming_net_ros.evaluation.inputs import read_inputs
    from streaming_net_ros.evaluation.streaming.played import measure_work

    given = {text.partition("=")[0] for text in work if text != MEASURED}
    found = {}
    for entry in entries:
        contender = entry.contender
        inputs = read_inputs(
            task.drives[0].path, contender.network.spec, task.image_topic, task.topics
        )
        took = measure_work(contender, inputs)
        kept = {group: ns for group, ns in timing.work_ns.items() if group in given}
        found[contender.name] = replace(timing, work_ns={**took, **kept})
    return found


def _timing_notes(*, realtime: bool, is_measured: bool, has_work: bool) -> list[str]:
    if realtime:
        return ["Streamed through ROS nodes on this machine: figures differ from run to run. "
                "Sequential rollouts run all groups at once."]  # fmt: skip
    if is_measured:
        return ["Compute times are medians measured on this machine."]
    if not has_work:
        return ["Computing takes no time here: what rollouts cost is not in the figures. Give "
                "compute times with --work-ms or --work GROUP=MS, or measure them with "
                "--work measured."]  # fmt: skip
    return []


def _players(
    entries: Sequence[Entry], task: Task, answers: Sequence[str], *, realtime: bool
) -> dict[str, Play]:
    """Who plays a contender, if it is not played in virtual time."""
    from streaming_net_ros.cli.evaluate_live import HeardPlayer, LivePlayer

    by_name = {entry.contender.name: entry for entry in entries}
    players: dict[str, Play] = {}
    if realtime:
        rate_hz = next(iter(task.timing.values())).rate_hz
        live = LivePlayer(by_name, task.image_topic, task.topics or {}, rate_hz)
        players = dict.fromkeys(by_name, live)
    for text in answers:
        name, equals, path = text.rpartition("=")
        if not equals or name not in by_name or len(task.drives) > 1:
            raise ParameterError(
                "not the answers of a rollout", where="--answers", got=text,
                expected=f"NAME=BAG with a name of {', '.join(by_name)}, to a single --bag",
            )  # fmt: skip
        players[name] = HeardPlayer(Path(path))
    return players


def _write(
    out: Path, comparison: Comparison, told: dict[str, Any], *, video: bool, bags: bool
) -> None:
    """The folder of results, whole or not at all."""
    from streaming_net_ros.evaluation.streaming.pictures import draw
    from streaming_net_ros.evaluation.streaming.report import report

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        (part / "result.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        pictures = list(draw(comparison))
        for picture in pictures:
            (part / f"{picture.name}.png").write_bytes(picture.png)
        page = report(comparison, pictures, told["notes"])
        (part / "report.html").write_text(page, encoding="utf-8")
        _annotate(part, comparison, video=video, bags=bags)
        part.rename(out)
    except OSError as error:
        raise BagError(f"cannot write ({error})", where=str(out)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _annotate(folder: Path, comparison: Comparison, *, video: bool, bags: bool) -> None:
    from streaming_net_ros.evaluation.streaming.annotated import write_annotated_bag, write_video

    drives = comparison.task.drives
    total = sum(comparison.images.values())
    done = 0
    with progress_bar("annotating", "images") as advance:

        def tick() -> None:
            nonlocal done
            done += 1
            advance(done, total, "")

        for drive in drives:
            name = "annotated" if len(drives) == 1 else f"annotated_{drive.name}"
            if bags:
                write_annotated_bag(comparison, drive, folder / name)
            if video:
                write_video(comparison, drive, folder / f"{name}.mp4", tick)


def _print(comparison: Comparison, out: Path, notes: Sequence[str]) -> None:
    """The summary: a table per field of an output."""
    console = Console(highlight=False)
    for output, reference in comparison.references.items():
        for field, name in enumerate(reference.names):
            console.print(_table(comparison, output, field, f"{output} {name}"))
    for note in notes:
        console.print(f"[yellow]{note}[/]")
    console.print(f"report: [bold]{out / 'report.html'}[/]", soft_wrap=True)


def _table(comparison: Comparison, output: str, field: int, title: str) -> Table:
    from streaming_net_ros.evaluation.streaming.report import lag_words

    measured = {c.name: comparison.pooled[c.name][output] for c in comparison.task.contenders}
    main = next(iter(measured.values()))
    word = "accuracy" if main.kind == "class" else "mean absolute error"
    table = Table(title=f"{title}: {word} of the early and the full response offline, and of the "
                  "newest answer against the world of its time", title_justify="left", box=None,
                  pad_edge=False, title_style="")  # fmt: skip
    table.add_column("", overflow="fold")
    for column in ("early", "full", "newest", "answers\n/s", "latency\nms", "age\nms",
                   "changes\nanswered", "after\nms", "lag\nms"):  # fmt: skip
        table.add_column(column, justify="right")
    for name, m in measured.items():
        changes = m.changes[m.names[field]]
        table.add_row(
            name,
            *(f"{n[m.main][field]:.3f}" for n in (m.offline[0], m.offline[-1], m.streaming)),
            f"{m.answers_hz:.1f}",
            f"{m.latency_ms.p50:.0f}",
            f"{m.age_ms.mean:.0f}",
            f"{changes.answered}/{changes.changes}",
            f"{changes.median_ms:.0f}" if isfinite(changes.median_ms) else "-",
            lag_words(m, field).partition(" ")[0],
        )
    means = (main.offline_mean, main.offline_mean, main.streaming_mean)
    table.add_row("always one", *(f"{m[main.main][field]:.3f}" for m in means))
    return table
