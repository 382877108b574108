"""The rollout view: groups x frames while they go by, the light cone of what is clicked on."""

from __future__ import annotations

from nicegui import events, ui

from streaming_net_ros.viewer.page import Page, Viewer
from streaming_net_ros.viewer.rollout_live import (
    LEAST_BACK,
    MOST_BACK,
    Choice,
    RolloutWindow,
    first_choice,
)
from streaming_net_ros.viewer.rollout_picture import draw_rollout
from streaming_net_ros.viewer.rollout_view import summary

PERIOD_S = 0.4  # a picture of the whole window is larger than one of a state
_CLICK = (
    "(e) => { const cell = e.target.closest('.choice');"
    " if (cell) emit([cell.dataset.node, Number(cell.dataset.frame)]) }"
)


def build(page: Page) -> None:
    """Build the panel."""
    _Panel(page)


class _Panel:
    def __init__(self, page: Page) -> None:
        self._viewer: Viewer = page.viewer
        self._window = RolloutWindow(page.viewer.spec, page.viewer.rollout)
        self._choice = first_choice(page.viewer.spec, page.viewer.rollout)
        self._thumbnails = page.viewer.thumbnails
        self._drawn_for: object = None
        self._newest = 0
        with ui.element("div").classes("card w-full"):
            with ui.row().classes("w-full items-center gap-3 no-wrap"):
                ui.label("Rollout").classes("heading")
                self._told = ui.label().classes("pale text-xs grow")
                self._told.props("data-name=rollout-told")
                self._pictures = _switch("pictures", value=True)
                self._pictures.tooltip("subscribes to throttled states of all nodes")
                self._pin = _switch("stay at this frame", value=False)
                self._pin.props("data-name=rollout-pin")
                self._pin.on_value_change(lambda event: self._pinned(event.value))
                self._back = ui.number("frames back", value=8, min=LEAST_BACK, max=MOST_BACK)
                self._back.props("dense").style("width: 92px").classes("num")
            self._svg = ui.html(sanitize=False).classes("w-full").style("overflow-x: auto")
            self._svg.props("data-name=rollout")
            ui.label(
                "Click a cell of an input: all that its image will influence. Click one of an "
                "output: all that can have influenced it. A dot marks the shortest path's end."
            ).classes("pale text-xs")
        self._svg.on("click", self._clicked, js_handler=_CLICK)
        page.every(PERIOD_S, self._draw)
        self._draw()

    def _clicked(self, event: events.GenericEventArguments) -> None:
        now = self._viewer.watch.frame
        match event.args:
            case [str(node), int(frame)] if now is not None:
                if node in self._viewer.watch.formats and abs(frame - now) <= 2 * MOST_BACK:
                    choice = Choice(node, frame - now)
                    self._choice = choice.pin(now) if self._pin.value else choice
                    self._draw()

    def _pinned(self, is_pinned: bool) -> None:
        now = self._viewer.watch.frame
        if now is not None:
            self._choice = self._choice.pin(now) if is_pinned else self._choice.unpin()
        self._draw()

    def _draw(self) -> None:
        watch, back = self._viewer.watch, self._back.value
        now = watch.frame
        if now is None:
            self._told.text = "waiting for a frame"
            return
        if isinstance(back, int | float) and LEAST_BACK <= back <= MOST_BACK:
            self._window.back = int(back)
        if now < self._newest:  # a reset or a snapshot: the same frames come again
            self._thumbnails.clear()
        self._newest = now
        states = []
        if self._pictures.value:
            states = [
                seen
                for node in watch.formats
                for seen in watch.states(node)
                if abs(seen.frame - now) <= 2 * MOST_BACK
            ]
        shown = (now, self._window.back, self._choice, [(s.node, s.frame) for s in states])
        if shown == self._drawn_for:  # paused: nothing to send
            return
        self._drawn_for = shown
        view = self._window.view(now, self._choice, self._thumbnails.of(states))
        self._svg.content = draw_rollout(view)
        told = summary(view, watch.grid.period_ns / 1e6)
        self._told.text = told or f"{self._choice.node} of that frame is out of sight"


def _switch(text: str, *, value: bool) -> ui.switch:
    return ui.switch(text, value=value).props("dense size=sm").classes("pale text-xs")
