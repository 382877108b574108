"""Answers of networks that run in real time, for ``evaluate --realtime`` and ``--answers``.

Either streams a recording through the ROS nodes now, or reads the bag that heard them; tells when
each response reached a subscriber, in the recording's own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streaming_net_ros.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streaming_net_ros.cli.evaluate_contenders import Entry
    from streaming_net_ros.evaluation.inputs import RecordedInputs
    from streaming_net_ros.evaluation.streaming.comparison import Drive
    from streaming_net_ros.evaluation.streaming.played import Contender, TimedPlay
    from streaming_net_ros.evaluation.streaming.references import Reference
    from streaming_net_ros.nodes.player import Message


@dataclass(frozen=True)
class HeardPlayer:
    """Plays what a bag has heard.

    Attributes:
        path: the bag with the responses.
    """

    path: Path

    def __call__(
        self,
        contender: Contender,
        drive: Drive,
        inputs: RecordedInputs,
        references: Sequence[Reference],
        on_image: Callable[[], None],
    ) -> TimedPlay:
        """Read them.

        Raises:
            BagError: they are missing, or belong to another recording.
        """
        from streaming_net_ros.evaluation.streaming.heard import recorded_play

        return recorded_play(self.path, inputs, references)


@dataclass(frozen=True)
class LivePlayer:
    """Plays contenders through ROS.

    Attributes:
        entries: by contender.
        image_topic: of the recordings; None for the only one.
        topics: per further input.
        rate_hz: of the frame grid; None takes the network file's.
        namespace: of the network; empty takes its name.
    """

    entries: Mapping[str, Entry]
    image_topic: str | None
    topics: Mapping[str, str]
    rate_hz: float | None = None
    namespace: str = ""

    def __call__(
        self,
        contender: Contender,
        drive: Drive,
        inputs: RecordedInputs,
        references: Sequence[Reference],
        on_image: Callable[[], None],
    ) -> TimedPlay:
        """Stream one recording.

        Raises:
            RunError: rclpy is not installed, or the network does not come up.
        """
        try:
            from streaming_net_ros.nodes.feeds import bag_feed
            from streaming_net_ros.nodes.run import run_network
            from streaming_net_ros.nodes.settings import Settings
        except ImportError as error:
            raise RunError(
                f"cannot stream through ROS ({error})",
                where="--realtime",
                remedy="source your ROS 2, or pip install 'streaming_net_ros[ros]'",
            ) from None
        from streaming_net_ros.evaluation.streaming.heard import response_of
        from streaming_net_ros.evaluation.streaming.played import Answers, TimedPlay

        entry = self.entries[contender.name]
        settings = Settings(
            entry.path,
            weights=entry.weights,
            rollout=entry.choice,
            mode="realtime",
            rate_hz=self.rate_hz,
        )
        feed = bag_feed(drive.path, contender.network.spec, self.image_topic, dict(self.topics))
        pace = _Pace(feed.messages)
        heard: list[tuple[int, str, str, bytes]] = []

        def write(topic: str, kind: str, stamp_ns: int, cdr: bytes) -> None:
            heard.append((time.monotonic_ns(), topic, kind, cdr))

        counted = 0

        def progress(frames: int) -> None:
            nonlocal counted
            for _ in range(counted, min(frames, len(inputs))):
                on_image()
            counted = max(counted, frames)

        result = run_network(
            contender.network.spec,
            settings,
            replace(feed, messages=pace),
            write,
            namespace=self.namespace or f"{contender.network.spec.name}_evaluation",
            on_progress=progress,
        )
        if result.was_interrupted:
            raise typer.Exit(130)
        by_output = {reference.output: reference for reference in references}
        rows: dict[str, list[tuple[int, int, NDArray[np.float64]]]] = {o: [] for o in by_output}
        for at_ns, topic, kind, cdr in heard:
            output = topic.rpartition("/response/")[2]
            if output in by_output:
                captured_ns, values = response_of(by_output[output], kind, cdr)
                if by_output[output].is_answer(values):
                    rows[output].append((at_ns - pace.offset_ns, captured_ns, values))
        return TimedPlay({o: Answers.of(rows[o], len(r.names)) for o, r in by_output.items()})


class _Pace:
    """Passes messages on to the player, and finds when the recording's time zero was.

    The player asks for the next message when it has published the last one, which was due at a
    known time of the recording: the promptest one tells how the two clocks lie.
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = messages
        self.offset_ns = 0

    def __iter__(self) -> Iterator[Message]:
        is_first = True
        for message in self._messages:
            yield message
            due_ns = message.stamp_ns if message.due_ns is None else message.due_ns
            offset_ns = time.monotonic_ns() - due_ns
            self.offset_ns = offset_ns if is_first else min(offset_ns, self.offset_ns)
            is_first = False
