"""The strip above all panels: pause, resume, steps, pace, reset and snapshots of the network."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from nicegui import ui

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.viewer.control import SNAPSHOT_S, Answer
from streaming_net_ros.viewer.files import below
from streaming_net_ros.viewer.page import Page

LOCKSTEP_ONLY = ("step_frames", "pace_hz")
"""Parameters of the frame source without a meaning in realtime: there the grid never waits."""

_MOST_STEPS = 100_000


def build(page: Page) -> None:
    """Build the strip; who may not change anything is told so instead."""
    if not page.may_control:
        guard = page.viewer.guard
        why = "read-only" if guard.is_read_only else "no token: this page only looks"
        ui.label(why).classes("pale text-xs").props("data-name=no-controls")
        return
    control, namespace = page.viewer.control, page.viewer.watch.namespace
    source = f"{namespace}/{FRAME_SOURCE}"
    _button("pause", "pause", page, control.pause, f"ros2 service call {source}/pause "
            "std_srvs/srv/Trigger")  # fmt: skip
    _button("resume", "play_arrow", page, control.resume, f"ros2 service call {source}/resume "
            "std_srvs/srv/Trigger")  # fmt: skip
    ui.separator().props("vertical")
    frames = _number("frames", 1, 1, _MOST_STEPS)
    step = _button("step", "skip_next", page, lambda: control.step(int(frames.value or 1)),
            f"ros2 param set {source} step_frames N; ros2 service call {source}/step "
            "std_srvs/srv/Trigger")  # fmt: skip
    ui.separator().props("vertical")
    pace = _number("frames/s at most", 0.0, 0, 100_000)
    pace.tooltip(f"slow motion in lockstep: ros2 param set {source} pace_hz HZ")
    only = ui.label("(lockstep only)").classes("pale text-xs").props("data-name=lockstep-only")
    only.set_visibility(False)

    async def set_pace() -> None:
        await page.change(lambda: control.set(FRAME_SOURCE, "pace_hz", float(pace.value or 0)))

    pace.on("keydown.enter", set_pace)
    set_it = _button("set", "speed", page, lambda: control.set(FRAME_SOURCE, "pace_hz",
            float(pace.value or 0)), f"ros2 param set {source} pace_hz HZ")  # fmt: skip
    ui.separator().props("vertical")
    _button("reset", "restart_alt", page, lambda: control.trigger(FRAME_SOURCE, "reset"),
            f"all states are forgotten: ros2 service call {source}/reset "
            "std_srvs/srv/Trigger")  # fmt: skip
    ui.separator().props("vertical")
    _snapshots(page, source)

    def match_mode() -> None:
        is_realtime = page.viewer.watch.mode == "realtime"
        only.set_visibility(is_realtime)
        for part in (frames, step, pace, set_it):
            part.set_enabled(not is_realtime)

    page.every(0.5, match_mode)


def _snapshots(page: Page, source: str) -> None:
    ui.label("snapshot").classes("pale text-xs")
    name = ui.input(value="snapshot").props("dense").style("width: 110px")
    control = page.viewer.control

    def ask(service: str) -> Callable[[], Future[Answer]]:
        def begin() -> Future[Answer]:
            try:
                folder = below(page.viewer.root, name.value or "")
            except ParameterError as error:
                refused: Future[Answer] = Future()
                refused.set_result(Answer(False, str(error)))
                return refused
            return control.set_then_trigger(
                FRAME_SOURCE, "snapshot", str(folder), service, SNAPSHOT_S
            )

        return begin

    for label, icon, service in (
        ("save", "save", "save_snapshot"),
        ("restore", "settings_backup_restore", "restore_snapshot"),
    ):
        _button(label, icon, page, ask(service),
                f"ros2 param set {source} snapshot FOLDER; ros2 service call "
                f"{source}/{service} std_srvs/srv/Trigger")  # fmt: skip


def _button(
    label: str, icon: str, page: Page, ask: Callable[[], Future[Answer]], command: str
) -> ui.button:
    button = ui.button(label, icon=icon, on_click=page.changing(ask))
    button.props("flat dense no-caps size=sm").props(f"data-name=control-{label}").tooltip(command)
    return button


def _number(label: str, value: float, least: float, greatest: float) -> ui.number:
    field = ui.number(value=value, min=least, max=greatest)
    field.props("dense hide-bottom-space").style("width: 64px").classes("num")
    ui.label(label).classes("pale text-xs")
    return field
