"""Learning while it drives: what does a driver give back who teaches for some seconds?

    python benchmarks/learning.py [--tracks 5] [--teach-s 20] [--cameras turned dark ...]

The pilot drives tracks that it was not trained on, with a camera that is not as it was in
training. For some seconds a driver takes over, and the group ``steer`` learns from the driver's
commands (``config/networks/pilot_taught.yaml``); then the network drives again, and learns no
more. Beside it: the same without learning, with the camera as in training, and two rules that need
no driver, from the first frame to the last. Everything happens in virtual time, in lockstep's
offline rollout, so that any machine drives the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import Report, arguments, finish, told
from torch import Tensor

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.network import (
    NetworkSpec,
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    learners_of,
    load_weights,
    parse_network,
    read_network_file,
    read_yaml,
)
from streaming_net_ros.paths import find_network
from streaming_net_ros.simulation import Camera, Car, Command, Simulation, World
from streaming_net_ros.wire import fit_image

RATE_HZ = 20
STEPS = 5  # of the car in a frame
PUSH, PUSH_HZ = 0.35, 0.4  # on the driver's steering: who never leaves the middle cannot teach
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """How a camera differs from the one of the training."""

    text: str
    turned_deg: float = 0.0
    look: Callable[[Picture], Picture] = staticmethod(lambda picture: picture)  # noqa: RUF009


def _scaled(factor: float) -> Callable[[Picture], Picture]:
    return lambda picture: np.clip(factor * picture.astype(np.float32), 0, 255).astype(np.uint8)


AS_TRAINED = "as trained"
CAMERAS = {
    AS_TRAINED: Seen("the camera of the training"),
    "turned": Seen("turned 12° to the left", turned_deg=12.0),
    "dark": Seen("a third of the light", look=_scaled(0.35)),
    "bright": Seen("overexposed, 2.2 times", look=_scaled(2.2)),
    "swapped": Seen("red and blue swapped", look=lambda picture: picture[:, :, ::-1]),
    "mirrored": Seen("left and right swapped", look=lambda picture: picture[:, ::-1]),
}
OFF, TAUGHT = "off", "driver"
WITHOUT_DRIVER: Mapping[str, Mapping[str, Any]] = {
    "oja": {"steer": {"rule": "oja", "edge": "road", "rate": 1e-3, "limit": 0.5}},
    "reconstruction": {
        "stem": {
            "rule": "local", "target": "image", "optimizer": "adam", "rate": 1e-3,
            "readout": [{"ConvTranspose2d": {"out_channels": 3, "kernel_size": 4, "stride": 4}}],
        }
    },
}  # fmt: skip


class TurnedSimulation(Simulation):
    """A car whose camera is turned on its mount."""

    turned_rad = 0.0

    def _poses_in_exposure(self) -> list[tuple[float, float, float]]:
        ahead_m, turned = self.camera.ahead_m, self.turned_rad
        return [  # the camera stays where it is: only its yaw differs
            (
                x_m + ahead_m * (math.cos(yaw) - math.cos(yaw + turned)),
                y_m + ahead_m * (math.sin(yaw) - math.sin(yaw + turned)),
                yaw + turned,
            )
            for x_m, y_m, yaw in super()._poses_in_exposure()
        ]


@dataclass(frozen=True)
class Plan:
    """The three parts of a drive, in seconds, and its speed."""

    before_s: float = 15.0
    teach_s: float = 20.0
    after_s: float = 40.0
    speed_mps: float = 1.5

    @property
    def frames(self) -> int:
        """Of the whole drive."""
        return round((self.before_s + self.teach_s + self.after_s) * RATE_HZ)

    def part(self, frame: int) -> str:
        """``before``, ``teach`` or ``after``."""
        time_s = frame / RATE_HZ
        if time_s < self.before_s:
            return "before"
        return "teach" if time_s < self.before_s + self.teach_s else "after"


@dataclass
class Trace:
    """What a drive was: by frame."""

    error: list[float] = field(default_factory=list)  # of the answer, against the expert's
    aside_m: list[float] = field(default_factory=list)  # NaN while somebody else drives
    left: list[bool] = field(default_factory=list)  # the track
    change: float = 0.0
    updates: int = 0


def spec_of(rule: str) -> NetworkSpec:
    """The pilot with a way to learn."""
    path = find_network("pilot_taught")
    if rule not in WITHOUT_DRIVER:
        return read_network_file(path)
    content = {**read_yaml(path), "learning": WITHOUT_DRIVER[rule]}
    del content["inputs"]["teleop"]  # nobody hears it
    return parse_network(content, path)


class Drive:
    """One drive under way: the simulator, and the network in lockstep."""

    def __init__(self, seed: int, camera: str, rule: str, plan: Plan) -> None:
        self._plan, self._rule, self._seen = plan, rule, CAMERAS[camera]
        self._spec = spec_of(rule)
        network = StreamingNetwork(self._spec).eval()
        assert self._spec.weights_path is not None
        load_weights(network, self._spec.weights_path)
        self._learners = learners_of(network)
        self._rollout = OfflineRollout(network, self._learners)
        car = replace(Car(), max_speed_mps=max(Car().max_speed_mps, plan.speed_mps))
        self._simulation = TurnedSimulation(World.from_seed(seed), car=car, camera=Camera())
        self._simulation.turned_rad = math.radians(self._seen.turned_deg)
        self._simulation.place_car(0.0, speed_mps=plan.speed_mps)
        self._helped_until = RATE_HZ  # the expert drives for a second at the start

    def run(self) -> Trace:
        """Drive to the end."""
        trace, (learner,) = Trace(), self._learners.values()
        for frame in range(self._plan.frames):
            self._switch(frame)
            expert = self._simulation.expert_command()
            steering = self._answer(frame, expert)
            trace.error.append(abs(steering - expert.steering))
            self._advance(frame, steering, expert, trace)
        trace.change, trace.updates = learner.change, learner.updates
        return trace

    def _switch(self, frame: int) -> None:
        """Who needs a driver learns while there is one, the others all the time."""
        for learner in self._learners.values():
            is_wanted = self._rule in WITHOUT_DRIVER or (
                self._rule == TAUGHT and self._plan.part(frame) == "teach"
            )
            if is_wanted != learner.is_on:
                learner.begin() if is_wanted else learner.end()

    def _answer(self, frame: int, expert: Command) -> float:
        """The newest response, which this image has just influenced."""
        image = self._spec.inputs["image"]
        _, height, width = image.shape
        seen = np.ascontiguousarray(self._seen.look(self._simulation.observe()))
        picture = torch.from_numpy(fit_image(seen, width, height).copy()).permute(2, 0, 1)[None]
        inputs: dict[str, Tensor] = {"image": picture}
        if "teleop" in self._spec.inputs:
            inputs["teleop"] = torch.tensor([[expert.steering, expert.throttle]])
        answer = 0.0
        for done in self._rollout.feed(
            frame, {n: StampedState(t, frame) for n, t in inputs.items()}
        ):
            if done.group == "steer":
                answer = float(done.state.batch[0, 0].clamp(-1, 1))
        return answer

    def _advance(self, frame: int, steering: float, expert: Command, trace: Trace) -> None:
        is_taught = self._plan.part(frame) == "teach"
        if is_taught:
            push = PUSH * math.sin(2 * math.pi * PUSH_HZ * frame / RATE_HZ)
            steering = min(1.0, max(-1.0, expert.steering + push))
        elif frame < self._helped_until:
            steering = expert.steering
        simulation = self._simulation
        command = Command(steering, self._plan.speed_mps / simulation.car.max_speed_mps)
        for _ in range(STEPS):
            simulation.advance(command, 1 / RATE_HZ / STEPS)
        is_own = not is_taught and frame >= self._helped_until
        trace.aside_m.append(abs(simulation.lateral_m) if is_own else math.nan)
        trace.left.append(simulation.is_off_track and not is_taught)
        if simulation.is_off_track:
            place = simulation.place
            simulation.place_car(place.arc_length_m, speed_mps=self._plan.speed_mps)
            self._helped_until = frame + RATE_HZ


def figures(traces: list[Trace], plan: Plan) -> dict[str, float]:
    """Of the last part of all drives; the expert's help is in none of them."""
    first = round((plan.before_s + plan.teach_s) * RATE_HZ)
    aside = np.array([trace.aside_m[first:] for trace in traces])
    return {
        "aside_cm": 100 * float(np.nanmean(aside)),
        "error": float(np.mean([trace.error[first:] for trace in traces])),
        "left_per_minute": float(
            np.mean([sum(trace.left[first:]) for trace in traces]) / plan.after_s * 60
        ),
        "change": float(np.mean([trace.change for trace in traces])),
        "updates": int(np.mean([trace.updates for trace in traces])),
    }


def recovered(told: Mapping[str, float], off: Mapping[str, float], best: Mapping[str, float],
              key: str) -> float | None:  # fmt: skip
    """The share of what the camera cost that came back, in percent."""
    lost = off[key] - best[key]
    return 100 * (off[key] - told[key]) / lost if lost > 0.05 * abs(best[key]) else None


def main() -> None:
    parser = arguments(__doc__)
    cameras = [name for name in CAMERAS if name != AS_TRAINED]
    parser.add_argument("--tracks", type=int, default=5)
    parser.add_argument("--first-track", type=int, default=9001)
    parser.add_argument("--teach-s", type=float, default=Plan.teach_s)
    parser.add_argument("--after-s", type=float, default=Plan.after_s)
    parser.add_argument("--cameras", nargs="+", choices=cameras, default=cameras)
    parser.add_argument("--rules", nargs="*", choices=list(WITHOUT_DRIVER),
                        default=list(WITHOUT_DRIVER))  # fmt: skip
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = Plan(teach_s=given.teach_s, after_s=given.after_s)
    rules = (OFF, TAUGHT, *given.rules)
    pairs = [(AS_TRAINED, OFF), *((camera, rule) for camera in given.cameras for rule in rules)]
    seeds = [given.first_track + k for k in range(given.tracks)]
    traces: dict[tuple[str, str], list[Trace]] = {}
    with progress_bar("driving", "drives") as advance:
        for number, (camera, rule) in enumerate(pairs):
            for k, seed in enumerate(seeds):
                done = number * len(seeds) + k
                advance(done, len(pairs) * len(seeds), f"{camera}, {rule}, track {seed}")
                traces.setdefault((camera, rule), []).append(Drive(seed, camera, rule, plan).run())
    finish(report_of(traces, plan, seeds), given, draw)


def report_of(
    traces: Mapping[tuple[str, str], list[Trace]], plan: Plan, seeds: list[int]
) -> Report:
    found = {pair: figures(some, plan) for pair, some in traces.items()}
    best = found[AS_TRAINED, OFF]
    rows = []
    for (camera, rule), one in found.items():
        off = found[camera, OFF]
        shares = {
            f"{name}_back_percent": None if rule == OFF else recovered(one, off, best, key)
            for name, key in (("aside", "aside_cm"), ("error", "error"))
        }
        rows.append({"camera": camera, "learning": rule, **one, **shares})
    notes = (
        f"tracks {seeds[0]} to {seeds[-1]} at {plan.speed_mps:g} m/s; the last {plan.after_s:g} s "
        f"of {plan.frames / RATE_HZ:g} s, after a driver for {plan.teach_s:g} s",
        "aside: mean distance from the centre line; error: of the steering, -1 to 1, against the "
        "simulator's expert; left: the track; back: share of what the camera cost",
    )
    curves = {
        f"{camera}/{rule}": np.mean([trace.error for trace in some], axis=0).round(4).tolist()
        for (camera, rule), some in traces.items()
    }
    details = {"error": curves, "plan": vars(plan)}
    question = "What does a driver give back who teaches the group 'steer' for some seconds?"
    return Report("learning", question, rows, notes, details)


def draw(report: Report) -> Any:
    """The error of the steering over time, a panel for each camera; and how far aside."""
    from picture import legend_above, new_figure

    cameras = list(dict.fromkeys(row["camera"] for row in report.rows))[1:]
    figure = new_figure("A changed camera, and a driver who teaches while it streams",
                        told(report.machine), 2.6 * len(cameras) + 0.8, 5.2)  # fmt: skip
    axes = figure.subplots(2, len(cameras), squeeze=False,
                           gridspec_kw={"height_ratios": (1.6, 1)})  # fmt: skip
    for camera, (upper, lower) in zip(cameras, axes.T, strict=True):
        upper.set_title(CAMERAS[camera].text, fontsize=9)
        _draw_curves(upper, report, camera)
        _draw_bars(lower, report, camera)
    axes[0, 0].set_ylabel("error of the steering\n(mean of 5 s and all tracks)")
    axes[1, 0].set_ylabel("afterwards, alone: aside\n(cm); times off the track")
    legend_above(figure, axes[0, 0])
    return figure


def _kinds(camera: str) -> list[tuple[str, tuple[str, str], str]]:
    """What is drawn: its name, its rows, its colour."""
    from picture import COMPOSED, INK, NAIVE

    return [("camera as trained", (AS_TRAINED, OFF), INK),
            ("changed, no learning", (camera, OFF), NAIVE),
            ("changed, taught", (camera, TAUGHT), COMPOSED)]  # fmt: skip


def _draw_curves(axes: Any, report: Report, camera: str) -> None:
    from picture import FAINT

    plan = Plan(**report.details["plan"])
    axes.axvspan(plan.before_s, plan.before_s + plan.teach_s, color="#FFF3C4", lw=0)
    axes.text(plan.before_s + plan.teach_s / 2, 0.985, "driver", ha="center", va="top",
              fontsize=8, color="#7A6100", transform=axes.get_xaxis_transform())  # fmt: skip
    for label, pair, colour in _kinds(camera):
        error = _smooth(report.details["error"]["/".join(pair)])
        axes.plot(np.arange(len(error)) / RATE_HZ, error, color=colour, label=label, lw=1.5)
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="time (s)", xlim=(0, plan.frames / RATE_HZ))
    axes.grid(color=FAINT, lw=0.6)


def _draw_bars(axes: Any, report: Report, camera: str) -> None:
    rows = {(row["camera"], row["learning"]): row for row in report.rows}
    for place, (_, pair, colour) in enumerate(_kinds(camera)):
        aside_cm, left = rows[pair]["aside_cm"], rows[pair]["left_per_minute"]
        bars = axes.bar(place, aside_cm, 0.72, color=colour)
        text = f"{aside_cm:.1f}" + (f"\noff {left:.1f}/min" if left else "")
        axes.bar_label(bars, [text], fontsize=7.5, padding=2)
    axes.set_xticks([])
    axes.margins(y=0.32)


def _smooth(values: list[float]) -> NDArray[np.float64]:
    """The mean of the last five seconds, of as many as there are."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(total))
    first = np.maximum(0, last - 5 * RATE_HZ)
    return np.asarray((total[last] - total[first]) / (last - first))


if __name__ == "__main__":
    main()
