"""``streaming-net view``: the live page of a running network."""

from __future__ import annotations

import importlib.util
import os
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import find_network
from streaming_net_ros.viewer.children import TOKEN_VARIABLE

_START_S = 60.0
_NICE = 10  # a page never takes the processor from a network on the same machine


def view(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    namespace: Annotated[str, typer.Option(help="Namespace; else the network's name.")] = "",
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Start it too: it drives the simulated car.")
    ] = False,
    bag: Annotated[
        Path | None, typer.Option(help="Start it too: it hears this recording.")
    ] = None,
    image_topic: Annotated[
        str | None, typer.Option(help="The bag's image topic; not needed if it has only one.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="Of what is started: lockstep (a bag's default) or realtime."),
    ] = None,
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
        str,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            help="Opens the controls; else one is made and printed. Others on this machine read "
            "command lines, not the environment.",
        ),
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nobody may change anything.")
    ] = False,
    root: Annotated[
        Path, typer.Option(help="Weights and snapshots that the page may name lie below it.")
    ] = Path(),
    follow_pid: Annotated[
        int, typer.Option(min=0, help="End when the process of this id has ended; 0: none.")
    ] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:
    """Serve a live page of a running network: states, answers, times, and controls.

    It hears only what is looked at, throttled. Whoever opens the page with the printed token may
    pause, step, change and restore the network; everybody else looks.

    Example: streaming-net view pilot --simulate
    """
    _check(simulate, bag, mode, root)
    from streaming_net_ros.cli.view_network import replayed, simulated, started
    from streaming_net_ros.launching import FRAME_SOURCE
    from streaming_net_ros.network import read_network_file, rollout_of
    from streaming_net_ros.viewer.app import listen, serve
    from streaming_net_ros.viewer.guard import Guard
    from streaming_net_ros.viewer.page import make_viewer

    with ExitStack() as stack:
        listening = stack.enter_context(listen(host, port))
        spec = read_network_file(find_network(network).resolve())
        namespace = namespace or spec.name
        viewer = make_viewer(
            spec,
            rollout_of(spec, rollout),
            namespace,
            Guard(token, read_only=read_only, host=host),
            rate_hz=rate_hz,
            weights=weights,
            root=root,
        )
        is_lockstep = mode == "lockstep" if mode else bag is not None
        path = None if weights is None else str(weights.resolve())
        said: dict[str, Any] = {"rollout": rollout, "rate_hz": rate_hz, "weights": path}
        said = {name: value for name, value in said.items() if value is not None}
        commands: list[list[str]] = []
        if simulate:
            commands = simulated(spec, namespace, said, is_lockstep=is_lockstep)
        elif bag is not None:
            options = [f"--{name.replace('_', '-')}={value}" for name, value in said.items()]
            options += ["--image-topic", image_topic] if image_topic else []
            commands = replayed(spec, namespace, bag, options, is_lockstep=is_lockstep)
        stack.enter_context(started(commands))
        os.nice(_NICE)  # what was started above is not slowed by it
        stack.enter_context(viewer.link)
        if bag is not None and is_lockstep:
            pace_hz = rate_hz or spec.rate_hz  # as recorded, instead of as fast as it can
            viewer.control.set(FRAME_SOURCE, "pace_hz", pace_hz, timeout_s=_START_S)
        port = listening.getsockname()[1]
        to_open = page_address(host, port, "" if read_only else viewer.guard.token)

        def tell() -> None:
            console = Console(highlight=False, soft_wrap=True)
            console.print(f"{viewer.watch.namespace} at [bold]{to_open}[/]")
            if show:
                webbrowser.open(to_open)

        serve(viewer, listening, tell, follow_pid)


def page_address(host: str, port: int, token: str = "") -> str:
    """What a browser on this machine opens, whatever the token is made of."""
    address = f"http://{_reached(host)}:{port}/"
    return f"{address}?token={quote(token, safe='')}" if token else address


def _reached(host: str) -> str:
    """The host in an address that a browser on this machine can open."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check(simulate: bool, bag: Path | None, mode: str | None, root: Path) -> None:
    if importlib.util.find_spec("nicegui") is None:
        raise ParameterError(
            "the page's library is not installed",
            where="view",
            expected="NiceGUI",
            remedy="pip install 'streaming_net_ros[view]'",
        )
    if simulate and bag is not None:
        raise ParameterError("what is to be started?", expected="one of --simulate, --bag")
    if mode not in (None, "lockstep", "realtime"):
        raise ParameterError(
            "no such mode", where="--mode", expected="lockstep or realtime", got=mode
        )
    if not root.is_dir():
        raise ParameterError("no such folder", where="--root", got=str(root))
