"""Pictures of states on request, each rendered once for everybody.

A picture is asked for by a client that has shown the one before, so that a slow client asks
rarely and one that hangs not at all. Twenty clients that look at one state cost one rendering. No
NiceGUI; used by the page's picture route.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from streaming_net_ros.viewer.pictures import Options, draw, png, span
from streaming_net_ros.viewer.watch import Seen, Watch

_KEPT = 96


@dataclass(frozen=True)
class Picture:
    """A state, drawn.

    Attributes:
        tag: tells pictures of one state and options apart.
        frame: of the state.
        low, high: the range of the numbers in it.
        file: PNG; empty of a node that was silent.
    """

    tag: str
    frame: int
    low: float
    high: float
    file: bytes


class Gallery:
    """The newest pictures of what is looked at.

    Args:
        watch: where the states are from.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, Options], Picture] = OrderedDict()
        self._drawing: dict[tuple[str, Options], threading.Lock] = {}
        self.rendered = 0

    def picture(self, node: str, options: Options) -> Picture | None:
        """The newest picture of a state; None as long as no state was heard. Any thread.

        Raises:
            KeyError: no such node.
            ParameterError: a channel that the state does not have.
        """
        seen = self._watch.state(node)
        if seen is None:
            return None
        key, tag = (node, options), self._tag(seen)
        with self._lock:
            drawing = self._drawing.setdefault(key, threading.Lock())
        try:
            with drawing:  # who asks for the same waits for it, and gets it
                with self._lock:
                    kept = self._kept.get(key)
                if kept is None or kept.tag != tag:
                    kept = self._render(seen, options, tag)
                    self._keep(key, kept)
            return kept
        finally:
            with self._lock:
                if key not in self._kept:  # refused: nothing is left of it
                    self._drawing.pop(key, None)

    def kept(self, node: str, options: Options) -> Picture | None:
        """The newest picture, if it is drawn already. Takes no time.

        Raises:
            KeyError: no such node.
        """
        seen = self._watch.state(node)
        with self._lock:
            picture = self._kept.get((node, options))
        is_new = seen is not None and picture is not None and picture.tag == self._tag(seen)
        return picture if is_new else None

    def _tag(self, seen: Seen) -> str:
        return f"{id(self._watch):x}-{seen.number}"

    def _render(self, seen: Seen, options: Options, tag: str) -> Picture:
        values = seen.values
        if values is None:
            return Picture(tag, seen.frame, 0.0, 0.0, b"")
        low, high = span(values)
        self.rendered += 1
        return Picture(tag, seen.frame, low, high, png(draw(values, options)))

    def _keep(self, key: tuple[str, Options], picture: Picture) -> None:
        with self._lock:
            self._kept[key] = picture
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                old, _ = self._kept.popitem(last=False)
                self._drawing.pop(old, None)
