"""``streaming-net new``: a commented network file to begin with, from questions or an example.

Owns the questions and the writing: nothing is written over, and nothing is written that the reader
would refuse. The text itself is ``new_text``.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from streaming_net_ros.cli.new_text import (
    COLOURS,
    LARGEST,
    LEAST_GROUPS,
    MOST_GROUPS,
    OUTPUTS,
    SMALLEST,
    NewNetwork,
    network_text,
    yaml_scalar,
)
from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.paths import find_network, share_directory

Ask = Callable[[str, str, Any], Any]
"""Gives the answer to a question, by (key, question, default)."""

_SIDES = f"{SMALLEST} to {LARGEST} pixels"


def new(
    file: Annotated[Path, typer.Argument(help="The network file to write (.yaml).")],
    *,
    example: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Begin with a copy of a shipped network, with what belongs to it (bases, "
            "weights). No questions then.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the network; without it: the file's name.")
    ] = None,
    height: Annotated[int | None, typer.Option(help=f"Of its images, {_SIDES}.")] = None,
    width: Annotated[int | None, typer.Option(help=f"Of its images, {_SIDES}.")] = None,
    colour: Annotated[str | None, typer.Option(help=" or ".join(COLOURS))] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            help=f"Depth: layer groups from the camera to the answer, {LEAST_GROUPS} to "
            f"{MOST_GROUPS}."
        ),
    ] = None,
    skip: Annotated[
        bool | None,
        typer.Option("--skip/--no-skip", help="A path past the deep groups: an early response."),
    ] = None,
    memory: Annotated[
        bool | None,
        typer.Option("--memory/--no-memory", help="A group that hears itself."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="twist: a driving command. tensor: numbers.")
    ] = None,
    elements: Annotated[int | None, typer.Option(help="How many numbers a tensor has.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: what is not given is the default.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what exists.")] = False,
) -> None:
    """Write a commented network file: from a few questions, or as a copy of a shipped one.

    Every question has an option; without a terminal nothing is asked. What is written passes the
    reader, and 'plan' tells what it answers and when.

    Example: streaming-net new my_net.yaml --groups 6 --memory
    """
    given = {
        "name": name, "height": height, "width": width, "colour": colour, "rate_hz": rate_hz,
        "groups": groups, "skip": skip, "memory": memory, "output": output, "elements": elements,
    }  # fmt: skip
    answered = {key: value for key, value in given.items() if value is not None}
    _check_target(file, force=force)
    if name is not None:
        _check_name(name)
    if example is not None:
        others = sorted(set(answered) - {"name"})
        if others:
            raise ParameterError(
                "an example is taken as it is", where=f"--example {example}",
                expected="no other answer than --name", got=f"--{others[0].replace('_', '-')}",
                remedy="write it without, then edit the file",
            )  # fmt: skip
        written = _copy(example, file, name)
    else:
        is_asked = not yes and sys.stdin.isatty()
        wanted = _wishes(answered, _default_name(file), _prompt if is_asked else None)
        written = {file: network_text(wanted).encode()}
    _check_files(written, force=force)
    _write(written)
    _tell(written)


def _wishes(answered: dict[str, Any], default_name: str, ask: Ask | None) -> NewNetwork:
    """What is wanted: by options, else by answers, else the defaults."""
    defaults = {f.name: f.default for f in dataclasses.fields(NewNetwork)} | {"name": default_name}
    for key, question in _QUESTIONS.items():
        if ask is None or key in answered or _is_idle(key, {**defaults, **answered}):
            continue
        answered[key] = ask(key, question, defaults[key])
    return NewNetwork(**{"name": default_name, **answered})


_QUESTIONS = {
    "name": "Name of the network",
    "width": f"Width of its images ({_SIDES})",
    "height": f"Height of its images ({_SIDES})",
    "colour": f"Colour ({' or '.join(COLOURS)})",
    "rate_hz": "Frames per second",
    "groups": f"Layer groups from the camera to the answer ({LEAST_GROUPS} to {MOST_GROUPS})",
    "skip": "A skip path, for an early response",
    "memory": "A memory: a group that hears itself",
    "output": f"What it answers ({' or '.join(OUTPUTS)})",
    "elements": "How many numbers",
}


def _is_idle(key: str, known: dict[str, Any]) -> bool:
    """Whether a question means nothing after the answers before it."""
    if key == "elements":
        return bool(known["output"] != "tensor")
    return key == "skip" and known["groups"] == LEAST_GROUPS


def _prompt(key: str, question: str, default: Any) -> Any:
    """Ask at the terminal until the answer is one that can be taken."""
    while True:
        if isinstance(default, bool):
            return typer.confirm(question, default=default)
        answer = typer.prompt(question, default=default, type=type(default))
        try:
            if key == "name":
                _check_name(answer)
            NewNetwork(**{"name": "any", key: answer})
        except ParameterError as error:
            Console(stderr=True, highlight=False, soft_wrap=True).print(Text(str(error), "yellow"))
            continue
        return answer


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from streaming_net_ros.network.schema import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ParameterError(told, where="--name", got=name) from None


def _default_name(file: Path) -> str:
    """A network's name out of a file's."""
    words = re.findall(r"[A-Za-z0-9]+", file.stem)
    name = "_".join(words)[:60].strip("_")
    return name if name[:1].isalpha() else f"net_{name}".strip("_")  # a name begins with a letter


def _check_target(file: Path, *, force: bool) -> None:
    if file.suffix not in (".yaml", ".yml"):
        raise ParameterError(
            "not the name of a network file", where="FILE", expected="*.yaml", got=str(file)
        )
    if not file.parent.is_dir():
        raise ParameterError("no such folder", where=str(file.parent), remedy="make it first")
    _check_free(file, force=force)


def _check_free(path: Path, *, force: bool) -> None:
    is_there = path.exists() or path.is_symlink()
    if path.is_dir() or (is_there and not force):
        raise ParameterError(
            "will not write over what exists", where=str(path),
            remedy="choose another file, or say --force",
        )  # fmt: skip


def _copy(example: str, file: Path, name: str | None) -> dict[Path, bytes]:
    """A shipped network's file under a new name, and the files that it needs, to lie beside it."""
    from streaming_net_ros.network import read_yaml

    source = find_network(example)
    if source.parent != share_directory() / "config" / "networks":
        raise ParameterError(
            "not a shipped network", where="--example", got=example,
            remedy="copy the file, or name it as 'base' in your own",
        )  # fmt: skip
    text = source.read_text(encoding="utf-8")
    if name is not None:
        text = re.sub(r"(?m)^name:.*$", f"name: {yaml_scalar(name)}", text, count=1)
    needed = []
    path, content = source, read_yaml(source)
    if "weights" in content:  # a base's own are not inherited
        needed.append(source.parent / content["weights"])
    while "base" in content:
        path = path.parent / content["base"]
        content = read_yaml(path)
        needed.append(path)
    copies = {file.parent / path.name: path.read_bytes() for path in needed}
    if file in copies:
        raise ParameterError(
            f"{example} is built on a file of this name", where=str(file),
            remedy="choose another name for the file",
        )  # fmt: skip
    return {**copies, file: text.encode()}


def _check_files(written: dict[Path, bytes], *, force: bool) -> None:
    """Nothing else is written over, and the reader takes what is to be written."""
    from streaming_net_ros.network import read_network_file, state_shapes

    *others, file = written
    for path in others:
        if path.exists() and path.read_bytes() != written[path]:
            _check_free(path, force=force)
    with TemporaryDirectory() as folder:
        for path, data in written.items():
            (Path(folder) / path.name).write_bytes(data)
        try:
            state_shapes(read_network_file(Path(folder) / file.name))
        except StreamingNetError as error:
            told = str(error).replace(folder, str(file.parent))
            raise ParameterError(told, remedy="nothing is written") from None


def _write(written: dict[Path, bytes]) -> None:
    for path, data in written.items():
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ParameterError(
                "cannot be written", where=str(path), got=error.strerror or str(error)
            ) from None


def _tell(written: dict[Path, bytes]) -> None:
    """What there is now, when it answers, and what to do next."""
    from streaming_net_ros.cli.plan_data import make_plan

    *others, file = written
    planned = make_plan(str(file))
    console = Console(highlight=False, soft_wrap=True)
    beside = f", and beside it {', '.join(path.name for path in others)}" if others else ""
    console.print(Text.assemble("written to ", (str(file), "bold"), beside))
    for output, times in planned.responses(next(iter(planned.rollouts))).items():
        first, full = times.first_frames, times.full_frames
        early = f"first response after {first} frames ({planned.milliseconds(first):g} ms)"
        late = f", full response after {full} ({planned.milliseconds(full):g} ms)"
        console.print(Text(f"  {output}: {early}{late}"))
    console.print(Text(f"next: streaming-net plan {file}"))
