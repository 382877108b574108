"""``streaming-net view``: the live page of a running network."""

from __future__ import annotations

import importlib.util
import os
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.viewer.page import Viewer

_NICE = 5  # a page never takes the processor from a network on the same machine


def view(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    namespace: Annotated[str, typer.Option(help="Namespace; else the network's name.")] = "",
    rollout: Annotated[
        str | None, typer.Option(help="The rollout that it runs; else the network file's.")
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option(help="Frame rate that it runs at, instead of the file's.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights that it runs with, instead of the file's.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0: to everybody who reaches it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
    token: Annotated[
        str, typer.Option(help="Opens the controls; else one is made and printed.")
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nobody may change anything.")
    ] = False,
    root: Annotated[
        Path, typer.Option(help="Weights and snapshots that the page may name lie below it.")
    ] = Path(),
    show: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:
    """Serve a live page of a running network: states, answers, times, and controls.

    It hears only what is looked at, throttled. Whoever opens the page with the printed token may
    pause, step, change and restore the network; everybody else looks.

    Example: streaming-net view pilot
    """
    _check_installed()
    from streaming_net_ros.viewer.app import listen, serve

    with ExitStack() as stack:
        listening = stack.enter_context(listen(host, port))
        path = find_network(network).resolve()
        if not root.is_dir():
            raise ParameterError("no such folder", where="--root", got=str(root))
        os.nice(_NICE)
        viewer = _viewer(stack, path, namespace, rollout, rate_hz, weights, token, read_only,
                         host, root)  # fmt: skip
        address = f"http://{_reached(host)}:{listening.getsockname()[1]}/"
        to_open = address if read_only else f"{address}?token={viewer.guard.token}"

        def tell() -> None:
            console = Console(highlight=False, soft_wrap=True)
            console.print(f"{viewer.watch.namespace} at [bold]{to_open}[/]")
            if show:
                webbrowser.open(to_open)

        serve(viewer, listening, tell)


def _viewer(
    stack: ExitStack,
    path: Path,
    namespace: str,
    rollout: str | None,
    rate_hz: float | None,
    weights: Path | None,
    token: str,
    read_only: bool,
    host: str,
    root: Path,
) -> Viewer:
    from streaming_net_ros.network import read_network_file, rollout_of
    from streaming_net_ros.theory.layout import lay_out
    from streaming_net_ros.viewer.control import Control
    from streaming_net_ros.viewer.gallery import Gallery
    from streaming_net_ros.viewer.guard import Guard
    from streaming_net_ros.viewer.link import Link
    from streaming_net_ros.viewer.page import Viewer
    from streaming_net_ros.viewer.watch import Watch

    spec = read_network_file(path)
    link = Link(namespace or spec.name)
    watch, control = Watch(link, spec, rate_hz), Control(link)
    viewer = Viewer(
        spec,
        rollout_of(spec, rollout),
        lay_out(spec.graph),
        watch,
        control,
        Gallery(watch),
        Guard(token, read_only=read_only, host=host),
        weights or spec.weights_path,
        root.resolve(),
    )
    stack.enter_context(link)
    return viewer


def _reached(host: str) -> str:
    """The host in an address that a browser on this machine can open."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_installed() -> None:
    if importlib.util.find_spec("nicegui") is None:
        raise ParameterError(
            "the page's library is not installed",
            where="view",
            expected="NiceGUI",
            remedy="pip install 'streaming_net_ros[view]'",
        )
