"""A state's picture on the page: the browser asks for the next one when it has shown the last."""

from __future__ import annotations

from nicegui.element import Element

from streaming_net_ros.viewer.pictures import Options

PERIOD_MS = 200  # at most five times a second


class LivePicture(Element, component="live_picture.js"):
    """A picture that keeps itself new.

    Args:
        node: whose state.
        options: how it is drawn.
        smooth: enlarge with smoothing: a camera's image.
    """

    def __init__(self, node: str, options: Options, *, smooth: bool = False) -> None:
        super().__init__()
        self._props["period_ms"] = PERIOD_MS
        self.show(node, options, smooth=smooth)

    def show(self, node: str, options: Options, *, smooth: bool = False) -> None:
        """Show another state, or the same in another way."""
        self._props["node"] = node
        self._props["source"] = f"/picture/{node}?{options.query()}"
        self._props["smooth"] = smooth
        self.update()
