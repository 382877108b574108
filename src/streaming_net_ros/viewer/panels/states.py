"""Up to six states, each drawn as chosen: tiles of channels, mean, max, colours, histogram."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.live_picture import LivePicture
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.pictures import COLOURS, Options, kind_of, parse_channels

VIEWS = 6
_OF_MAPS = {
    "tiles": "tiles", "mean": "mean", "max": "max", "rgb": "rgb", "camera": "image",
    "histogram": "histogram",
}  # fmt: skip
_OF_VECTORS = {"bars": "bars", "histogram": "histogram"}


def build(page: Page) -> None:
    """Build the views."""
    names = list(page.viewer.watch.formats)
    page.looked_at[:] = names[:VIEWS]
    views: list[View] = []
    turn = {"next": min(VIEWS, len(names)) - 1}
    columns = min(3, len(page.looked_at))
    with ui.element("div").style(
        f"display: grid; grid-template-columns: repeat({columns}, minmax(0, 1fr)); "
        "grid-auto-rows: minmax(0, 1fr); gap: 8px; height: 100%"
    ):
        for number, name in enumerate(page.looked_at):
            views.append(View(page, number, name))

    def look(node: str) -> None:
        """A node that is not there yet takes the place of the one that came longest ago."""
        if node not in page.looked_at:
            views[turn["next"]].choose(node)
            turn["next"] = (turn["next"] + 1) % len(views)

    page.on_look(look)


class View:
    """One state view.

    Args:
        page: it is on.
        number: its place in `Page.looked_at`.
        node: whose state is shown at first.
    """

    def __init__(self, page: Page, number: int, node: str) -> None:
        self._page = page
        self._number = number
        self._node = node
        self._options = Options(self._fitting("auto"))
        with (
            ui.element("div")
            .classes("card")
            .style("display: flex; flex-direction: column; min-height: 0")
        ):
            with ui.row().classes("w-full items-center gap-1 no-wrap"):
                self._name = (
                    ui.select(list(page.viewer.watch.formats), value=node)
                    .props("dense borderless options-dense")
                    .classes("grow font-medium")
                    .on_value_change(lambda event: self._change(event.value))
                )
                self._shape = ui.label(self._told_shape()).classes("num pale")
                self._kind = (
                    ui.select(self._kinds(), value=self._options.kind)
                    .props("dense borderless options-dense")
                    .on_value_change(self._redraw)
                )
                self._more()
            self._picture = LivePicture(node, self._options, smooth=self._is_camera)
            self._picture.classes("w-full").style("flex: 1 1 0; min-height: 0")

    def _told_shape(self) -> str:
        return "\u00d7".join(map(str, self._page.viewer.watch.formats[self._node].shape))

    def choose(self, node: str) -> None:
        """Show another node."""
        self._name.value = node

    def _more(self) -> None:
        """Channels, colours and range, out of the way until they are wanted."""
        with (
            ui.button(icon="tune").props("flat dense size=sm").classes("pale"),
            ui.menu().props("anchor='bottom right' self='top right'"),
            ui.column().classes("gap-1 p-3").style("width: 230px"),
        ):
            self._channels = _field("channels (0-3,7)", self._redraw)
            self._colours = (
                ui.select(list(COLOURS), value=COLOURS[0], label="colours")
                .props("dense options-dense")
                .classes("w-full")
                .on_value_change(self._redraw)
            )
            with ui.row().classes("no-wrap gap-2"):
                self._low = _field("from", self._redraw)
                self._high = _field("to", self._redraw)
            ui.label("without a range: that of each picture").classes("pale text-xs")
            self._trouble = ui.label().classes("text-xs").style("color: var(--bad)")

    def _change(self, node: str) -> None:
        self._node = self._page.looked_at[self._number] = node
        self._shape.text = self._told_shape()
        self._kind.set_options(self._kinds(), value=self._fitting("auto"))
        self._channels.value = ""
        self._redraw()

    def _kinds(self) -> dict[str, str]:
        is_map = len(self._page.viewer.watch.formats[self._node].shape) == 3
        return _OF_MAPS if is_map else _OF_VECTORS

    def _fitting(self, kind: str) -> str:
        return kind_of(self._page.viewer.watch.formats[self._node].shape, kind)

    @property
    def _is_camera(self) -> bool:
        return self._options.kind == "camera"

    def _redraw(self) -> None:
        try:
            self._options = Options(
                self._kind.value,
                parse_channels(self._channels.value or ""),
                self._colours.value,
                _number(self._low.value),
                _number(self._high.value),
            )
        except ParameterError as error:
            self._trouble.text = str(error)
            return
        self._trouble.text = ""
        self._picture.show(self._node, self._options, smooth=self._is_camera)


def _field(label: str, changed: Callable[[], None]) -> ui.input:
    """A text field that tells when it is left, not at each key."""
    made = ui.input(label).props("dense").classes("w-full")
    made.on("blur", changed)
    made.on("keydown.enter", changed)
    return made


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ParameterError("not a number", where="range", got=text) from None
