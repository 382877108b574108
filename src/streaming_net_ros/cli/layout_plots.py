"""What is plotted of a running network, and with what beside it: the same for every program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streaming_net_ros.network.measured import measured_names

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec, OutputSpec

DIAGNOSTICS = "/diagnostics"
_LOST = ("held_frames", "late_states", "skipped_frames")
_NUMBER = ("vector", "x")  # where a message under debug/ has its number


@dataclass(frozen=True)
class Curve:
    """One number of a topic over time.

    Attributes:
        topic: absolute name.
        field: path of the number in the message.
        label: for the legend.
    """

    topic: str
    field: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Plot:
    """Curves of one unit over one time axis.

    Attributes:
        key: unique among all plots.
        title: with the unit.
        curves: at least one.
        lines: values to compare the curves with, and what they are.
        limits: least and greatest value, where they are known.
    """

    key: str
    title: str
    curves: tuple[Curve, ...]
    lines: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Page:
    """Plots that are looked at together."""

    title: str
    plots: tuple[Plot, ...]


def pages_of(spec: NetworkSpec, namespace: str) -> tuple[Page, ...]:
    """The plots of a network: what leaves it, and how it comes about.

    Args:
        spec: the network.
        namespace: where it runs, absolute; empty is the root.
    """
    ages = [
        (output.max_age_ms, f"max_age_ms of {name}")
        for name, output in spec.outputs.items()
        if output.max_age_ms is not None
    ]
    period = (round(1e3 / spec.rate_hz, 3), f"period at {spec.rate_hz:g} Hz")
    told = _Told(spec, namespace)
    responses = [
        *(_response(name, output, namespace) for name, output in spec.outputs.items()
          if output.publish == "twist"),
        told.plot("latency", "latency since capture (ms)", ("early_ms", "full_ms"), ages),
        told.plot("held", "share of held paths (0 to 1)", ("held",), limits=(0.0, 1.0)),
    ]  # fmt: skip
    groups = [
        told.plot("work", "work per group (ms)", ("work_ms",), [period]),
        told.plot("age", "age of inputs when a frame begins (ms)", ("age_ms",)),
        told.plot("wait", "wait of inputs for their frame (ms)", ("wait_ms",)),
        told.plot("hop", "hop between processes (ms)", ("hop_ms",)),
        told.plot("lost", "held, late and skipped so far (frames)", _LOST),
    ]
    pages = Page("responses", tuple(responses)), Page("groups and edges", tuple(groups))
    return tuple(Page(p.title, tuple(plot for plot in p.plots if plot.curves)) for p in pages)


class _Told:
    """Makes plots of measured numbers."""

    def __init__(self, spec: NetworkSpec, namespace: str) -> None:
        self._names = measured_names(spec)
        self._namespace = namespace

    def plot(
        self,
        key: str,
        title: str,
        kinds: tuple[str, ...],
        lines: Iterable[tuple[float, str]] = (),
        limits: tuple[float, float] | None = None,
    ) -> Plot:
        curves = [
            Curve(
                f"{self._namespace}/debug/{name}",
                _NUMBER,
                number.of if len(kinds) == 1 else f"{number.of} {number.what.partition('_')[0]}",
            )
            for name, number in self._names.items()
            if number.what in kinds
        ]
        return Plot(key, title, tuple(curves), tuple(lines), limits)


def _response(name: str, output: OutputSpec, namespace: str) -> Plot:
    """A twist's fields over time."""
    curves = tuple(
        Curve(f"{namespace}/response/{name}", ("twist", *field.split(".")), field)
        for field in output.fields
    )
    units = {"linear": "m/s", "angular": "rad/s"}
    kinds = dict.fromkeys(field.partition(".")[0] for field in output.fields)
    told = ", ".join(f"{kind} in {units[kind]}" for kind in kinds)
    return Plot(f"response_{name}", f"response {name} ({told})", curves)
