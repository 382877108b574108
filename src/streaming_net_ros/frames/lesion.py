"""Lesions: a group, or an edge into it, that is held or silenced while the network runs.

What a group hears is changed between the firing rule and the group, so that offline, lockstep and
realtime lesion alike. Nobody waits less or longer for it: a state on a lesioned edge arrives as
before and is not used. Owned by a ``mailbox``; pure, like it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Literal, get_args

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames.running import Input, State

Lesion = Literal["none", "hold", "silence"]
LESIONS: tuple[Lesion, ...] = get_args(Lesion)
Keep = Callable[[str, Input[State]], Input[State] | None]  # (source, what was heard of it)


class Lesions(Generic[State]):
    """The lesions of one group. Not thread-safe: as its mailbox.

    - **silence**: the state does not exist. An edge contributes nothing, and a group whose
      edges all contribute nothing is silent itself (frame law).
    - **hold**: the last state from before the lesion stays. On an edge it counts as held, so that
      it is seen in ages and diagnostics; with nothing to hold, it is a silence.

    Args:
        group: whose.
        sources: whom it hears.
        keep: gives an input that may be kept, of one whose state may be lent only; None if that
            is not there any more.

    Attributes:
        group: the lesion of the group itself.
    """

    def __init__(
        self,
        group: str,
        sources: tuple[str, ...],
        keep: Keep[State] = lambda source, given: given,
    ) -> None:
        self._keep = keep
        self._is_kept = True  # what was heard last may be kept as it is
        self.group: Lesion = "none"
        self._name = group
        self._edges: dict[str, Lesion] = dict.fromkeys(sources, "none")
        self._lesioned: tuple[str, ...] = ()  # sources whose edge has a lesion
        self._heard: Mapping[str, Input[State]] = {}
        self._kept: dict[str, Input[State]] = {}

    def set(self, lesion: Lesion, source: str | None = None) -> None:
        """Give the edge of a source, or the group itself (None), another lesion.

        Raises:
            ParameterError: no such lesion, or no such source.
        """
        where = f"group {self._name}" if source is None else f"edge {source} -> {self._name}"
        if lesion not in LESIONS:
            raise ParameterError(
                "no such lesion", where=where, expected=f"one of {', '.join(LESIONS)}", got=lesion
            )
        if source is None:
            self.group = lesion
            return
        if source not in self._edges:
            raise ParameterError(
                "no such edge", where=where, expected=f"one of {list(self._edges)}", got=source
            )
        if lesion == "hold" and self._edges[source] != "hold":
            self.hears_nothing()
            if source in self._heard:
                self._kept[source] = self._heard[source]
        if lesion != "hold":
            self._kept.pop(source, None)
        self._edges[source] = lesion
        self._lesioned = tuple(name for name, other in self._edges.items() if other != "none")

    def told(self) -> dict[str | None, Lesion]:
        """The lesion of the group (None) and of every edge, by source."""
        edges: dict[str | None, Lesion] = {None: self.group}
        return edges | dict(self._edges.items())

    def remembered(self) -> tuple[Mapping[str, Input[State]], Mapping[str, Input[State]]]:
        """What was heard last, and what held edges hold, by source; to be put away."""
        return dict(self._heard), dict(self._kept)

    def remember(
        self, heard: Mapping[str, Input[State]], kept: Mapping[str, Input[State]]
    ) -> None:
        """Take up what was ``remembered``."""
        self._heard, self._kept, self._is_kept = heard, dict(kept), False

    def forget(self) -> None:
        """What was heard and held is of a time that is gone; lesions stay."""
        self._heard, self._kept = {}, {}

    def hears_nothing(self) -> None:
        """A frame that hears nothing, or a hold, begins: what was heard last is kept from now."""
        if not self._is_kept:
            kept = {source: self._keep(source, given) for source, given in self._heard.items()}
            self._heard = {source: given for source, given in kept.items() if given is not None}
            self._is_kept = True

    @property
    def is_any(self) -> bool:
        """Is anything lesioned?"""
        return self.group != "none" or bool(self._lesioned)

    def heard(self, inputs: dict[str, Input[State]]) -> dict[str, Input[State]]:
        """What the group hears of the inputs of a frame."""
        for source in self._lesioned:
            given, kept = inputs.get(source), self._kept.get(source)
            if kept is not None:
                inputs[source] = kept._replace(is_held=True)
            elif given is not None:
                inputs[source] = given._replace(state=None, is_held=False)
        self._heard, self._is_kept = inputs, False
        return inputs
