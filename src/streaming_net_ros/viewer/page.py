"""What every panel of the page is given: the network, what is seen, what may be changed.

A panel is a function that builds its part with NiceGUI inside the place that it is called in; a
`Page` belongs to one visitor's tab of a browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nicegui import ui

from streaming_net_ros.network import NetworkSpec, inputs_of
from streaming_net_ros.theory import Rollout
from streaming_net_ros.theory.layout import Layout, lay_out
from streaming_net_ros.viewer.bursts import Bursts
from streaming_net_ros.viewer.control import Answer, Control
from streaming_net_ros.viewer.draft_process import Checker
from streaming_net_ros.viewer.files import Listing
from streaming_net_ros.viewer.gallery import Gallery
from streaming_net_ros.viewer.guard import Guard
from streaming_net_ros.viewer.link import Link
from streaming_net_ros.viewer.rollout_live import Thumbnails
from streaming_net_ros.viewer.saliency_live import Salience
from streaming_net_ros.viewer.trial import Trial
from streaming_net_ros.viewer.watch import Watch

T = TypeVar("T")


@dataclass(frozen=True)
class Viewer:
    """What all pages of a viewer share; what few ask for is made when it is asked for.

    Attributes:
        spec, rollout, layout: the network, and where its nodes are drawn.
        link: the ROS node.
        watch, control, gallery, guard: what is seen, changed, drawn, allowed.
        weights: the weights file that the network was started with, as far as known here.
        root: files that a page may name lie below it: weights and snapshots.
    """

    spec: NetworkSpec
    rollout: Rollout
    layout: Layout
    link: Link
    watch: Watch
    control: Control
    gallery: Gallery
    guard: Guard
    weights: Path | None
    root: Path

    @cached_property
    def listing(self) -> Listing:
        """What lies below the root."""
        return Listing(self.root)

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """Small pictures: twenty pages draw each once."""
        return Thumbnails(self.spec)

    @cached_property
    def salience(self) -> Salience:
        """Answers what an answer hangs on, in `answering`."""
        return Salience(self.spec, self.rollout, self.weights)

    @cached_property
    def bursts(self) -> Bursts:
        """Hears the images that saliency is asked about."""
        inputs = {name: self.watch.formats[name] for name in inputs_of(self.spec)}
        return Bursts(self.link, inputs, self.watch.grid)

    @cached_property
    def answering(self) -> ThreadPoolExecutor:
        """The one thread that takes gradients."""
        return ThreadPoolExecutor(1, thread_name_prefix="viewer saliency")

    @cached_property
    def checker(self) -> Checker:
        """Checks drafts, in `checking`."""
        return Checker(self.root)

    @cached_property
    def trial(self) -> Trial:
        """Drives a draft."""
        return Trial(self.guard.token, self.guard.host)

    @cached_property
    def checking(self) -> ThreadPoolExecutor:
        """The one thread that waits for checks: pictures and gradients do not wait behind it."""
        return ThreadPoolExecutor(1, thread_name_prefix="viewer check")

    def close(self) -> None:
        """End what pages have begun. Waits some seconds for a trial."""
        begun = vars(self)  # what nobody has asked for is not made to be ended
        if "checker" in begun:
            self.checker.close()
        for thread in ("checking", "answering"):
            if thread in begun:
                begun[thread].shutdown(wait=False, cancel_futures=True)
        if "trial" in begun:
            self.trial.stop()


def make_viewer(
    spec: NetworkSpec,
    rollout: Rollout,
    namespace: str,
    guard: Guard,
    *,
    rate_hz: float | None = None,
    weights: Path | None = None,
    root: Path = Path(),
) -> Viewer:
    """What pages of a network share; its link must be entered before pages are served.

    Args:
        spec: the network.
        rollout: as it is run.
        namespace: of it.
        guard: of the pages.
        rate_hz: at which it runs; None: the network file's.
        weights: with which it runs; None: the network file's.
        root: files that a page may name lie below it.
    """
    link = Link(namespace)
    watch = Watch(link, spec, rate_hz)
    return Viewer(
        spec,
        rollout,
        lay_out(spec.graph),
        link,
        watch,
        Control(link),
        Gallery(watch),
        guard,
        weights or spec.weights_path,
        root.resolve(),
    )


@dataclass
class Page:
    """One visitor's page.

    Attributes:
        viewer: what all pages share.
        session: the visitor's secret, if there is one.
        shown: name of the panel in front.
        looked_at: nodes in the state views, in their order.
        is_visible: whether the browser shows its tab, as far as it told.
    """

    viewer: Viewer
    session: str | None
    shown: str = "live"
    looked_at: list[str] = field(default_factory=list)
    is_visible: bool = True
    _building: str = ""
    _on_look: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def may_control(self) -> bool:
        """Whether this visitor may change the network; asked again at each change."""
        return self.viewer.guard.may_control(self.session)

    def build(self, name: str, build: Callable[[Page], None]) -> None:
        """Build a panel; what it does regularly is done only while it is in front."""
        self._building = name
        try:
            build(self)
        finally:
            self._building = ""

    def every(self, period_s: float, work: Callable[[], object]) -> None:
        """Do something, a coroutine too, while the panel that is being built is in front.

        Not in a tab that is hidden: reading is looking, and nobody looks there.
        """
        panel = self._building

        def due() -> object:
            is_seen = self.is_visible and (not panel or panel == self.shown)
            return work() if is_seen else None

        ui.timer(period_s, due)

    def on_look(self, tell: Callable[[str], None]) -> None:
        """Be told when a node is to be looked at."""
        self._on_look.append(tell)

    def look_at(self, node: str) -> None:
        """Show a node: called by whatever names nodes, such as the graph."""
        if node in self.viewer.watch.formats:
            for tell in self._on_look:
                tell(node)

    @staticmethod
    def told_frame(frame: int) -> str:
        """A frame's number; those of realtime have eleven digits."""
        return f"{frame:,}".replace(",", "\u202f")

    async def answered(self, asked: Future[T]) -> T:
        """Wait for an answer without holding up the page."""
        return await asyncio.wrap_future(asked)

    async def change(self, ask: Callable[[], Future[Answer]]) -> Answer:
        """Ask for a change if this visitor may, and show what became of it."""
        if not self.may_control:
            answer = Answer(False, "this page may not change anything: open it with the token")
        else:
            try:
                answer = await self.answered(ask())
            except (TypeError, ValueError, OverflowError) as error:  # whatever a client sends
                answer = Answer(False, str(error))
        ui.notify(
            answer.text,
            type="positive" if answer.is_done else "negative",
            position="bottom-left",
            timeout=3000,
            classes="num",
        )
        return answer

    def changing(self, ask: Callable[[], Future[Answer]]) -> Callable[[], Awaitable[Any]]:
        """A handler that asks for a change."""

        async def handle() -> None:
            await self.change(ask)

        return handle
