"""A training's metrics as JSON lines: one object per step and per validation.

A training that is resumed goes on in the same file; what came after its checkpoint is dropped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from streaming_net_ros.errors import ParameterError

if TYPE_CHECKING:
    from streaming_net_ros.training import Step, Validation


class TrainingLog:
    """Writes the lines.

    Args:
        path: the file, ``*.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._began_s = time.perf_counter()

    def begin(self, steps_done: int) -> None:
        """The training begins, or goes on after so many steps.

        Raises:
            ParameterError: the file cannot be written.
        """
        try:
            kept = [line for line in self._lines() if steps_done and _step(line) <= steps_done]
            self._file = self._path.open("w", encoding="utf-8")
            self._file.writelines(kept)
        except OSError as error:
            raise ParameterError(
                f"cannot write the metrics ({error.strerror})", where=str(self._path)
            ) from None

    def step(self, step: Step) -> None:
        """Tell of a step."""
        self._write(
            {
                "step": step.number,
                "loss": step.losses,
                "norm": step.changes,
                "learning_rate": step.learning_rates,
                "seconds": round(time.perf_counter() - self._began_s, 3),
            }
        )

    def validation(self, validation: Validation) -> None:
        """Tell of a validation."""
        self._write({"validation": validation.to_json(), "step": validation.step})

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _lines(self) -> list[str]:
        if not self._path.is_file():
            return []
        return self._path.read_text(encoding="utf-8").splitlines(keepends=True)

    def _write(self, words: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(words) + "\n")
            self._file.flush()


def _step(line: str) -> float:
    """The step that a line is about; a line that was cut off is about none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
