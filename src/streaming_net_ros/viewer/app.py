"""The page and its routes, served until somebody ends it.

One viewer to a process: NiceGUI has one application. Rendering happens in the server's threads,
ROS on the link's, and what waits for an answer waits without holding up the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from nicegui import ui
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams

from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.nodes.host import has_ended
from streaming_net_ros.viewer.guard import Gate
from streaming_net_ros.viewer.pace import Pace
from streaming_net_ros.viewer.page import Page, Viewer
from streaming_net_ros.viewer.panels import PANELS, strip
from streaming_net_ros.viewer.pictures import Options, parse_options

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_TELL_VISIBLE = """<script>
document.addEventListener('visibilitychange', () => emitEvent('page_visible', !document.hidden));
</script>"""
_END_S = 2
_MOST_WAITING = 64


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        RunError: the address is taken or not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        is_everywhere = address[0] == "::"  # to whoever reaches it, by IPv4 too
        return socket.create_server(
            address[:2],
            family=family,
            backlog=_MOST_WAITING,
            dualstack_ipv6=is_everywhere and socket.has_dualstack_ipv6(),
        )
    except (OSError, OverflowError, UnicodeError) as error:
        raise RunError(
            "cannot serve the page there",
            where=f"{host}:{port}",
            got=getattr(error, "strerror", None) or str(error),
            remedy="choose another: --port, --host",
        ) from None


def serve(
    viewer: Viewer, listening: socket.socket, on_start: Callable[[], None], follow_pid: int = 0
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        viewer: what pages show.
        listening: where.
        on_start: called once pages are served.
        follow_pid: end when the process of this id has ended; 0: none.
    """
    # NiceGUI asks every object of this process what it is; torch's old names answer by warnings.
    warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
    logging.getLogger("nicegui").setLevel(logging.ERROR)  # not a line for each request in vain
    port = listening.getsockname()[1]
    app = make_app(viewer, cookie=f"streaming_net_view_{port}")
    config = uvicorn.Config(
        Gate(app, viewer.guard),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=_END_S,  # a client that hangs does not hold up the end
        ws_max_size=1 << 20,
        h11_max_incomplete_event_size=1 << 16,
    )
    server = _Server(config, viewer, on_start, follow_pid)
    with contextlib.suppress(KeyboardInterrupt):  # the signal it ended on is raised again
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        viewer: Viewer,
        on_start: Callable[[], None],
        follow_pid: int,
    ) -> None:
        super().__init__(config)
        self._viewer = viewer
        self._on_start = on_start
        self._follow_pid = follow_pid

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what pages have begun, too: the signal is raised again after this, and ends all."""
        await asyncio.to_thread(self._viewer.close)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is it time to end?"""
        has_lost = bool(self._follow_pid) and has_ended(self._follow_pid)
        return await super().on_tick(counter) or has_lost


def make_app(viewer: Viewer, cookie: str) -> FastAPI:
    """The application: pictures, and the page under all else.

    Args:
        viewer: what it shows.
        cookie: name of the cookie that keeps a visitor's session.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    pace = Pace()

    async def picture(request: Request) -> Response:
        answer = await _picture(viewer, request)
        answer.headers["X-Period"] = f"{pace.asked():.0f}"
        return answer

    app.add_route("/picture/{node}", picture, methods=["GET"])

    @ui.page("/")
    def index(request: Request) -> Response | None:
        token = request.query_params.get("token")
        if token is not None:  # out of the address at once, into a cookie
            session = viewer.guard.admit(token)
            where = request.query_params.get("panel", "")
            known = any(panel.name == where for panel in PANELS)
            answer = RedirectResponse(f"/?panel={where}" if known else "/", status_code=303)
            if session is not None:
                answer.set_cookie(cookie, session, httponly=True, samesite="strict")
            return answer
        page = Page(viewer, request.cookies.get(cookie))
        _build(page, request.query_params.get("panel", ""))
        return None

    ui.run_with(
        app,
        title=f"/{viewer.watch.namespace[1:]} - streaming-net view",
        favicon=_ICON,
        dark=None,
        tailwind=True,
        reconnect_timeout=10.0,
        binding_refresh_interval=None,  # nothing here is bound; the loop would cost for nothing
        show_welcome_message=False,
    )
    return app


_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect width='16' height='16' rx='3' fill='#181f26'/>"
    "<path d='M3 11 L8 5 L13 11' stroke='#26a69a' stroke-width='2' fill='none'/></svg>"
)


async def _picture(viewer: Viewer, request: Request) -> Response:
    """What is drawn already is answered at once; a thread draws the rest."""
    node = str(request.path_params["node"])
    if node not in viewer.watch.formats:
        return PlainTextResponse("no such node", status_code=404)
    try:
        options = _options(request.url.query)
        picture = viewer.gallery.kept(node, options)
        if picture is None:
            picture = await run_in_threadpool(viewer.gallery.picture, node, options)
    except ParameterError as error:
        return PlainTextResponse(str(error), status_code=400)
    if picture is None:
        return Response(status_code=204)
    if not picture.file:
        return Response(status_code=204, headers={"X-Caption": f"frame {picture.frame}: silent"})
    tag = f'"{picture.tag}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304)
    headers = {
        "ETag": tag,
        "X-Caption": f"frame {picture.frame}",
        "X-Range": f"{picture.low:.3g} .. {picture.high:.3g}",
        "Cache-Control": "no-store",
    }
    return Response(picture.file, media_type="image/png", headers=headers)


@lru_cache(maxsize=1000)
def _options(query: str) -> Options:
    return parse_options(QueryParams(query))


def _build(page: Page, wanted: str) -> None:
    """The whole page: head, strip, and the panels, each built when it is first opened."""
    ui.add_css(_STYLE)
    ui.add_body_html(_TELL_VISIBLE)
    ui.on("page_visible", lambda event: setattr(page, "is_visible", bool(event.args)))
    ui.colors(primary="#26a69a", positive="#26a69a", negative="#e5533d", warning="#d99a1c")
    names = [panel.name for panel in PANELS]
    page.shown = wanted if wanted in names else names[0]
    places: dict[str, Any] = {}

    def open_panel(name: str) -> None:
        page.shown = name
        panel = PANELS[names.index(name)]
        if name in places:
            with places.pop(name):
                page.build(name, panel.build)

    with ui.header().classes("items-center no-wrap gap-3 q-px-md q-py-none"):
        _head(page)
        tabs = ui.tabs().props("dense no-caps inline-label indicator-color=primary")
        with tabs:
            for panel in PANELS:
                ui.tab(panel.name, panel.title)
        tabs.value = page.shown
        ui.space()
        _appearance()
    with ui.row().classes("card w-full items-center gap-2 no-wrap").style("padding: 3px 10px"):
        strip.build(page)
    _absence(page)
    with ui.tab_panels(tabs, value=page.shown, animated=False).classes("w-full"):
        for panel in PANELS:
            places[panel.name] = ui.tab_panel(panel.name)
    tabs.on_value_change(lambda event: open_panel(event.value))
    open_panel(page.shown)


def _head(page: Page) -> None:
    """The network's name and how it is: running, paused or absent; frame and rate."""
    watch = page.viewer.watch
    dot = ui.element("div").classes("dot")
    ui.label(watch.namespace).classes("font-medium")
    state = ui.label().classes("pale").props("data-name=state")
    frame = ui.label().classes("num").style("min-width: 21ch").props("data-name=frame")

    def draw() -> None:
        told = watch.status("frame_source")
        now = "paused" if watch.is_paused else "running" if watch.is_present else "absent"
        mode = told.values.get("mode", "") if told is not None else ""
        dot.classes(replace=f"dot {now}")
        state.text = f"{now}, {mode}" if watch.is_present else now
        frame.text = "" if watch.frame is None else f"frame {Page.told_frame(watch.frame)}"

    page.every(0.25, draw)


def _absence(page: Page) -> None:
    """What is said while no network is there, or another; one that comes is found by itself."""
    watch = page.viewer.watch
    with ui.element("div").classes("banner") as absent:
        ui.label(
            f"No network '{watch.spec.name}' in the namespace {watch.namespace}: waiting for it. "
            "Is it started, with the same ROS_DOMAIN_ID?"
        )
    absent.props("data-name=absent").set_visibility(False)
    with ui.element("div").classes("banner") as other:
        told = ui.label()
    other.props("data-name=mismatch").set_visibility(False)

    def look() -> None:
        absent.set_visibility(not watch.is_present)
        why = watch.mismatch
        other.set_visibility(bool(why))
        if why:
            told.text = f"What runs in {watch.namespace} is not the network that is shown: {why}."

    page.every(0.5, look)


def _appearance() -> None:
    """Dark, light, or as the browser wants it."""
    dark = ui.dark_mode(None)

    def turn() -> None:
        dark.value = {None: True, True: False, False: None}[dark.value]

    ui.button(icon="contrast", on_click=turn).props("flat dense round size=sm").classes(
        "pale"
    ).tooltip("dark, light, or as the browser")
