"""Closed-loop driving in virtual time: repeatable, punctual, and fair to every way of running."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from networks import TINY
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.driving.closed_loop import (
    DriveTask,
    drive_closed_loop,
    driving_output,
)
from streaming_net_ros.evaluation.driving.score import TraceRecorder
from streaming_net_ros.evaluation.driving.speeds import (
    Entrant,
    SpeedSearch,
    checked_speeds,
    compare_entrants,
    find_largest_speed,
)
from streaming_net_ros.frames import Origin
from streaming_net_ros.network import (
    StreamingNetwork,
    TimedAnswer,
    TimedPasses,
    TimedRollout,
    load_weights,
    parse_network,
    read_network_file,
    rollout_of,
)
from streaming_net_ros.paths import find_network
from streaming_net_ros.simulation import CarState, Simulation, World
from streaming_net_ros.simulation.track import TrackPlace

MS = 1_000_000
PERIOD_NS = 50 * MS


@cache
def world(seed=9001):
    return World.from_seed(seed)


@cache
def spec(name="pilot"):
    return read_network_file(find_network(name))


@cache
def network(name, rollout=None):
    built = StreamingNetwork(spec(name), rollout_of(spec(name), rollout)).eval()
    load_weights(built, spec(name).weights_path)
    return built


def work(built, ms=35):
    return dict.fromkeys(built.rollout.graph.groups, ms * MS)


def streaming():
    return TimedRollout(network("pilot"), work(network("pilot")), rate_hz=20)


def sequential():
    return TimedPasses(network("pilot_sequential"), work(network("pilot_sequential")))


class Blind:
    """Says a fixed command a fixed time after each image, and looks at none unless told to."""

    def __init__(self, steering=0.0, throttle=0.5, after_ns=30 * MS, held=0.0, looks=False):
        self.said = torch.tensor([[steering, throttle]])
        self.after_ns, self.held, self.looks = after_ns, held, looks
        self.seen, self.pictures, self.waiting = [], [], []

    def see(self, now_ns, captured_ns, inputs):
        assert now_ns == captured_ns
        self.seen.append(now_ns)
        if self.looks:
            self.pictures.append(inputs)
        origin = Origin(captured_ns, len(self.seen), self.held)
        self.waiting.append(
            TimedAnswer("drive", len(self.seen), self.said, origin, now_ns + self.after_ns)
        )

    def play(self, until_ns):
        while self.waiting and self.waiting[0].published_ns <= until_ns:
            yield self.waiting.pop(0)


def drive(timed, **task):
    return drive_closed_loop(timed, spec(), world(), DriveTask(**{"seconds": 3.0, **task}))


class TestALoop:
    def test_the_same_drive_twice_is_the_same_to_the_last_bit(self):
        first, second = (drive(streaming(), speed_mps=2.0) for _ in range(2))
        assert first.score == second.score
        assert np.array_equal(first.trace.x_m, second.trace.x_m)
        assert np.array_equal(first.trace.age_s, second.trace.age_s)

    def test_images_are_captured_at_the_cameras_rate_whatever_the_network_does(self):
        blind = Blind(after_ns=500 * MS)
        drive(blind, rate_hz=30.0)
        assert set(np.diff(blind.seen)) == {round(1e9 / 30)}
        assert 90 <= len(blind.seen) <= 91

    def test_a_command_counts_from_the_very_moment_when_it_is_published(self):
        """Its age runs from the time it took up to that and one camera period."""
        ages_ms = 1e3 * drive(Blind(after_ns=33 * MS)).trace.age_s
        assert ages_ms.min() >= 33 and ages_ms.max() <= 83
        assert np.percentile(ages_ms, 95) >= 75

    def test_a_network_sees_what_the_car_saw_at_the_capture(self):
        """Even if it looks later: pictures of a straight lane differ from frame to frame."""
        blind = Blind(looks=True)
        drive(blind, seconds=0.5)
        expected = Simulation(world())
        expected.place_car(0.0, speed_mps=1.5)
        image = torch.from_numpy(expected.observe()).permute(2, 0, 1)[None].float()
        seen = [inputs["image"] for inputs in blind.pictures]  # the car has long moved on
        near = torch.nn.functional.avg_pool2d(image, 2)
        assert seen[0].shape == (1, 3, 60, 80) and seen[0].dtype == torch.uint8
        assert (seen[0].float() - near).abs().max() <= 1
        assert not torch.equal(seen[0], seen[1])

    def test_the_speed_is_held_whatever_the_throttle_says(self):
        done = drive(Blind(throttle=0.1), speed_mps=3.0, seconds=2.0)
        assert done.trace.speed_mps == pytest.approx(3.0)

    def test_the_networks_own_throttle_drives_if_asked_to(self):
        done = drive(Blind(throttle=0.25), speed_mps=2.0, holds_speed=False, run_in_s=0.0)
        assert done.trace.speed_mps[-1] == pytest.approx(0.5, rel=0.02)

    def test_the_expert_runs_in_and_none_of_it_counts(self):
        done = drive(Blind(steering=1.0), run_in_s=1.0, seconds=1.5, ends_off_track=True)
        assert done.score.seconds == pytest.approx(0.5)
        assert abs(done.trace.lateral_m[0]) < 0.05
        assert done.score.commands_per_s == pytest.approx(20, abs=2.1)

    def test_who_leaves_the_track_is_counted_and_put_back_on_the_centre_line(self):
        done = drive(Blind(steering=1.0), seconds=8.0, run_in_s=0.5)
        left = np.flatnonzero(done.trace.has_left)
        assert len(left) == done.score.off_track_events > 1 and not done.score.is_kept
        half_m = world().track.lane_width_m / 2
        assert (np.abs(done.trace.lateral_m[left]) > half_m).all()
        after = left[left + 1 < len(done.trace.lateral_m)] + 1
        assert (np.abs(done.trace.lateral_m[after]) < 0.1).all()

    def test_leaving_the_track_ends_the_drive_if_asked_to(self):
        done = drive(Blind(steering=1.0), seconds=8.0, ends_off_track=True)
        assert done.score.off_track_events == 1 and done.trace.has_left[-1]

    def test_a_lap_ends_the_drive(self):
        done = drive(streaming(), speed_mps=2.0, seconds=60.0, laps=0.2)
        assert done.score.is_kept and done.score.laps == pytest.approx(0.2, abs=0.01)
        assert done.score.distance_m == pytest.approx(0.2 * world().track.length_m, rel=0.03)

    def test_held_paths_are_told(self):
        assert drive(Blind(held=0.5)).score.held_share == 0.5

    def test_without_a_command_the_car_goes_straight_and_no_age_is_told(self):
        score = drive(Blind(steering=1.0, after_ns=10**12)).score
        assert score.age_mean_ms is None and score.commands_per_s == 0
        assert json.loads(json.dumps(score.to_json()))["age_p95_ms"] is None


class TestTheSameCompute:
    def test_streaming_commands_are_younger_and_more(self):
        fast, slow = drive(streaming()).score, drive(sequential()).score
        assert fast.commands_per_s == pytest.approx(20, abs=1)
        assert slow.commands_per_s == pytest.approx(1000 / 175, abs=1)
        # The short path is two groups long; a pass takes all five, and then waits for a frame.
        assert 70 <= fast.age_mean_ms <= 70 + 50 and slow.age_mean_ms >= 175 + 175 / 2

    def test_streaming_keeps_the_track_at_a_speed_at_which_sequential_leaves_it(self):
        task = DriveTask(speed_mps=2.0, laps=0.5)
        assert drive_closed_loop(streaming(), spec(), world(), task).score.is_kept
        other = spec("pilot_sequential")
        assert not drive_closed_loop(sequential(), other, world(), task).score.is_kept

    @pytest.mark.parametrize("name", ["pilot_sequential", "pilot_hybrid"])
    def test_the_shipped_twins_are_the_pilot_with_weights_of_their_own(self, name):
        assert spec(name).groups == spec().groups and spec(name).outputs == spec().outputs
        assert rollout_of(spec(name)) != rollout_of(spec())
        assert spec(name).weights_path.name == f"{name}.safetensors"
        load_weights(network(name), spec(name).weights_path)


class TestTheLargestSpeed:
    def entrant(self, timed, name="streaming", **more):
        return Entrant(name, "for a test", spec(), timed, **more)

    def test_speeds_rise_until_the_track_is_left(self):
        task = DriveTask(laps=0.15)
        scores = list(find_largest_speed(
            self.entrant(lambda: Blind(0.3)), world(), (0.5, 1.0, 1.5, 2.0), task
        ))  # fmt: skip
        assert [s.is_kept for s in scores[:-1]] == [True] * (len(scores) - 1)
        assert not scores[-1].is_kept
        search = SpeedSearch(9001, tuple(scores))
        kept = [s.asked_mps for s in scores if s.is_kept]
        assert search.largest_mps == (kept[-1] if kept else None) and not search.is_open

    def test_a_track_that_is_kept_at_every_speed_leaves_the_largest_one_open(self):
        task = DriveTask(laps=0.05)
        search = SpeedSearch(9001, tuple(
            find_largest_speed(self.entrant(streaming), world(), (1.0, 1.5), task)
        ))  # fmt: skip
        assert search.largest_mps == 1.5 and search.is_open

    def test_all_entrants_drive_at_the_same_speed_and_references_do_not_set_it(self):
        heard = []
        entrants = [
            self.entrant(streaming),
            self.entrant(lambda: Blind(0.5), "blind"),
            self.entrant(streaming, "limit", is_reference=True),
        ]
        common_mps, outcomes = compare_entrants(
            entrants, [world()], (1.0, 1.4, 1.8), DriveTask(laps=0.05, seconds=5.0),
            on_drive=lambda done, note: heard.append(done),
        )  # fmt: skip
        assert common_mps == 1.4
        assert {o.common[0].score.asked_mps for o in outcomes} == {1.4}
        assert outcomes[0].largest_mps == 1.8 and outcomes[1].largest_mps is None
        assert heard == sorted(heard) and set(heard) == set(range(6))
        json.dumps([o.to_json() for o in outcomes], allow_nan=False)

    @pytest.mark.parametrize("speeds", [(), (1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (math.nan,)])
    def test_speeds_that_do_not_rise_are_refused(self, speeds):
        with pytest.raises(ParameterError, match="rise"):
            checked_speeds(speeds)


class TestScores:
    def test_laps_are_counted_over_the_start_line_and_not_over_a_gap(self):
        recorder = TraceRecorder(lap_m=10.0, step_s=0.01)
        for arc_m in (9.0, 9.5, 0.0, 0.5):
            self.add(recorder, arc_m)
        recorder.begin_stretch()
        for arc_m in (5.0, 4.5):
            self.add(recorder, arc_m)
        assert recorder.laps == pytest.approx(0.15 - 0.05)

    def add(self, recorder, arc_m):
        place = TrackPlace(arc_m, 0.1, 0.0, 0.0)
        recorder.add(CarState(0, 0, 0), place, age_s=0.1, held=0.0, has_left=False)

    def test_a_drive_of_nothing_but_a_run_in_has_no_figures(self):
        score = drive(Blind(), seconds=0.5, run_in_s=1.0).score
        assert score.seconds == 0 and score.lateral_mean_m is None and not score.is_kept
        json.dumps(score.to_json(), allow_nan=False)


BAD_TASKS = {
    "speed_mps": [0.0, -1.0, math.nan, 1e3],
    "laps": [0.0, math.inf],
    "seconds": [-1.0],
    "rate_hz": [0.0],
    "run_in_s": [-0.1],
}


@pytest.mark.parametrize("name", BAD_TASKS)
def test_a_task_out_of_range_is_refused_by_name(name):
    for value in BAD_TASKS[name]:
        with pytest.raises(ParameterError, match=name):
            replace(DriveTask(), **{name: value})


def test_a_network_that_cannot_drive_is_refused(tiny):
    assert driving_output(spec()) == "drive" == driving_output(spec(), "drive")
    with pytest.raises(ParameterError, match="which response steers"):
        driving_output(spec(), "road")
    blind = {**tiny, "outputs": {"drive": {"group": "head"}}}
    with pytest.raises(ParameterError, match=r"angular\.z"):
        driving_output(parse_network(blind))
    more = {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
    tiny["inputs"]["more"] = more
    tiny["groups"][-1]["edges"].append({"source": "more", "layers": [{"Linear": {
        "out_features": len(TINY["outputs"]["drive"].get("fields", {})) or 1}}]})  # fmt: skip
    with pytest.raises(ParameterError, match="one image, and nothing else"):
        driving_output(parse_network(tiny))
