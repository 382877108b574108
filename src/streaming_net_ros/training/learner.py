"""What the trainer asks of whoever updates weights. Imported by the learners and the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from streaming_net_ros.training.objectives import Piece
from streaming_net_ros.training.plan import LearnerSpec


class Learner(ABC):
    """Whoever updates weights.

    Attributes:
        name: for messages and metrics.
        every: steps from one update to the next.
    """

    def __init__(self, spec: LearnerSpec) -> None:
        self.name = spec.name
        self.every = spec.every

    def hear(self, nodes: Mapping[str, Tensor | None]) -> None:
        """The network has lived a frame of a training: every node's state in it."""
        return

    def follow(self, piece: Piece, share: float, *, keep_graph: bool) -> float | None:
        """Take in a piece, its share of the next update.

        Args:
            piece: what the network has lived.
            share: of this piece in the update.
            keep_graph: other learners will follow gradients through the same piece.

        Returns:
            The loss, if there is one; a loss that is no number leaves no trace.
        """
        return None

    @abstractmethod
    def update(self) -> float:
        """Change the weights by what was taken in since the last update.

        Returns:
            The size of what drove it: the norm of the gradient (before it was clipped) or of the
            change. If that is no number, nothing was changed.
        """

    @property
    def waits_for_score(self) -> bool:
        """Whether it does nothing without ``judge``."""
        return False

    def judge(self, score: float) -> None:
        """A validation has this score (smaller is better)."""
        return

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next update depends on: tensors, and plain values."""

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
