"""A network drives the simulated car in virtual time: its answers move the car that it looks from.

Owns the loop: camera ticks, the moment at which a command counts, leaving the track, the end.
Computing takes the stated times of a ``Timed`` network, so any machine gives the same drive,
faster than real time. Imports ``network`` and ``simulation``. What a drive is worth is told by
``score``; how fast a network can go by ``speeds``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import torch
from torch import Tensor

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.driving.score import DriveScore, DriveTrace, TraceRecorder
from streaming_net_ros.network import ImageInput, NetworkSpec, Timed, TimedAnswer
from streaming_net_ros.simulation import Car, Command, Simulation, World
from streaming_net_ros.wire import decode_camera, fit_image, write_rgb8

STEP_NS = 10_000_000  # the car's longest step, and the distance of a trace's samples
_FIRST_TICK = 100  # no capture time is 0, which would read as "no stamp"
_STEERS = "angular.z"


@dataclass(frozen=True)
class DriveTask:
    """What is to be driven.

    The run-in is the expert's: meanwhile the network sees and answers, but its answers are not
    used. So it takes over a car that is in its lane, with its memory and its groups filled.
    Nothing of a run-in is counted.

    Attributes:
        speed_mps: of the car; with the network's own throttle, at full throttle.
        holds_speed: the speed is held whatever the curve, and the network only steers; False: it
            drives with its own throttle (``linear.x``).
        laps: end after so many rounds of the track.
        seconds: end after so much time at the latest.
        rate_hz: of the camera.
        run_in_s: how long the expert drives at the start, and after the car was put back.
        ends_off_track: leaving the track ends the drive; else the car is put back there, on the
            centre line.
        car: its measures, but for the largest speed.

    Raises:
        ParameterError: a value out of its range.
    """

    speed_mps: float = 1.5
    holds_speed: bool = True
    laps: float = 1.0
    seconds: float = 120.0
    rate_hz: float = 20.0
    run_in_s: float = 1.0
    ends_off_track: bool = False
    car: Car = field(default_factory=Car)

    def __post_init__(self) -> None:
        greatest = {"speed_mps": 50, "laps": 1000, "seconds": 1e5, "rate_hz": 1000, "run_in_s": 60}
        for name, limit in greatest.items():
            value = getattr(self, name)
            least = 0.0 if name == "run_in_s" else 1e-3
            if not least <= value <= limit:  # NaN is not either
                raise ParameterError(
                    f"{name} is out of its range",
                    where="closed loop",
                    expected=f"a number from {least:g} to {limit:g}",
                    got=value,
                )

    def chosen_car(self) -> Car:
        """The car, with a motor for the speed."""
        fastest_mps = max(self.car.max_speed_mps, self.speed_mps)
        return replace(self.car, max_speed_mps=fastest_mps if self.holds_speed else self.speed_mps)


@dataclass(frozen=True)
class Drive:
    """One drive: what it was worth, and the way that it took."""

    score: DriveScore
    trace: DriveTrace


def drive_closed_loop(
    timed: Timed, spec: NetworkSpec, world: World, task: DriveTask, output: str | None = None
) -> Drive:
    """Let a network drive. The same arguments give the same drive.

    Args:
        timed: the network in virtual time, fresh.
        spec: its file.
        world: where.
        task: what.
        output: whose responses drive; None for the only one that steers.

    Raises:
        ParameterError: the network's inputs or outputs do not fit (``driving_output``).
    """
    return _Loop(timed, spec, world, task, driving_output(spec, output)).run()


def driving_output(spec: NetworkSpec, output: str | None = None) -> str:
    """The output that steers, by ``angular.z``.

    Args:
        spec: the network.
        output: its name; None for the only one.

    Raises:
        ParameterError: there is none, several to choose from, or other inputs than one image.
    """
    if [type(given) for given in spec.inputs.values()] != [ImageInput]:
        raise ParameterError(
            "this network cannot drive here",
            where=f"network '{spec.name}': inputs",
            expected="one image, and nothing else",
            got=", ".join(spec.inputs),
        )
    steering = [name for name, given in spec.outputs.items() if _STEERS in given.fields]
    if output not in steering and (output is not None or len(steering) != 1):
        raise ParameterError(
            "which response steers?",
            where=f"network '{spec.name}': outputs",
            expected=f"one output with 'publish: twist' and a field {_STEERS}",
            got=output or ", ".join(steering) or "none",
        )
    return output or steering[0]


class _Picture(Mapping[str, Tensor]):
    """What the camera saw, drawn when somebody looks: a late network never sees most of them."""

    def __init__(self, simulation: Simulation, name: str, spec: ImageInput) -> None:
        self._then = copy.copy(simulation)  # its state is frozen: the original may drive on
        self._name = name
        self._spec = spec
        self._drawn: Tensor | None = None

    def __getitem__(self, name: str) -> Tensor:
        if name != self._name:
            raise KeyError(name)
        if self._drawn is None:
            self._drawn = self._draw()
        return self._drawn

    def __iter__(self) -> Iterator[str]:
        return iter((self._name,))

    def __len__(self) -> int:
        return 1

    def _draw(self) -> Tensor:
        """(1, channels, height, width), by the way of a camera message, as over ROS."""
        message = SimpleNamespace()
        write_rgb8(message, self._then.observe())
        image = decode_camera(message, self._spec.colour)
        fitted = fit_image(image, self._spec.width, self._spec.height)
        return torch.from_numpy(fitted).permute(2, 0, 1)[None]


class _Loop:
    """One drive under way."""

    def __init__(
        self, timed: Timed, spec: NetworkSpec, world: World, task: DriveTask, output: str
    ) -> None:
        self._timed = timed
        self._task = task
        self._output = output
        self._spec = spec
        self._car = task.chosen_car()
        self._simulation = Simulation(world, car=self._car)
        self._period_ns = round(1e9 / task.rate_hz)
        self._now_ns = _FIRST_TICK * self._period_ns
        self._expert_until_ns = 0
        self._half_lane_m = world.track.lane_width_m / 2
        self._command = Command(0.0, 0.0)
        self._answer: TimedAnswer | None = None
        self._recorder = TraceRecorder(world.track.length_m, STEP_NS / 1e9)
        self._put_back(0.0)

    def run(self) -> Drive:
        """Drive to the end of the task."""
        name = self._spec.primary_input
        image = self._spec.inputs[name]
        assert isinstance(image, ImageInput)
        while not self._is_over():
            tick_ns = self._now_ns
            self._timed.see(tick_ns, tick_ns, _Picture(self._simulation, name, image))
            # What is published until the next tick cannot know of later images: the network may
            # run ahead of the car that far.
            for answer in self._timed.play(tick_ns + self._period_ns):
                if answer.output == self._output:
                    self._drive_until(answer.published_ns)
                    self._use(answer)
            self._drive_until(tick_ns + self._period_ns)
        trace = self._recorder.trace()
        return Drive(trace.score(self._simulation.world.seed, self._task.speed_mps), trace)

    def _is_over(self) -> bool:
        task, done = self._task, self._recorder
        has_left = task.ends_off_track and done.off_track_events > 0
        is_late = self._now_ns - _FIRST_TICK * self._period_ns >= task.seconds * 1e9
        return has_left or is_late or done.laps >= task.laps

    def _use(self, answer: TimedAnswer) -> None:
        """From this moment on, this is the command."""
        spec = self._spec.outputs[self._output]
        least, greatest = spec.limits or (-math.inf, math.inf)
        values = answer.state.flatten().tolist()
        said: dict[str, float] = {
            name: min(max(values[index], least), greatest) for name, index in spec.fields.items()
        }
        self._command = Command(said[_STEERS], said.get("linear.x", 0.0))
        self._answer = answer
        self._recorder.commands += self._now_ns >= self._expert_until_ns

    def _drive_until(self, until_ns: int) -> None:
        while self._now_ns < until_ns and not self._is_over():
            sample_ns = (self._now_ns // STEP_NS + 1) * STEP_NS
            to_ns = min(until_ns, sample_ns)
            self._simulation.advance(self._command_now(), (to_ns - self._now_ns) / 1e9)
            self._now_ns = to_ns
            if to_ns == sample_ns and to_ns > self._expert_until_ns:
                self._sample()

    def _command_now(self) -> Command:
        is_expert = self._now_ns < self._expert_until_ns
        command = self._simulation.expert_command() if is_expert else self._command
        if not self._task.holds_speed:
            return command
        return Command(command.steering, self._task.speed_mps / self._car.max_speed_mps)

    def _sample(self) -> None:
        answer, place = self._answer, self._simulation.place
        middle_ns = self._now_ns - STEP_NS // 2  # a step's mean age is that of its middle
        has_left = abs(place.lateral_m) > self._half_lane_m
        self._recorder.add(
            self._simulation.state,
            place,
            age_s=math.nan if answer is None else (middle_ns - answer.origin.captured_ns) / 1e9,
            held=0.0 if answer is None else answer.origin.held,
            has_left=has_left,
        )
        if has_left and not self._task.ends_off_track:
            self._put_back(place.arc_length_m)

    def _put_back(self, arc_length_m: float) -> None:
        """On the centre line, along the track, at speed; the expert drives for the run-in."""
        share = 1.0 if self._task.holds_speed else self._simulation.expert.curve_throttle
        self._simulation.place_car(arc_length_m, speed_mps=share * self._task.speed_mps)
        self._expert_until_ns = self._now_ns + round(self._task.run_in_s * 1e9)
        self._recorder.begin_stretch()
