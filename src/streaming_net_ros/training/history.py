"""What a training tells while it goes on, and what is left of it at the end.

Values only. Imported by ``trainer``, and by whoever shows or stores a training's progress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """What a step did.

    Attributes:
        number: from 1.
        losses: by learner; those that have one.
        changes: by learner that updated: the norm of its gradient or change.
        learning_rates: by learner.
    """

    number: int
    losses: Mapping[str, float]
    changes: Mapping[str, float]
    learning_rates: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The sum of the learners' losses."""
        return sum(self.losses.values())


@dataclass(frozen=True)
class Validation:
    """How right a network was on sequences that it did not learn from.

    Attributes:
        step: updates of the weights so far.
        errors: by objective, (responses, columns): mean absolute error, or share of wrong
            classes, by frames since the first response.
        columns: by objective, what its columns are.
        score: what is smallest for the best weights: mean over responses and (scaled) columns.
    """

    step: int
    errors: Mapping[str, NDArray[np.float32]]
    columns: Mapping[str, tuple[str, ...]]
    score: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        return {
            "step": self.step,
            "errors": {name: errors.tolist() for name, errors in self.errors.items()},
            "columns": {name: list(columns) for name, columns in self.columns.items()},
            "score": self.score,
        }

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> Validation:
        """What ``to_json`` gave."""
        return cls(
            words["step"],
            {name: np.array(errors, np.float32) for name, errors in words["errors"].items()},
            {name: tuple(columns) for name, columns in words["columns"].items()},
            words["score"],
        )

    def __str__(self) -> str:
        told = [
            f"{name.rpartition('/')[2]} {column} {errors[0, k]:.3f} at the first response, "
            f"{errors[-1, k]:.3f} after {len(errors)}"
            for name, errors in self.errors.items()
            for k, column in enumerate(self.columns[name])
        ]
        return f"step {self.step}: {'; '.join(told)}"


@dataclass(frozen=True)
class TrainingHistory:
    """What happened.

    Attributes:
        losses: of every step.
        validations: in order; none without validation sequences.
        best_step: the step whose weights the network was left with.
        was_interrupted: whether somebody asked it to stop.
        stopped_early: whether patience ended it.
        seconds: that it took, what was done before a resume included.
    """

    losses: tuple[float, ...]
    validations: tuple[Validation, ...]
    best_step: int
    was_interrupted: bool = False
    stopped_early: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Watching:
    """Who is told what, and who may stop a training.

    Attributes:
        on_step: called after each step.
        on_validation: called after each validation.
        should_stop: asked after each step.
        on_begin: called first, with the number of steps that an earlier training has done.
    """

    on_step: Callable[[Step], None] = lambda step: None
    on_validation: Callable[[Validation], None] = lambda validation: None
    should_stop: Callable[[], bool] = lambda: False
    on_begin: Callable[[int], None] = lambda steps: None
