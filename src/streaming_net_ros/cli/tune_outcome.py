"""What ``streaming-net tune`` has measured: the choice, as a file's content, a table and JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    import torch

    from streaming_net_ros.network import NetworkSpec
    from streaming_net_ros.network.measuring import GroupFigures, Way


@dataclass(frozen=True)
class Outcome:
    """What was measured, and what follows from it.

    Attributes:
        measured: a group each.
        chosen: the way of each group.
        cores: of each group; empty if none are given.
        loads_ms: of each core, per frame.
        device: that it was measured on.
    """

    measured: Sequence[GroupFigures]
    chosen: Mapping[str, Way]
    cores: Mapping[str, tuple[int, ...]]
    loads_ms: Mapping[int, float]
    device: torch.device

    @classmethod
    def of(
        cls,
        measured: Sequence[GroupFigures],
        tolerance: float,
        cores: Sequence[int],
        device: torch.device,
    ) -> Outcome:
        """Choose, and give out cores."""
        from streaming_net_ros.network.measuring import assign_cores

        chosen = {group.name: group.chosen(tolerance) for group in measured}
        if not cores:
            return cls(measured, chosen, {}, {}, device)
        costs = {g.name: _cost(g, chosen[g.name]) for g in measured}
        return cls(measured, chosen, *assign_cores(costs, cores), device)

    def tuning(self, spec: NetworkSpec, tolerance: float) -> Any:
        """The tuning file's content."""
        from streaming_net_ros.network.measuring import PLAIN
        from streaming_net_ros.network.tuning import GroupTuning, Tuning, this_machine

        groups = {}
        for group in self.measured:
            way = self.chosen[group.name]
            groups[group.name] = GroupTuning(
                backend=way.backend,
                torch_threads=way.torch_threads,
                cores=self.cores.get(group.name),
                eager_ms=round(group.by_way[PLAIN].median_ms, 4),
                chosen_ms=round(group.by_way[way].median_ms, 4),
                deviation=float(f"{group.by_way[way].deviation:.3g}"),
            )
        return Tuning(
            network=spec.name,
            machine=this_machine(self.device),
            device="cuda" if self.device.type == "cuda" else "cpu",
            tolerance=tolerance,
            groups=groups,
        )

    def bounds_hz(self) -> tuple[float, float]:
        """Frames per second that no run can exceed: eagerly, and as chosen."""
        from streaming_net_ros.network.measuring import PLAIN, bound_hz

        available = len(self.loads_ms) or len(available_cores())
        if self.device.type == "cuda":
            available = len(self.measured)  # nobody knows how much of a GPU a group leaves free
        before = {group.name: _cost(group, PLAIN) for group in self.measured}
        after = {group.name: _cost(group, self.chosen[group.name]) for group in self.measured}
        return bound_hz(before, available), bound_hz(after, available)

    @property
    def bound_formula(self) -> str:
        """Of these bounds, in words."""
        if self.device.type == "cuda":
            return "1 / slowest group, if the GPU has room for all groups at once"
        return "min(1 / slowest group, cores / sum)"

    def machine_line(self) -> str:
        """The machine that it was measured on."""
        from streaming_net_ros.network.tuning import this_machine

        here = this_machine(self.device)
        gpu = f"{here.gpu}, " if here.gpu else ""
        return f"{gpu}{here.cores} cores of {here.processor}, torch {here.torch}"

    def table(self, title: str) -> Table:
        """A row for each group, a column for each way."""
        from streaming_net_ros.network.measuring import PLAIN

        columns = list(dict.fromkeys(way for group in self.measured for way in group.by_way))
        caption = "median ms per frame; * chosen"
        if any(f.is_in_the_way for group in self.measured for f in group.by_way.values()):
            caption += "; ! keeps other groups of its process waiting"
        table = Table(title=title, caption=caption, box=SIMPLE_HEAD, collapse_padding=True)
        table.add_column("group")
        for name in (*map(str, columns), "gain", "off by", *(["cores"] if self.cores else [])):
            table.add_column(name, justify="right")
        for group in self.measured:
            chosen = self.chosen[group.name]
            figures = [(way, group.by_way.get(way)) for way in columns]
            cells = [
                "-" if f is None
                else f"{f.median_ms:.3f}"
                + ("*" if way == chosen else "!" if f.is_in_the_way else " ")
                for way, f in figures
            ]  # fmt: skip
            gain = group.by_way[PLAIN].median_ms / group.by_way[chosen].median_ms
            told = [f"{gain:.2f}", f"{group.by_way[chosen].deviation:.0e}"]
            if self.cores:
                told.append(",".join(map(str, self.cores[group.name])))
            table.add_row(group.name, *cells, *told)
        return table

    def failures(self) -> list[str]:
        """Ways that a group cannot be computed in, and why."""
        return [f"{g.name}: {w}: {why}" for g in self.measured for w, why in g.failures.items()]

    def load_lines(self, rate_hz: float) -> list[str]:
        """What each core will have to do."""
        return [
            f"core {core}: {load_ms:.2f} ms per frame, {load_ms * rate_hz / 10:.1f} % at "
            f"{rate_hz:g} Hz: "
            + (", ".join(name for name, own in self.cores.items() if core in own) or "nothing")
            for core, load_ms in self.loads_ms.items()
        ]

    def to_json(self, missing: Sequence[str]) -> dict[str, Any]:
        """All figures, as plain mappings."""
        before, after = self.bounds_hz()
        groups = {
            group.name: {
                "ways": {
                    str(way): {
                        "median_ms": f.median_ms,
                        "deviation": f.deviation,
                        "is_in_the_way": f.is_in_the_way,
                    }
                    for way, f in group.by_way.items()
                },
                "chosen": str(self.chosen[group.name]),
                "cores": list(self.cores.get(group.name, ())),
            }
            for group in self.measured
        }
        return {
            "machine": self.machine_line(), "groups": groups, "loads_ms": dict(self.loads_ms),
            "bound_hz": {"eager": before, "chosen": after},
            "left_out": [*missing, *self.failures()],
        }  # fmt: skip


def available_cores() -> list[int]:
    """CPU numbers that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def _cost(group: GroupFigures, way: Way) -> tuple[float, int]:
    return group.by_way[way].median_ms, way.torch_threads
