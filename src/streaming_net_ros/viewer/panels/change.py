"""Changing groups while they run: lesions, gains, scalars, weights, and all that a node offers.

A card for each node, made of what the node itself says may be set: name, type, range, choices. So
what a node learns to change is here without a line more. Two pages agree, because a card is read
again when the network tells of a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nicegui import ui

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.viewer.control import SNAPSHOT_S, Answer, Parameter, Value
from streaming_net_ros.viewer.files import WEIGHTS, below
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.panels.strip import LOCKSTEP_ONLY

_FILES = ("weights", "snapshot")  # parameters that name a file or a folder
_FOLDER = "snapshot"  # below the root: the strip's own first choice
_SHORT = {"none": "free", "hold": "hold", "silence": "silence"}


def build(page: Page) -> None:
    """Build a card for each node."""
    members = [FRAME_SOURCE, *(group.name for group in page.viewer.spec.groups)]
    with ui.element("div").style("columns: 4 310px; column-gap: 8px; width: 100%"):
        cards = [_Card(page, member) for member in members]
    seen = max((one.number for one in page.viewer.watch.changes()), default=0)

    async def keep_up() -> None:
        nonlocal seen
        changes = page.viewer.watch.changes(seen)
        if changes:
            touched = {one.node for one in changes}
            seen = changes[-1].number
            for card in cards:
                if card.node in touched:
                    await card.read()
        for card in cards:
            card.tell_trouble()
            card.match_mode()
            if card.is_empty and page.viewer.watch.is_present:
                await card.read()

    page.every(1.0, keep_up)


class _Card:
    """What may be set of one node."""

    def __init__(self, page: Page, node: str) -> None:
        self._page = page
        self.node = node
        self.is_empty = True
        self._filling = False
        self._widgets: dict[str, Any] = {}
        with (
            ui.element("div")
            .classes("card")
            .props(f"data-name=card-{node}")
            .style("break-inside: avoid; margin-bottom: 8px")
        ):
            with ui.row().classes("w-full items-center no-wrap gap-1"):
                ui.label(node).classes("font-medium")
                ui.space()
                for service in ("reset", "save_snapshot", "restore_snapshot"):
                    self._button(service)
            self._trouble = ui.label().classes("text-xs").style("color: var(--warn)")
            self._rows = ui.column().classes("w-full").style("gap: 2px")
            with self._rows:
                ui.label("not read yet").classes("pale text-xs")

    def _button(self, service: str) -> None:
        """A button of a group; of all nodes the strip has it, and who only looks needs none."""
        if self.node == FRAME_SOURCE or not self._page.may_control:
            return
        control, folder = self._page.viewer.control, self._page.viewer.root / _FOLDER

        def ask() -> Future[Answer]:
            if service == "reset":
                return control.trigger(self.node, service)
            return control.set_then_trigger(
                self.node, "snapshot", str(folder), service, SNAPSHOT_S
            )

        where = "" if service == "reset" else f", in the folder {_FOLDER}"
        ui.button(service.replace("_snapshot", ""), on_click=self._page.changing(ask)).props(
            "flat dense no-caps size=sm"
        ).tooltip(f"{self.node} alone{where}")

    def tell_trouble(self) -> None:
        """Show what the node itself says is not as usual."""
        told = self._page.viewer.watch.status(self.node)
        self._trouble.text = told.text if told is not None and told.level else ""

    def match_mode(self) -> None:
        """What only lockstep knows cannot be set in realtime."""
        is_known = self._page.viewer.watch.mode != "realtime"
        for name in LOCKSTEP_ONLY if self.node == FRAME_SOURCE else ():
            if name in self._widgets:
                self._widgets[name].set_enabled(self._page.may_control and is_known)

    async def read(self) -> None:
        """Ask the node what it is set to, and show it."""
        asked = self._page.viewer.control.parameters_of(self.node)
        told = await self._page.answered(asked)
        parameters = tuple(one for one in told if one.name != "snapshot")  # save and restore do
        if not parameters:
            return
        files = await self._files(parameters)
        self.is_empty = False
        self._filling = True
        try:
            if set(self._widgets) != {one.name for one in parameters}:
                self._widgets.clear()
                self._rows.clear()
                with self._rows:
                    for parameter in parameters:
                        self._row(parameter)
            for parameter in parameters:
                if parameter.name == "weights":
                    self._widgets["weights"].set_options(files)
                self._widgets[parameter.name].value = self._shown(parameter)
        finally:
            self._filling = False

    async def _files(self, parameters: tuple[Parameter, ...]) -> list[str]:
        """Weights that this visitor may choose; who may not set any sees what is set alone."""
        root = self._page.viewer.root
        held = {str(one.value) for one in parameters if one.name == "weights"}
        own = [name.removeprefix(f"{root}/") for name in held if name.startswith(f"{root}/")]
        if not self._page.may_control or not held:
            return own
        names = await asyncio.to_thread(self._page.viewer.listing.names, *WEIGHTS)
        return sorted({*names, *own})

    def _row(self, parameter: Parameter) -> None:
        with ui.row().classes("w-full items-center no-wrap gap-2"):
            ui.label(parameter.name).classes("num grow").style(
                "overflow: hidden; text-overflow: ellipsis; white-space: nowrap"
            ).tooltip(parameter.text or parameter.name)
            widget = self._widget(parameter)
            widget.set_enabled(self._page.may_control)
            self._widgets[parameter.name] = widget
            if self.node == FRAME_SOURCE and parameter.name in LOCKSTEP_ONLY:
                widget.tooltip("in lockstep only")

    def _shown(self, parameter: Parameter) -> Any:
        root = self._page.viewer.root
        if parameter.name == "weights":
            names = self._widgets["weights"].options
            return next((n for n in names if str(root / n) == parameter.value), None)
        return parameter.value

    def _widget(self, parameter: Parameter) -> Any:
        name, value = parameter.name, parameter.value
        if parameter.choices:
            labels = {choice: _SHORT.get(choice, choice) for choice in parameter.choices}
            return self._told(ui.toggle(labels, value=value).props("dense no-caps size=sm"), name)
        if isinstance(value, bool):
            return self._told(ui.switch(value=value).props("dense"), name)
        if name == "weights":
            select = ui.select([], value=None, clearable=False).props("dense options-dense")
            return self._told(select.style("width: 170px"), name)
        if isinstance(value, int | float):
            return self._number(parameter, is_whole=isinstance(value, int))
        return self._left(ui.input(value=str(value)).props("dense"), name, str)

    def _number(self, parameter: Parameter, *, is_whole: bool) -> Any:
        field = ui.number(
            value=float(parameter.value),
            min=max(parameter.least, -1e12),
            max=min(parameter.greatest, 1e12),
        )
        field.props("dense").classes("num").style("width: 110px")
        return self._left(field, parameter.name, int if is_whole else float)

    def _told(self, widget: Any, name: str) -> Any:
        """A widget whose value is set as soon as it is chosen."""

        def choose(event: Any) -> Any:
            # Asked at once, not when a coroutine comes to run: what is read is not set again.
            is_chosen = not self._filling and event.value is not None
            return self._set(name, lambda: event.value) if is_chosen else None

        return widget.on_value_change(choose)

    def _left(self, widget: Any, name: str, kind: Callable[[Any], Value]) -> Any:
        """A field whose value is set when Enter is pressed."""

        async def enter() -> None:
            await self._set(name, lambda: kind(widget.value))

        return widget.on("keydown.enter", enter)

    async def _set(self, name: str, value: Callable[[], Value]) -> None:
        def ask() -> Future[Answer]:
            try:
                given = value()
                if name.rpartition(".")[2] in _FILES:
                    given = str(below(self._page.viewer.root, str(given)))
            except (ParameterError, TypeError, ValueError, OverflowError) as error:
                refused: Future[Answer] = Future()
                refused.set_result(Answer(False, f"{name}: {error}"))
                return refused
            return self._page.viewer.control.set(self.node, name, given)

        answer = await self._page.change(ask)
        if not answer.is_done:
            await self.read()  # show what holds
