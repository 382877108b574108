"""Flow control of lockstep: how far the source may run ahead of the slowest group.

The source owns one window. Groups report the frames that they have finished (topic ``progress``);
an image may be fed while no group has more than ``size`` images still to work through. With a
window as long as the network is deep, every group has work while no queue grows without bound.

Not all groups need to report every frame: who has finished a frame has heard its sources, so these
are as far (``who_tells``).
"""

from __future__ import annotations

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.theory import Rollout, first_frames


def who_tells(rollout: Rollout) -> frozenset[str]:
    """Groups whose progress does not follow from that of a group that hears them.

    Group ``u`` has worked through the image of frame ``t`` when it has finished frame
    ``t + first(u)``. Let ``v`` hear it, on a shortest path: ``first(v) = first(u) + delay``. What
    ``v`` has finished, frame ``t + first(v)``, needs frame ``t + first(u)`` of ``u``: so ``u`` has
    worked through every image that ``v`` has, and the slowest group is among the others.
    """
    first = first_frames(rollout)
    follows = {
        edge.source
        for edge in rollout.graph.edges
        if first[edge.target] == first[edge.source] + rollout.delay(edge.source, edge.target)
    }
    return frozenset(rollout.graph.groups) - follows


class FlowWindow:
    """Counts, per group, the images that it has not yet worked through.

    A group whose first state exists ``n`` frames after the first image has worked through the
    image of frame ``t`` when it has finished frame ``t + n``.

    Args:
        rollout: the network's.
        size: images under way at most; 0 takes one more than there are groups, which keeps the
            longest chain full.

    Raises:
        ParameterError: the size is negative.
    """

    def __init__(self, rollout: Rollout, size: int = 0) -> None:
        if size < 0:
            raise ParameterError(
                "window too small", where="window_frames", expected=">= 0", got=size
            )
        self.size = size or len(rollout.graph.groups) + 1
        self._rollout = rollout
        self._first_frames = first_frames(rollout)
        self._done: dict[str, int] = {}  # newest image that a group has worked through
        self._tellers = who_tells(rollout)
        self._slowest = 0  # the least of these: no group is further behind
        self._newest: int | None = None
        self._first_image = 0

    def go_on(self, frame: int | None) -> None:
        """Count on from a run that had worked through all images up to ``frame``; None: anew."""
        self._done, self._newest, self._first_image = {}, None, 0
        if frame is not None:
            self.fed(frame)
            self._done = dict.fromkeys(self._done, frame)
            self._slowest = frame
            self._first_image = frame + 1

    def may_feed(self, frame: int) -> bool:
        """True if the image of ``frame`` fits into the window."""
        return not self._done or frame - self._slowest <= self.size

    def fed(self, frame: int) -> None:
        """The image of ``frame`` has been fed."""
        if self._newest is None:
            self._done = dict.fromkeys(self._rollout.graph.groups, frame - 1)
            self._slowest = frame - 1
            self._first_image = frame
        self._newest = frame

    def finished(self, group: str, frame: int) -> bool:
        """``group`` has finished ``frame``; unknown groups and old news are ignored.

        Those that need not tell every frame may tell of one now and then.

        Returns:
            True if this has moved the window: the slowest group is further than before.
        """
        before = self._done.get(group)
        image = frame - self._first_frames.get(group, 0)
        if before is None or image <= before:
            return False
        self._done[group] = image
        if before > self._slowest or group not in self._tellers:
            return False
        slowest = min(self._done[teller] for teller in self._tellers)
        has_moved, self._slowest = slowest > self._slowest, slowest
        return has_moved

    def has_begun(self, group: str) -> bool:
        """True once a group has worked through an image of this run."""
        return group in self._done and self._done[group] >= self._first_image

    @property
    def is_drained(self) -> bool:
        """True if every group has worked through every image that was fed."""
        return self._newest is None or self._slowest >= self._newest

    def stalled(self) -> dict[str, int]:
        """The groups that have all inputs of their next frame and have not finished it: the frame.

        While a run goes well these are the groups that compute; in a run that stands still they
        are the ones that died or hang, and the others wait for them.
        """
        if self._newest is None:
            return {}
        finished = self._finished(self._newest)
        return {
            group: finished[group] + 1
            for group in self._done
            if all(
                finished[source] >= finished[group] + 1 - delay
                for source, delay in self._rollout.delays_into(group).items()
            )
        }

    def _finished(self, newest: int) -> dict[str, int]:
        """The newest frame of every node that is known to be there: told, or heard by others."""
        first = self._first_frames
        finished = {n: self._done.get(n, newest) + first[n] for n in self._rollout.graph.nodes}
        for _ in self._done:  # news go at most once through all groups
            for edge in self._rollout.graph.edges:
                heard = finished[edge.target] - self._rollout.delay(edge.source, edge.target)
                finished[edge.source] = max(finished[edge.source], heard)
        return finished
