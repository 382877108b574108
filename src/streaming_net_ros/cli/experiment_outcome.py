"""What the runs of an experiment have found together: numbers, a table, and who draws them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_net_ros.cli.machine import machine

if TYPE_CHECKING:
    from streaming_net_ros.training.experiment import ExperimentSpec, Protocol
    from streaming_net_ros.training.experiment_run import RunResult


@dataclass(frozen=True)
class Outcome:
    """What the runs of an experiment have found together."""

    spec: ExperimentSpec
    protocol: Protocol
    device: str
    runs: Sequence[RunResult]

    @property
    def by_variant(self) -> dict[str, list[RunResult]]:
        """The runs of each variant, in the file's order."""
        return {
            name: [run for run in self.runs if run.variant == name]
            for name in self.spec.variants
            if any(run.variant == name for run in self.runs)
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Per variant the numbers of the table: means over seeds, and standard deviations."""
        import numpy as np

        for name, runs in self.by_variant.items():
            accuracy = np.array([run.accuracy for run in runs])
            hold = np.array([run.hold_mean for run in runs])
            spare = min(1, len(runs) - 1)  # of one seed there is no deviation
            at = [run.step_at(self.spec.target_accuracy) for run in runs]
            yield {
                "variant": name,
                "seeds": len(runs),
                "steps": runs[0].steps,
                "accuracy": accuracy.mean(0).round(4).tolist(),
                "accuracy_deviation": accuracy.std(0, ddof=min(1, len(runs) - 1))
                .round(4)
                .tolist(),
                "hold_mean": round(float(hold.mean()), 4),
                "hold_mean_deviation": round(float(hold.std(ddof=spare)), 4),
                "switched": np.array([run.switched for run in runs]).mean(0).round(4).tolist(),
                "steps_to_target": None if None in at else float(np.mean([a for a in at if a])),
                "training_s": round(float(np.mean([run.seconds for run in runs])), 1),
                "published": dict(self.spec.variants[name].published),
            }

    def table(self) -> str:
        """The outcome as a Markdown table."""
        target = f"steps to {self.spec.target_accuracy:.0%}"
        head = ["variant", "first response", "last response",
                f"hold mean (U 1-{self.spec.horizon_steps})", target, "published"]  # fmt: skip
        lines = [head, ["---"] * len(head)]
        for row in self.rows():
            published = [f"U{step} {value:.3f}" for step, value in row["published"].items()]
            lines.append(
                [
                    f"{row['variant']} ({row['seeds']} seeds)",
                    *(
                        f"{row['accuracy'][k]:.3f} ± {row['accuracy_deviation'][k]:.3f} "
                        f"(U{row['steps'][k]})"
                        for k in (0, -1)
                    ),
                    f"{row['hold_mean']:.3f} ± {row['hold_mean_deviation']:.3f}",
                    "never" if row["steps_to_target"] is None else f"{row['steps_to_target']:.1f}",
                    ", ".join(published[:4]) or "-",
                ]
            )
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        return {
            "experiment": self.spec.name,
            "protocol": in_words(self.protocol),
            "machine": machine(self.device),
            "horizon_steps": self.spec.horizon_steps,
            "target_accuracy": self.spec.target_accuracy,
            "variants": list(self.rows()),
        }

    def write(self, folder: Path) -> None:
        """JSON, table and pictures."""
        from streaming_net_ros.cli.experiment_picture import (
            draw_accuracy,
            draw_confusion,
            draw_switch,
        )

        (folder / "experiment.json").write_text(json.dumps(self.to_json(), indent=2) + "\n")
        (folder / "table.md").write_text(self.table() + "\n")
        draw_accuracy(self, folder / "accuracy.png")
        draw_confusion(self, folder / "confusion.png")
        if self.spec.switch_step is not None:
            draw_switch(self, folder / "switch.png")


def in_words(protocol: Protocol) -> dict[str, Any]:
    """A protocol as JSON has it."""
    words = asdict(protocol) | {"data": protocol.data.model_dump()}
    return {key: json.loads(json.dumps(value, default=str)) for key, value in words.items()}
