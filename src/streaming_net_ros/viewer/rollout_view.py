"""What the rollout view shows: a window of groups x frames, a light cone in it, and words for it.

Owns what is true of every cell of that window: whether its state exists, has been computed, is
repeated, lies in the cone, and how a person is told. Pure; knows neither places nor colours
(``rollout_picture``) nor where states come from (``rollout_live``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import (
    Computes,
    Direction,
    FrameNode,
    LightCone,
    NetworkGraph,
    Rollout,
    always,
    first_frames,
)
from streaming_net_ros.theory.layout import lay_out

MAX_COLUMNS = 60


@lru_cache(maxsize=8)
def row_order(graph: NetworkGraph) -> tuple[str, ...]:
    """Nodes from inputs to outputs: each after all that it hears, feedback left out."""
    return tuple(sorted(graph.nodes, key=lay_out(graph).layer.__getitem__))


@dataclass(frozen=True)
class RolloutView:
    """What one picture shows.

    Args:
        rollout: whose edges are drawn.
        first_frame: of the leftmost column.
        last_frame: of the rightmost one.
        now: the frame of the newest image. A group is ahead of it by its shortest path: it
            computes as soon as its inputs exist (eager law). None: a plan, without a now.
        begun: the frame of the first image; a state exists from its first response after it on.
        cone: what is lit.
        outputs: group by the name of the output.
        thumbnails: small pictures of states that are known, as ``data:`` addresses.
        computes: in which frames a group computes; in others it repeats its state.

    Raises:
        ParameterError: no column, or too many.
    """

    rollout: Rollout
    first_frame: int
    last_frame: int
    now: int | None = None
    begun: int = 0
    cone: LightCone | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    thumbnails: Mapping[FrameNode, str] = field(default_factory=dict)
    computes: Computes = always

    def __post_init__(self) -> None:
        columns = self.last_frame - self.first_frame + 1
        if not 1 <= columns <= MAX_COLUMNS:
            raise ParameterError(
                "bad number of frames", where="rollout view", expected=f"1 to {MAX_COLUMNS}",
                got=columns,
            )  # fmt: skip

    @property
    def frames(self) -> range:
        """The frames of the columns."""
        return range(self.first_frame, self.last_frame + 1)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The rows, from the top."""
        return row_order(self.rollout.graph)

    @cached_property
    def lead(self) -> dict[str, int]:
        """Frames that each node's state is ahead of the newest image inside it."""
        return first_frames(self.rollout)

    @cached_property
    def lit(self) -> frozenset[FrameNode]:
        """The cone's states; it counts delays only, but what does not exist influences nothing."""
        members = self.cone.members if self.cone is not None else frozenset()
        return frozenset((frame, node) for frame, node in members if self.exists(frame, node))

    @cached_property
    def arrivals(self) -> frozenset[FrameNode]:
        """The nearest state of each node to the cone's tip."""
        return self.cone.arrivals & self.lit if self.cone is not None else frozenset()

    def exists(self, frame: int, node: str) -> bool:
        """Whether some image has reached the node by then."""
        return frame >= self.begun + self.lead[node]

    def is_later(self, frame: int, node: str) -> bool:
        """Whether the state cannot have been computed yet."""
        return self.now is not None and frame > self.now + self.lead[node]

    def is_repeated(self, frame: int, node: str) -> bool:
        """Whether the node gives its state of the frame before once more."""
        return node not in self.rollout.graph.inputs and not self.computes(node, frame)

    def is_choice(self, node: str) -> bool:
        """Whether the node's cells choose a cone: inputs, and groups that answer."""
        graph = self.rollout.graph
        return node in graph.inputs or node in (*graph.outputs, *self.outputs.values())

    def marks(self, frame: int, node: str) -> list[str]:
        """All that is to be marked of a cell, by the words of `rollout_picture`'s style."""
        is_seen, is_lit = (frame, node) in self.thumbnails, (frame, node) in self.lit
        marks = {
            "lit": is_lit,
            "tip": self.cone is not None and self.cone.tip == (frame, node),
            "seen": is_seen,
            "dim": is_seen and self.cone is not None and not is_lit,
            "none": not self.exists(frame, node),
            "later": self.is_later(frame, node),
            "repeated": self.is_repeated(frame, node),
            "choice": self.is_choice(node),
        }
        return [mark for mark, holds in marks.items() if holds]

    def told(self, frame: int, node: str) -> str:
        """A cell in words."""
        told = "a state"
        if not self.exists(frame, node):
            told = "does not exist yet"
        elif self.is_later(frame, node):
            told = "not computed yet"
        elif self.is_repeated(frame, node):
            told = "repeats the state before"
        told = f"{node}, frame {frame}: {told}"
        if self.cone is None or (frame, node) not in self.lit:
            return told
        at, name = self.cone.tip
        if (frame, node) == self.cone.tip:
            return f"{told}; its light cone is lit"
        if self.cone.direction is Direction.PAST:
            return f"{told}; can influence {name} of frame {at}, {at - frame} frames later"
        return f"{told}; can be influenced by {name} of frame {at}, {frame - at} frames before"

    def key(self) -> list[tuple[str, bool, str]]:
        """What the marks of this picture mean, as (marks, with a dot, text)."""
        entries = [("", False, "state")]
        if self.cone is not None:
            at, name = self.cone.tip
            past = self.cone.direction is Direction.PAST
            entries = [
                ("tip lit", False, f"{name}, {self.when(at)}"),
                ("lit", False, "can influence it" if past else "can be influenced by it"),
                ("lit", True, "newest that can" if past else "first arrival"),
                ("", False, "any other state"),
            ]
        if self.now is not None:
            entries.append(("later", False, "not computed yet"))
        return entries

    def when(self, frame: int) -> str:
        """A frame in words: by its number, or as it lies to now."""
        if self.now is None:
            return f"frame {frame}"
        if frame == self.now:
            return "now"
        frames = abs(frame - self.now)
        told = f"{frames} frame{'s' if frames > 1 else ''}"
        return f"{told} {'ago' if frame < self.now else 'ahead'}"


def summary(view: RolloutView, period_ms: float) -> str:
    """The cone in a sentence: what an answer is made of, or when an image arrives where.

    Args:
        view: with a cone; without one there is nothing to say.
        period_ms: of a frame.
    """
    if view.cone is None:
        return ""

    def later(node: str) -> str:
        assert view.cone is not None
        frames = abs(view.cone.nearest[node] - view.cone.tip[0])
        return f"{frames} frame{'' if frames == 1 else 's'} ({frames * period_ms:.0f} ms)"

    name, nearest = view.cone.tip[1], view.cone.nearest
    if view.cone.direction is Direction.PAST:
        told = [
            f"{len(view.cone.frames_of(image))} frames of {image} in this window, the newest "
            f"{later(image)} before"
            for image in view.rollout.graph.inputs
            if image in nearest
        ]
        return (
            f"{name} is made of {' and '.join(told)}" if told else f"nothing reaches {name} here"
        )
    told = [
        f"{out} after {later(group)}" for out, group in view.outputs.items() if group in nearest
    ]
    if not told:
        return f"{name} reaches no output within this window"
    return f"a frame of {name} first reaches {', '.join(told)}"
