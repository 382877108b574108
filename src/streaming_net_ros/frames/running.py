"""What a mailbox knows: the states that have arrived and may still be needed, and where a run is.

Values; ``mailbox`` acts on them. They can be put away and taken up again: a group that goes on
from another's `Running` fires the same frames from the same inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from streaming_net_ros.frames.origin import Origin

State = TypeVar("State")


class Input(NamedTuple, Generic[State]):
    """One input of a job: the state, its frame and origin, when it came, whether it stands in.

    A state of None says that the source is silent in that frame.
    """

    state: State | None
    frame: int
    origin: Origin
    arrived_ns: int
    is_held: bool = False


@dataclass
class Arrived(Generic[State]):
    """What has arrived from one source and may still be needed.

    Attributes:
        delay: of its edge, in frames.
        states: by frame.
        newest: frame that has arrived.
        is_on_time: realtime: it has met its last deadline, so it is worth waiting for.
    """

    delay: int
    states: dict[int, Input[State]] = field(default_factory=dict)
    newest: int | None = None
    is_on_time: bool = True

    def store(self, given: Input[State]) -> None:
        """Keep a state."""
        frame = given.frame
        self.states[frame] = given
        self.newest = frame if self.newest is None else max(frame, self.newest)

    def forget_before(self, frame: int, keep_one: bool) -> None:
        """Drop states older than ``frame``; realtime keeps the newest of them, to be held."""
        stale = [f for f in self.states if f < frame]
        if keep_one and stale:
            stale.remove(max(stale))
        for old in stale:
            del self.states[old]

    def held_for(self, frame: int, limit_frames: int | None) -> Input[State] | None:
        """The newest state before ``frame`` that is at most ``limit_frames`` older; None: any."""
        earlier = max((f for f in self.states if f < frame), default=None)
        if earlier is None or (limit_frames is not None and frame - earlier > limit_frames):
            return None
        return self.states[earlier]._replace(is_held=True)


@dataclass
class Running(Generic[State]):
    """What a mailbox knows of the run that it is in; gone when time jumps back.

    Attributes:
        sources: what has arrived, by source.
        start: frame of the first image, as far as arrivals tell.
        next: frame to fire; None until something arrived.
        fired: newest frame that has fired.
        has_begun: something has fired since the beginning, or since a silence.
        own: the newest own state.
        updated: the newest frame that was computed, not repeated.
        skipped: frames given up since the last one that fired.
    """

    sources: dict[str, Arrived[State]]
    start: int | None = None
    next: int | None = None
    fired: int | None = None
    has_begun: bool = False
    own: Input[State] | None = None
    updated: int | None = None
    skipped: int = 0

    def copy(self) -> Running[State]:
        """The same, of the same states; what becomes of one does not touch the other."""
        sources = {
            name: replace(box, states=dict(box.states)) for name, box in self.sources.items()
        }
        return replace(self, sources=sources)
