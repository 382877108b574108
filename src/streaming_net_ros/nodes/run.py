"""A whole run from this process: feed a network, hear its responses, and say how it went.

Composed, the network's container is in this process; with ``processes`` every member is a child
process. Either way images and responses pass through real topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from streaming_net_ros.errors import RunError
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.launching import Children, Process, RespawnPolicy
from streaming_net_ros.network import NetworkSpec, rollout_of
from streaming_net_ros.nodes.container import (
    CONTAINER,
    Container,
    twin_error,
    wait_for_discovery,
)
from streaming_net_ros.nodes.cores import others_keep_their_cores
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.nodes.peers import who_lives
from streaming_net_ros.nodes.player import Message, Player
from streaming_net_ros.nodes.recorder import Recorder, Write
from streaming_net_ros.nodes.settings import Settings
from streaming_net_ros.theory import first_frames, response_times

_START_S = 60.0
_QUIET_S = 2.0
_LOOK_S = 0.02
_FIRST_FRAME_S = 20.0
_TAIL_S = 0.5
_STANDS_STILL_S = 20.0  # longer than any frame takes


@dataclass(frozen=True)
class RunResult:
    """How a run went.

    Attributes:
        images: published by the player.
        frames: fed by the frame source.
        responses: received, by output.
        unnumbered: images that no frame took (refused or dropped).
        disordered: responses that came with a stamp not above their predecessor's.
        seconds: from the first image to the last response.
        was_interrupted: ended by a signal.
        cadence: one line per member, as far as it runs in this process.
        restarts: how often each process was started again, by name; only those that were.
    """

    images: int
    frames: int
    responses: dict[str, int]
    unnumbered: int
    disordered: int
    seconds: float
    was_interrupted: bool
    cadence: tuple[str, ...]
    restarts: dict[str, int]


@dataclass(frozen=True)
class Feed:
    """What a run is fed: messages, the message class of each topic, and whether they are live."""

    messages: Iterable[Message]
    types: dict[str, Any]
    is_live: bool = False


def run_network(
    spec: NetworkSpec,
    settings: Settings,
    feed: Feed,
    write: Write,
    *,
    processes: list[Process] | None = None,
    namespace: str = "",
    states: tuple[str, ...] = (),
    on_progress: Callable[[int], None] = lambda frames: None,
) -> RunResult:
    """Stream a feed through the nodes of a network.

    Args:
        spec: the network.
        settings: of its containers.
        feed: what the player publishes.
        write: told of every response and frame.
        processes: run these as child processes; None composes all members in this one.
        namespace: of the network; empty takes its name.
        states: groups whose states are written as well.
        on_progress: called now and then with the number of frames fed.

    Raises:
        StreamingNetError: why the run could not start or go on.
    """
    namespace = "/" + (namespace or spec.name).strip("/")
    with ExitStack() as stack:
        if settings.mode == "lockstep":
            stack.enter_context(others_keep_their_cores())
        host = stack.enter_context(Host(["--ros-args", "-r", f"__ns:={namespace}"]))
        begun_s = time.monotonic()
        options = {"context": host.context}
        grid = FrameGrid(settings.rate_hz or spec.rate_hz)
        recorder = Recorder(
            dict(spec.outputs), grid, spec.primary_input, write, options, states=states
        )
        host.add(recorder)
        container = None
        if processes is None:
            node = Node(CONTAINER, **options)
            host.add(node)
            container = Container(node, settings)
        wait_for_discovery(host, begun_s)
        _refuse_twins(spec, host, recorder)
        children = None
        if container is not None:
            container.create_members()
            for member in container.members:
                host.add(member)
            stack.callback(container.stop)
            container.start()
        elif processes is not None:
            policy = RespawnPolicy() if settings.mode == "realtime" else None
            children = stack.enter_context(
                Children(processes, policy, tell=recorder.get_logger().warning)
            )
        player = Player(feed.messages, feed.types, settings.mode, options, is_live=feed.is_live)
        recorder.on_frame = player.numbered
        host.add(player)
        stack.callback(player.stop)
        watch = _Watch(
            spec,
            settings,
            player,
            recorder,
            container=container,
            children=children,
            # With a short window a slow answer may take longer than standing still is allowed.
            counts_answers=settings.mode == "lockstep"
            and bool(spec.outputs)
            and not (states or settings.window_frames),
            on_progress=on_progress,
        )
        if not host.spin(watch.is_connected, _START_S) and not host.is_asked_to_end:
            raise RunError(
                "the network did not come up",
                where=f"namespace {namespace}",
                expected=f"its nodes and topics within {_START_S:g} s",
                remedy="look at the messages above; check ROS_DOMAIN_ID and the discovery range",
            )
        started_s = time.monotonic()
        watch.begin()
        player.start()
        host.spin(watch.is_done)
        seconds = time.monotonic() - started_s
        # In realtime groups go on with held states: end them, and hear what they still sent.
        if container is not None:
            container.stop()
        if children is not None:
            children.end()
        host.spin(lambda: False, _TAIL_S)
        return watch.result(seconds, host.is_asked_to_end)


def _refuse_twins(spec: NetworkSpec, host: Host, recorder: Recorder) -> None:
    """A network of that name in that namespace must not be fed a second time."""
    members = {"frame_source", "player", *(group.name for group in spec.groups)}

    def twins() -> list[str]:
        there = [
            name
            for name, namespace in recorder.get_node_names_and_namespaces()
            if namespace == recorder.get_namespace()
        ]
        return sorted(members & set(there)) + ["recorder"] * (there.count("recorder") > 1)

    if living := who_lives(host, recorder, twins):
        raise twin_error(living, recorder.get_namespace())


class _Watch:
    """Decides when a run is connected and when it is done; raises what ends it early.

    ``counts_answers``: where every image has its answers, they tell when a run is over, and groups
    are spared the telling of their progress, a message each and frame.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        settings: Settings,
        player: Player,
        recorder: Recorder,
        *,
        container: Container | None,
        children: Children | None,
        counts_answers: bool,
        on_progress: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._player = player
        self._recorder = recorder
        self._container = container
        self._counts_answers = counts_answers
        self._children = children
        self._on_progress = on_progress
        rollout = rollout_of(spec, settings.rollout)
        self._first_frames = first_frames(rollout)
        self._groups = rollout.graph.groups
        full = max(times.full_frames for times in response_times(rollout).values())
        grid = FrameGrid(settings.rate_hz or spec.rate_hz)
        # Realtime: when nothing has come for so long after the last image, nothing will.
        self._tail_s = max(_TAIL_S, (full + 2) * grid.period_ns / 1e9)
        self._news = (0, 0)
        self._news_s = time.monotonic()
        self._look_again_s = 0.0

    def is_connected(self) -> bool:
        self._raise_failures()
        return self._player.is_matched() and self._recorder.is_matched(self._groups)

    def begin(self) -> None:
        """From now on silence counts."""
        self._news_s = time.monotonic()
        if self._counts_answers:
            self._recorder.hear_no_progress()

    def is_done(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._look_again_s:  # asked after every message: look up now and then
            return False
        self._look_again_s = now_s + _LOOK_S
        self._raise_failures()
        frames = self._recorder.frames
        self._on_progress(frames)
        news = (
            frames,
            sum(self._recorder.progress.values()) + sum(self._recorder.counts.values()),
        )
        if news != self._news or self._recorder.is_held_up:
            self._news, self._news_s = news, time.monotonic()
        quiet_s = now_s - self._news_s
        if not self._player.is_done:
            if self._settings.mode == "lockstep" and quiet_s > _STANDS_STILL_S:
                raise RunError(
                    f"the run stands still after {self._player.images} images and {frames} frames",
                    where="frame_source",
                    remedy="its messages above say what it refused, or whom it waits for",
                )
            return False
        if self._settings.mode == "realtime" and frames > 0:
            return self._is_drained() or quiet_s > self._tail_s
        if frames == 0 and quiet_s > _FIRST_FRAME_S:
            raise RunError(
                f"no frame came of {self._player.images} images",
                where="frame_source",
                remedy="its messages above say what it refused, or whom it waits for",
            )
        all_in = self._player.unnumbered == 0 or (frames > 0 and quiet_s > _QUIET_S)
        if not all_in or not self._is_drained():
            return False
        if self._recorder.was_changed:  # outputs may be silent now: when it is quiet, it is over
            return quiet_s > _QUIET_S
        missing = {n: frames - c for n, c in self._recorder.counts.items() if c < frames}
        patience_s = _STANDS_STILL_S if self._counts_answers else _QUIET_S
        if missing and quiet_s > patience_s:
            lost = ", ".join(f"{count} of {name}" for name, count in missing.items())
            raise RunError(f"responses were lost on their way: {lost}", where="recorder")
        return not missing

    def _is_drained(self) -> bool:
        """Every group has finished the last frame that the last image lets it reach."""
        if self._counts_answers:
            return True  # every image has one answer of each output: these say when it is over
        last = self._recorder.last_frame
        progress = self._recorder.progress
        return last is None or all(
            progress.get(group, -1) >= last + self._first_frames[group] for group in self._groups
        )

    def _raise_failures(self) -> None:
        if self._player.error is not None:
            raise self._player.error
        if self._container is not None and self._container.failure is not None:
            raise self._container.failure
        if self._children is not None:
            self._children.check()

    def result(self, seconds: float, was_interrupted: bool) -> RunResult:
        return RunResult(
            images=self._player.images,
            frames=self._recorder.frames,
            responses=dict(self._recorder.counts),
            unnumbered=max(0, self._player.images - self._recorder.frames),
            disordered=self._recorder.disordered,
            seconds=seconds,
            was_interrupted=was_interrupted,
            cadence=tuple(self._container.report()) if self._container is not None else (),
            restarts=self._children.restarts if self._children is not None else {},
        )
