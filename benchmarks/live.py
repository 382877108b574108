"""A live network of six groups for the benchmarks: its processes, a camera, and who watches it.

Every group is a process. The camera publishes once a frame, a quarter period after the tick, so
that no image falls into another frame by chance. What a group has answered is read from its state
topic: frame, newest image inside, and the share of held paths.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from rclpy.node import Node
from sensor_msgs.msg import Image

from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.launching import Children, Process, RespawnPolicy, process_list
from streaming_net_ros.launching.children import Running, start_process
from streaming_net_ros.network import read_network_file
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.nodes.settings import Settings
from streaming_net_ros.wire import StateFormat, read_state, write_rgb8, write_stamp_ns

RATE_HZ = 30
SIDE, CHANNELS = 32, 16
GROUPS = ("stem", "side", "memory", "mid", "deep", "head")
OUTPUTS = {"side": "side", "depth": "deep", "drive": "head"}  # output -> its group
CALM_FRAMES = 15  # so many normal answers in a row: it is over
_UP_S = 90.0


def conv(stride: int = 1) -> dict[str, Any]:
    """A 3x3 convolution."""
    return {"Conv2d": {"out_channels": CHANNELS, "kernel_size": 3, "stride": stride, "padding": 1}}


def network(slow: str | None = None) -> dict[str, Any]:
    """A skip path, a deep path and a recurrent group; three outputs.

    ::

        image -> stem -+-> side                  output side: passes neither mid nor memory
                       +-> mid -> deep -+        output depth: the deep path alone
                       +-> memory ------+-> head output drive: skip, deep and recurrent paths
                       +----------------+

    Args:
        slow: this group comes from ``slow:group`` instead: it can be slowed from outside.
    """
    numbers = [
        {"AdaptiveAvgPool2d": {"output_size": 2}},
        "Flatten",
        {"Linear": {"out_features": 2}},
    ]
    heard: dict[str, list[tuple[str, list[Any]]]] = {
        "stem": [("image", [conv(2)])],
        "side": [("stem", numbers)],
        "memory": [("stem", [conv()]), ("memory", [conv()])],
        "mid": [("stem", [conv()])],
        "deep": [("mid", [conv()])],
        "head": [("stem", numbers), ("memory", numbers), ("deep", numbers)],
    }
    groups = []
    for name in GROUPS:
        edges = [{"source": source, "layers": layers} for source, layers in heard[name]]
        group: dict[str, Any] = {"name": name, "edges": edges, "apply": ["Tanh"]}
        if name == slow:
            group = {
                "name": name,
                "edges": [{"source": source} for source, _ in heard[name]],
                "factory": "slow:group",
                "args": {"channels": CHANNELS},
                "shape": [CHANNELS, SIDE // 2, SIDE // 2],
            }
        groups.append(group)
    return {
        "name": "live",
        "rate_hz": RATE_HZ,
        "inputs": {"image": {"type": "image", "height": SIDE, "width": SIDE}},
        "groups": groups,
        "outputs": {output: {"group": group} for output, group in OUTPUTS.items()},
    }


@dataclass(frozen=True)
class Answer:
    """One state of a group as a subscriber got it."""

    frame: int
    image_frame: int
    held: float
    at_s: float

    @property
    def age_frames(self) -> int:
        """How many frames older than its own the newest image inside is."""
        return self.frame - self.image_frame


@dataclass
class Watched:
    """The answers of one group, in the order in which they came."""

    answers: list[Answer] = field(default_factory=list)

    def since(self, frame: int) -> list[Answer]:
        """Answers of this frame and later ones."""
        return self.answers[bisect.bisect_left(self.answers, frame, key=lambda a: a.frame) :]

    @property
    def newest(self) -> int:
        """The newest answered frame; -1 before the first."""
        return self.answers[-1].frame if self.answers else -1


class Camera:
    """Publishes a picture every frame from a thread of its own; can be stopped."""

    def __init__(self, node: Node, grid: FrameGrid) -> None:
        self._publisher = node.create_publisher(Image, "image", topics.reliable(4))
        self._grid = grid
        self.is_on = threading.Event()
        self.is_on.set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._shoot, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ends.set()
        self._thread.join()

    def _shoot(self) -> None:
        number, period_ns = 0, self._grid.period_ns
        while not self._ends.is_set():
            frame = self._grid.frame_at(time.time_ns())
            due_ns = self._grid.stamp_ns(frame + 1) + period_ns // 4
            if self._ends.wait(max(0, due_ns - time.time_ns()) / 1e9):
                return
            if self.is_on.is_set():
                picture = np.random.default_rng(number).integers(
                    0, 256, (SIDE, SIDE, 3), dtype=np.uint8
                )
                message = Image()
                write_rgb8(message, picture)
                write_stamp_ns(message.header.stamp, time.time_ns())
                self._publisher.publish(message)
                number += 1


class LiveRun:
    """The network live, each group in a process; a context manager.

    Args:
        folder: for the network file.
        slow: see ``network``.
        start: starts a process; for processes that belong to another host.
        policy: how patiently processes are started again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        slow: str | None = None,
        start: Callable[[Process], Running] = start_process,
        policy: RespawnPolicy | None = None,
        namespace: str = "live",
    ) -> None:
        path = folder / "live.yaml"
        path.write_text(yaml.safe_dump(network(slow), sort_keys=False))
        self.spec = read_network_file(path)
        settings = Settings(path, mode="realtime")
        shares = process_list(
            str(path), GROUPS, namespace=namespace, parameters=settings.parameters()
        )
        self.grid = FrameGrid(self.spec.rate_hz)
        self._namespace = f"/{namespace}"
        self.told: list[str] = []
        self.children = Children(
            shares, policy or RespawnPolicy(), tell=self.told.append, start=start
        )
        self.watched = {group: Watched() for group in GROUPS}
        self._next_check_s = 0.0

    def __enter__(self) -> LiveRun:
        self.host = Host([]).__enter__()
        node = Node("watcher", context=self.host.context, namespace=self._namespace)
        self.host.add(node)
        shapes = dict.fromkeys(GROUPS, (CHANNELS, SIDE // 2, SIDE // 2))
        shapes.update(side=(2,), head=(2,))
        for group in GROUPS:
            heard = partial(self._on_state, group, StateFormat(group, shapes[group]))
            node.create_subscription(Image, topics.state(group), heard, topics.reliable(1000))
        self.camera = Camera(node, self.grid)
        self.children.__enter__()
        self.camera.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.camera.stop()
        self.children.__exit__(kind, error, trace)
        self.host.__exit__(kind, error, trace)

    def _on_state(self, group: str, form: StateFormat, message: Image) -> None:
        given = read_state(message, form)
        frame = self.grid.frame_at(given.stamp_ns)
        answer = Answer(frame, given.origin.image_frame, given.origin.held, time.time())
        self.watched[group].answers.append(answer)

    def now_frame(self) -> int:
        """The frame under way."""
        return self.grid.frame_at(time.time_ns())

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Serve the run until a condition holds; False if the time is up."""

        def met() -> bool:
            if time.monotonic() >= self._next_check_s:
                self._next_check_s = time.monotonic() + 0.02
                self.children.check()
            return until()

        return self.host.spin(met, timeout_s)

    def go(self, frames: int) -> None:
        """Serve the run for so many frames."""
        end = self.now_frame() + frames
        self.wait(lambda: self.now_frame() >= end, frames)

    def come_up(self, calm_frames: int = 60) -> dict[str, int]:
        """Wait until every group has answered so many frames without a hold.

        Returns:
            The normal age of every group's answers, in frames.

        Raises:
            RuntimeError: it does not come to that.
        """
        if not self.wait(lambda: self.is_calm(GROUPS, calm_frames), _UP_S):
            raise RuntimeError("the network did not come up on this machine at this rate")
        return {group: self.watched[group].answers[-1].age_frames for group in GROUPS}

    def is_calm(self, groups: Sequence[str] | Collection[str], frames: int) -> bool:
        """Have these groups answered each of the last frames, with nothing held?"""
        now = self.now_frame()
        for group in groups:
            last = self.watched[group].answers[-frames:]
            if len(last) < frames or any(answer.held for answer in last):
                return False
            if last[-1].frame < now - 5 or last[-1].frame - last[0].frame > frames + frames // 20:
                return False
        return True


@dataclass(frozen=True)
class Outage:
    """What an event cost one output, in frames.

    Attributes:
        silent: the longest run of frames without any answer.
        missed: frames without an answer until it was back to normal.
        held: answers of which a part was held or absent, or that were older than normal.
        recovered: frames until age and holds were normal; None if that did not come.
    """

    silent: int
    missed: int
    held: int
    recovered: int | None


def outage(
    watched: Watched, first: int, end: int, age_frames: int, since: int | None = None
) -> Outage:
    """The outage of an output.

    Args:
        watched: its group's answers.
        first: the frame of the event.
        end: up to here, exclusive.
        age_frames: the normal age.
        since: the frame from which recovery counts; None: the event's.
    """
    since = first if since is None else since
    answers = {answer.frame: answer for answer in watched.since(first) if answer.frame < end}
    normal = [
        frame in answers and not answers[frame].held and answers[frame].age_frames <= age_frames
        for frame in range(first, end)
    ]
    # A machine with other work holds a frame now and then: not every hold later on is the event's.
    runs = range(since - first, len(normal) - CALM_FRAMES + 1)
    back = next((first + at for at in runs if all(normal[at : at + CALM_FRAMES])), None)
    until = end if back is None else back
    there = sorted(frame for frame in answers if frame < until)
    gaps = zip([first - 1, *there], [*there, until], strict=True)
    return Outage(
        silent=max(after - before - 1 for before, after in gaps),
        missed=until - first - len(there),
        held=sum(not normal[frame - first] for frame in there),
        recovered=None if back is None else back - since,
    )
