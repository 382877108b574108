"""Hand-made worlds and answers for the tests of measures."""

from __future__ import annotations

import numpy as np

from streaming_net_ros.evaluation.bags import Series
from streaming_net_ros.evaluation.streaming.played import Answers
from streaming_net_ros.evaluation.streaming.world import Lived, world_of

MS = 1_000_000
PERIOD_NS = 50 * MS


def answers_of(published_ns, captured_ns, values):
    values = np.asarray(values, np.float64)
    if values.ndim == 1:
        values = values[:, None]
    return Answers(np.array(published_ns, np.int64), np.array(captured_ns, np.int64), values)


def made_world(values, part=slice(None), bag="toy"):
    """An image and a reference every 50 ms."""
    stamps_ns = 10**12 + PERIOD_NS * np.arange(len(values), dtype=np.int64)
    series = Series(stamps_ns, np.asarray(values, np.float32).reshape(len(values), -1))
    return world_of(bag, stamps_ns, series, part, tolerance_ns=PERIOD_NS)


def lived_in(world, timed, offline=None):
    if offline is None:
        offline = answers_of(world.captured_ns, world.captured_ns, world.at_capture)
    return Lived(world, world.times_ns([timed]), offline, timed)


def delayed(world, delay_ns, error=0.0):
    """Answers that are right but for a delay (and an error)."""
    return answers_of(world.captured_ns + delay_ns, world.captured_ns, world.at_capture + error)
