"""How fast can it go? Networks compared on the same tracks, at speeds that rise until they fail.

Owns the search, the common drive at one speed, and their figures. ``closed_loop`` drives; the verb
``drive`` tells and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from statistics import fmean
from typing import Any

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation.driving.closed_loop import Drive, DriveTask, drive_closed_loop
from streaming_net_ros.evaluation.driving.score import DriveScore
from streaming_net_ros.network import NetworkSpec, Timed
from streaming_net_ros.simulation import World


@dataclass(frozen=True)
class Entrant:
    """A network, and the way in which it is run.

    Attributes:
        name: short.
        meaning: how it is run, in words.
        spec: its file.
        timed: makes it, fresh, in virtual time.
        is_reference: not a way to run it on this machine: drawn and told apart.
    """

    name: str
    meaning: str
    spec: NetworkSpec
    timed: Callable[[], Timed] = field(repr=False)
    is_reference: bool = False


@dataclass(frozen=True)
class SpeedSearch:
    """What one entrant did on one track.

    Attributes:
        track_seed: of the track.
        scores: one lap at each speed, rising, up to the first at which the track was left.
    """

    track_seed: int
    scores: tuple[DriveScore, ...]

    @property
    def largest_mps(self) -> float | None:
        """The largest speed at which the track was kept, as was it at all below; None: at none."""
        kept = [score.asked_mps for score in self.scores if score.is_kept]
        return kept[-1] if kept else None

    @property
    def is_open(self) -> bool:
        """The track was kept at every speed: the largest one is not known."""
        return all(score.is_kept for score in self.scores)


@dataclass(frozen=True)
class Outcome:
    """What one entrant did on all tracks.

    Attributes:
        entrant: who.
        searches: per track.
        common: per track, a drive at the speed that all entrants had to try, put back as often
            as it left the track.
    """

    entrant: Entrant
    searches: tuple[SpeedSearch, ...]
    common: tuple[Drive, ...]

    @property
    def largest_mps(self) -> float | None:
        """Mean of the largest speeds over the tracks; None if some track was kept at none."""
        return mean_speed(self.searches)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        largest_mps = self.largest_mps
        return {
            "name": self.entrant.name,
            "meaning": self.entrant.meaning,
            "network": self.entrant.spec.name,
            "largest_speed_mps": None if largest_mps is None else round(largest_mps, 4),
            "tracks": [
                {
                    "track_seed": search.track_seed,
                    "largest_speed_mps": search.largest_mps,
                    "is_open": search.is_open,
                    "drives": [score.to_json() for score in search.scores],
                }
                for search in self.searches
            ],
            "common": [drive.score.to_json() for drive in self.common],
        }


def mean_speed(searches: Sequence[SpeedSearch]) -> float | None:
    """Mean of the largest speeds; None if some track was kept at none."""
    speeds = [search.largest_mps for search in searches]
    known = [speed for speed in speeds if speed is not None]
    return fmean(known) if len(known) == len(speeds) else None


def checked_speeds(speeds_mps: Sequence[float]) -> tuple[float, ...]:
    """Speeds that rise.

    Raises:
        ParameterError: none, or they do not rise from above 0.
    """
    speeds = tuple(speeds_mps)
    rises = all(b > a for a, b in zip((0.0, *speeds), speeds, strict=False))  # NaN does not
    if not speeds or not rises:
        raise ParameterError("speeds must rise, from above 0", where="closed loop", got=speeds)
    return speeds


def find_largest_speed(
    entrant: Entrant, world: World, speeds_mps: Sequence[float], task: DriveTask
) -> Iterator[DriveScore]:
    """One drive after the other, faster each time, until the track is left; gives each score.

    Args:
        entrant: who drives.
        world: where.
        speeds_mps: rising.
        task: of each drive, but for the speed; leaving the track ends it.
    """
    for speed_mps in checked_speeds(speeds_mps):
        faster = replace(task, speed_mps=speed_mps, ends_off_track=True)
        score = drive_closed_loop(entrant.timed(), entrant.spec, world, faster).score
        yield score
        if not score.is_kept:
            return


def compare_entrants(
    entrants: Sequence[Entrant],
    worlds: Sequence[World],
    speeds_mps: Sequence[float],
    task: DriveTask,
    *,
    common_mps: float | None = None,
    on_drive: Callable[[int, str], object] = lambda done, note: None,
) -> tuple[float, tuple[Outcome, ...]]:
    """Search every entrant's largest speed on every track; then let all drive at one speed.

    Args:
        entrants: who; the first and the last that is no reference set the common speed.
        worlds: where.
        speeds_mps: to try, rising.
        task: of each drive, but for the speed.
        common_mps: the speed of the common drive; None: of those tried, the nearest to the middle
            between the largest speeds of the first and of the last entrant.
        on_drive: hears before each drive how many of the 2 x entrants x worlds parts are done, and
            who drives now.

    Returns:
        The common speed, and what each entrant did.

    Raises:
        ParameterError: speeds that do not rise.
    """
    speeds = checked_speeds(speeds_mps)
    searches = []
    for number, (entrant, world) in enumerate(product(entrants, worlds)):
        scores = []
        on_drive(number, _note(entrant, world, speeds[0]))
        for score in find_largest_speed(entrant, world, speeds, task):
            scores.append(score)
            on_drive(number, _note(entrant, world, score.asked_mps))
        searches.append(SpeedSearch(world.seed, tuple(scores)))
    found = [tuple(searches[k : k + len(worlds)]) for k in range(0, len(searches), len(worlds))]
    if common_mps is None:
        common_mps = _middle_speed(entrants, found, speeds)
    together = replace(task, speed_mps=common_mps, ends_off_track=False)
    drives = []
    for number, (entrant, world) in enumerate(product(entrants, worlds), len(searches)):
        on_drive(number, _note(entrant, world, common_mps))
        drives.append(drive_closed_loop(entrant.timed(), entrant.spec, world, together))
    return common_mps, tuple(
        Outcome(entrant, of_entrant, tuple(drives[k * len(worlds) : (k + 1) * len(worlds)]))
        for k, (entrant, of_entrant) in enumerate(zip(entrants, found, strict=True))
    )


def _note(entrant: Entrant, world: World, speed_mps: float) -> str:
    return f"{entrant.name}, track {world.seed}, {speed_mps:g} m/s"


def _middle_speed(
    entrants: Sequence[Entrant],
    searches: Sequence[tuple[SpeedSearch, ...]],
    speeds_mps: Sequence[float],
) -> float:
    means = [
        mean_speed(found) or speeds_mps[0]
        for entrant, found in zip(entrants, searches, strict=True)
        if not entrant.is_reference
    ]
    middle_mps = (means[0] + means[-1]) / 2
    return min(speeds_mps, key=lambda speed: abs(speed - middle_mps))
