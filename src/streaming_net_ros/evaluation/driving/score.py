"""What a closed-loop drive is worth: the samples of its way, and the figures made of them.

Owns the figures and their meaning. Knows no network and no clock; ``closed_loop`` fills it in.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.simulation import CarState, TrackPlace


@dataclass(frozen=True)
class DriveScore:
    """The figures of one drive; run-ins by the expert are in none of them.

    Figures without a single sample are None.

    Attributes:
        track_seed: of the world.
        asked_mps: the speed of the task.
        seconds: driven by the network.
        distance_m: driven by the network.
        laps: progress along the centre line, in rounds of the track.
        speed_mps: mean.
        off_track_events: how often the rear axle's middle crossed a border.
        lateral_mean_m: mean distance from the centre line.
        lateral_rms_m: its root mean square.
        lateral_max_m: the largest.
        age_mean_ms: of the command in use: time since the capture of the newest image that can
            have influenced it.
        age_p95_ms: in 95 of 100 moments it is at most this old.
        commands_per_s: new commands.
        held_share: of the command in use: share of the network's paths that was held, mean.
    """

    track_seed: int
    asked_mps: float
    seconds: float
    distance_m: float
    laps: float
    speed_mps: float | None
    off_track_events: int
    lateral_mean_m: float | None
    lateral_rms_m: float | None
    lateral_max_m: float | None
    age_mean_ms: float | None
    age_p95_ms: float | None
    commands_per_s: float | None
    held_share: float | None

    @property
    def is_kept(self) -> bool:
        """The track was driven, and never left."""
        return self.off_track_events == 0 and self.laps > 0

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what they mean."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, eq=False)
class DriveTrace:
    """Samples at equal times, (count,) each.

    Attributes:
        x_m, y_m: of the rear axle, in the world.
        lateral_m: left of the centre line.
        speed_mps: of the car.
        age_s: of the command in use; NaN while there is none.
        held: of the command in use.
        has_left: the track was left at this sample; what follows begins elsewhere.
        step_s: from sample to sample.
        laps: driven in all.
        commands: new ones in all.
    """

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    lateral_m: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    age_s: NDArray[np.float64]
    held: NDArray[np.float64]
    has_left: NDArray[np.bool_]
    step_s: float
    laps: float
    commands: int

    def score(self, track_seed: int, asked_mps: float) -> DriveScore:
        """The figures of the drive."""
        away_m = np.abs(self.lateral_m)
        ages_ms = 1e3 * self.age_s[np.isfinite(self.age_s)]
        seconds = len(away_m) * self.step_s
        return DriveScore(
            track_seed=track_seed,
            asked_mps=asked_mps,
            seconds=seconds,
            distance_m=float(self.speed_mps.sum() * self.step_s),
            laps=self.laps,
            speed_mps=_mean(self.speed_mps),
            off_track_events=int(self.has_left.sum()),
            lateral_mean_m=_mean(away_m),
            lateral_rms_m=float(np.sqrt((away_m**2).mean())) if len(away_m) else None,
            lateral_max_m=float(away_m.max()) if len(away_m) else None,
            age_mean_ms=_mean(ages_ms),
            age_p95_ms=float(np.percentile(ages_ms, 95)) if len(ages_ms) else None,
            commands_per_s=self.commands / seconds if seconds else None,
            held_share=_mean(self.held),
        )


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


class TraceRecorder:
    """Collects samples; counts laps and events as they come.

    Args:
        lap_m: length of the track.
        step_s: from sample to sample.

    Attributes:
        commands: how many new commands came; its owner counts.
        off_track_events: how often the track was left.
        laps: progress along the centre line.
    """

    def __init__(self, lap_m: float, step_s: float) -> None:
        self.commands = 0
        self.off_track_events = 0
        self.laps = 0.0
        self._lap_m = lap_m
        self._step_s = step_s
        self._rows: list[tuple[float, ...]] = []
        self._arc_m: float | None = None

    def begin_stretch(self) -> None:
        """The next sample does not follow the last one."""
        self._arc_m = None

    def add(
        self, state: CarState, place: TrackPlace, *, age_s: float, held: float, has_left: bool
    ) -> None:
        """One more sample; see ``DriveTrace``."""
        if self._arc_m is not None:
            way_m = math.remainder(place.arc_length_m - self._arc_m, self._lap_m)
            self.laps += way_m / self._lap_m
        self._arc_m = place.arc_length_m
        self.off_track_events += has_left
        self._rows.append(
            (state.x_m, state.y_m, place.lateral_m, state.speed_mps, age_s, held, has_left)
        )

    def trace(self) -> DriveTrace:
        """All samples."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 7)
        x_m, y_m, lateral_m, speed_mps, age_s, held, has_left = rows.T
        return DriveTrace(
            x_m=x_m,
            y_m=y_m,
            lateral_m=lateral_m,
            speed_mps=speed_mps,
            age_s=age_s,
            held=held,
            has_left=has_left > 0,
            step_s=self._step_s,
            laps=self.laps,
            commands=self.commands,
        )
