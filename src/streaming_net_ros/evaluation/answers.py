"""How right the answers of a classifier are while they come: accuracy over update steps.

Owns the measures by which rollouts are compared under one computing power. Time is counted in
update steps: a streaming rollout answers in every step from its first response on, a sequential
one every F-th step only. Between two answers the newest one holds; before the first there is
nothing but chance. Knows numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ParameterError


@dataclass(frozen=True)
class ClassAnswers:
    """Answers to many sequences side by side.

    Attributes:
        steps: (responses,) update step at which each response is there, rising.
        answers: (responses, sequences) class numbers.
        shown: (steps, sequences) class of what the world shows at update step 0, 1, 2, ...
        classes: how many classes there are.

    Raises:
        ParameterError: shapes that do not fit, or steps that do not rise.
    """

    steps: NDArray[np.int64]
    answers: NDArray[np.int64]
    shown: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if (
            not len(self.shown)
            or self.answers.ndim != 2
            or self.answers.shape != (len(self.steps), *self.shown.shape[1:])
        ):
            raise ParameterError(
                "shapes do not fit",
                expected="answers (responses, sequences), shown (steps, sequences)",
                got=(self.steps.shape, self.answers.shape, self.shown.shape),
            )
        if len(self.steps) == 0 or (np.diff(self.steps) <= 0).any():
            raise ParameterError("update steps must rise", got=self.steps.tolist())

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(responses,) share of right answers, against what is shown when they come.

        A world that ends before an answer comes is held.
        """
        at = np.minimum(self.steps, len(self.shown) - 1)
        right: NDArray[np.float64] = (self.answers == self.shown[at]).mean(axis=1)
        return right

    def hold_accuracy(self, horizon_steps: int) -> NDArray[np.float64]:
        """Share of right answers at update steps 1 to a horizon, the newest answer held.

        Against what the world shows at that very step; chance before the first answer.

        Args:
            horizon_steps: the last update step.
        """
        accuracies = np.full(horizon_steps, 1 / self.classes)
        for step in range(1, horizon_steps + 1):
            newest = int(np.searchsorted(self.steps, step, side="right")) - 1
            if newest >= 0:
                right = self.shown[min(step, len(self.shown) - 1)]
                accuracies[step - 1] = (self.answers[newest] == right).mean()
        return accuracies

    def confusion(self) -> NDArray[np.float64]:
        """(responses, classes, classes): share of class i's sequences that were called j."""
        at = np.minimum(self.steps, len(self.shown) - 1)
        counts = np.zeros((len(self.steps), self.classes, self.classes))
        for number, answers in enumerate(self.answers):
            np.add.at(counts[number], (self.shown[at[number]], answers), 1)
        totals = counts.sum(axis=2, keepdims=True)
        shares: NDArray[np.float64] = counts / np.maximum(totals, 1)
        return shares


def first_step_at(
    steps: NDArray[np.int64], accuracy: NDArray[np.float64], target: float
) -> int | None:
    """The update step of the first response that is at least as right as the target."""
    reached = np.flatnonzero(accuracy >= target)
    return int(steps[reached[0]]) if len(reached) else None
