"""What a firing rule is made of: delays, first frames, deadlines, and how often a group computes.

Values only; ``mailbox`` acts on them. Imported by whoever makes mailboxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.theory import Rollout, first_frames, tableau

Mode = Literal["lockstep", "realtime"]


@dataclass(frozen=True)
class Deadline:
    """Realtime: how long a frame waits for an input, and how long a missing one is held.

    Attributes:
        grid: gives the tick of a frame.
        wait_ns: how long after its tick a frame waits.
        hold_limit_frames: for how many frames a missing input is held.

    Raises:
        ParameterError: a negative wait or limit.
    """

    grid: FrameGrid
    wait_ns: int
    hold_limit_frames: int

    def __post_init__(self) -> None:
        if self.wait_ns < 0 or self.hold_limit_frames < 0:
            raise ParameterError(
                "deadline or hold limit is negative",
                where="realtime",
                expected=">= 0",
                got=min(self.wait_ns, self.hold_limit_frames),
            )

    def at_ns(self, frame: int) -> int:
        """When a frame stops waiting."""
        return self.grid.stamp_ns(frame) + self.wait_ns


@dataclass(frozen=True)
class Period:
    """A group that computes a new state only in some frames and repeats it in the others.

    It computes in frames ``t`` with ``t % every == offset``, and in its first one.

    Raises:
        ParameterError: not ``0 <= offset < every``.
    """

    every: int = 1
    offset: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.offset < self.every:
            raise ParameterError(
                "not a period", where="every, offset", expected="0 <= offset < every",
                got=(self.every, self.offset),
            )  # fmt: skip

    def newest(self, frame: int) -> int:
        """The last frame up to this one in which a new state is due."""
        return frame - (frame - self.offset) % self.every


@dataclass(frozen=True)
class FiringRule:
    """Everything a mailbox needs to know of the network: one group's view of a rollout.

    Attributes:
        group: the group that fires; its own name among ``delays`` is its self-edge.
        delays: delay in frames per source, in the file's order of edges.
        first_frames: per source and for the group itself, the first frame (counted from the first
            image's) at which a state exists.
        deadlines: realtime's, per source; None is lockstep, which waits without limit.
        period: in which frames the group computes.
        repeats_frames: for how many frames states may be repeated on their way, by periods.
        teacher: a source that is heard for learning alone. In realtime nothing waits for it,
            nothing stands in for it, and no age or held share counts it.
    """

    group: str
    delays: Mapping[str, int]
    first_frames: Mapping[str, int]
    deadlines: Mapping[str, Deadline] | None = None
    period: Period = Period()
    repeats_frames: int = 0
    teacher: str | None = None

    @property
    def hold_limit_frames(self) -> int:
        """Realtime: how much older than at best the newest image inside a state may be."""
        limits = [deadline.hold_limit_frames for deadline in (self.deadlines or {}).values()]
        return max(limits, default=0) + self.repeats_frames


def firing_rules(
    rollout: Rollout,
    deadline: Deadline | None = None,
    *,
    edges: Mapping[tuple[str, str], Deadline] | None = None,
    periods: Mapping[str, Period] | None = None,
    teachers: Mapping[str, str] | None = None,
) -> dict[str, FiringRule]:
    """The firing rule of every group of a rollout; lockstep unless a deadline is given.

    Args:
        rollout: the network's.
        deadline: realtime's. Its wait is that of a group that hears others' previous frames; where
            edges have no delay, states of one frame need several updates, and each gets as long.
        edges: deadlines of edges (source, target) that have one of their own.
        periods: of groups that do not compute in every frame.
        teachers: by group: a source that it hears for learning alone.
    """
    first = first_frames(rollout)
    steps = tableau(rollout, 1)
    periods = periods or {}
    repeats = sum(period.every - 1 for period in periods.values())
    rules = {}
    for group in rollout.graph.groups:
        delays = rollout.delays_into(group)
        deadlines = None
        if deadline is not None:
            deadlines = {}
            for source in delays:
                own = (edges or {}).get((source, group), deadline)
                wait_ns = own.wait_ns * steps[1, group]
                deadlines[source] = Deadline(own.grid, wait_ns, own.hold_limit_frames)
        rules[group] = FiringRule(
            group,
            delays,
            {name: first[name] for name in (*delays, group)},
            deadlines,
            periods.get(group, Period()),
            repeats,
            (teachers or {}).get(group),
        )
    return rules
