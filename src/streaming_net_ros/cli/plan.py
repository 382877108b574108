"""``streaming-net plan``: what a network answers and when, told before anything is computed.

Owns the verb and its three prints: text for a person, JSON for a program, the rollout table for
``run --rollout``. Adds no theory of its own; the drawing is ``plan_picture``. Imported by ``app``.
Loads torch (for the state shapes) and matplotlib only when a plan is asked for.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, groupby, pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streaming_net_ros.errors import ParameterError, RolloutError
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import (
    Ages,
    ResponseTimes,
    Rollout,
    count_valid_rollouts,
    equally_model_parallel,
    format_table,
    format_tableau,
    inference_factor,
    lemma1_bounds,
    response_times,
    streaming,
    tableau,
)
