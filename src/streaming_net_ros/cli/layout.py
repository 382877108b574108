"""``streaming-net layout``: windows in which to watch a running network, for other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec

_TOPIC = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*$")


def layout(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    foxglove: Annotated[
        Path | None, typer.Option(help="Write a layout for Foxglove to this file (JSON).")
    ] = None,
    plotjuggler: Annotated[
        Path | None, typer.Option(help="Write a layout for PlotJuggler to this file (XML).")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace; else the network's name.")] = "",
    image_topic: Annotated[
        str, typer.Option(help="Camera topic, as given to launch; else the input's own.")
    ] = "",
) -> None:
    """Write layouts that show a running network: work, waiting, age, latency, held and responses.

    The measured times are topics under debug/, which a network offers in realtime.

    Example: streaming-net layout pilot --foxglove pilot.json --plotjuggler pilot.xml
    """
    from streaming_net_ros.cli.layout_foxglove import foxglove_layout
    from streaming_net_ros.cli.layout_plotjuggler import plotjuggler_layout
    from streaming_net_ros.cli.layout_plots import pages_of
    from streaming_net_ros.network import read_network_file

    _check_files(foxglove, plotjuggler)
    spec = read_network_file(find_network(network).resolve())
    root = _root(namespace or spec.name)
    pages = pages_of(spec, root)
    cameras = _camera_topics(spec, root, image_topic)
    console = Console(highlight=False, soft_wrap=True)
    if foxglove is not None:
        _write(foxglove, foxglove_layout(pages, cameras))
        console.print(f"written to {foxglove}; in Foxglove: Layouts, Import from file")
    if plotjuggler is not None:
        _write(plotjuggler, plotjuggler_layout(pages))
        console.print(f"written to {plotjuggler}; plotjuggler --layout {plotjuggler}")


def _check_files(*files: Path | None) -> None:
    given = [path for path in files if path is not None]
    if not given:
        raise ParameterError("what to write?", expected="--foxglove, --plotjuggler, or both")
    if len({path.absolute() for path in given}) < len(given):
        raise ParameterError("two layouts cannot be one file", got=str(given[0]))
    for path in given:
        if path.exists() or path.is_symlink():
            raise ParameterError(
                "will not write over what exists",
                where=str(path),
                remedy="remove it or choose another file",
            )


def _root(namespace: str) -> str:
    """What stands before a topic's name: as launch reads it, ``/`` is the root itself."""
    inner = namespace.strip("/")
    return _named(inner, "--namespace", "robot/pilot") if inner else ""


def _named(text: str, where: str, example: str) -> str:
    """A ROS name, absolute."""
    if not _TOPIC.match(text) or "__" in text:
        raise ParameterError(
            "not a ROS name",
            where=where,
            expected=f"letters, digits and single underscores, as in {example}",
            got=text,
        )
    return f"/{text}"


def _camera_topics(spec: NetworkSpec, namespace: str, image_topic: str) -> list[str]:
    """Topics with the images that the network sees; a relative one lies in its namespace."""
    from streaming_net_ros.network import ImageInput

    cameras = [name for name, given in spec.inputs.items() if isinstance(given, ImageInput)]
    topics = {name: f"{namespace}/{name}" for name in cameras}
    if image_topic:
        if not cameras:
            raise ParameterError(
                "the network has no camera", where="--image-topic", got=image_topic
            )
        topic = _named(image_topic.removeprefix("/"), "--image-topic", "/camera/image_raw")
        is_absolute = image_topic.startswith("/")
        topics[spec.primary_input] = topic if is_absolute else f"{namespace}{topic}"
    return list(dict.fromkeys(topics.values()))


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ParameterError(
            "cannot be written", where=str(path), got=error.strerror or str(error)
        ) from error
