"""What there is to tell of a network: a plan as values, and as plain data for a program.

Owns the choice of rollouts, their headings and the number of frames. Does not know how a plan is
printed or drawn; adds no theory of its own. Imported by ``plan``, ``plan_text`` and
``plan_picture``. Loads torch, for the state shapes, when a plan is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_net_ros.errors import ParameterError, RolloutError
from streaming_net_ros.frames import FrameGrid
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import (
    ResponseTimes,
    Rollout,
    count_valid_rollouts,
    equally_model_parallel,
    inference_factor,
    lemma1_bounds,
    response_times,
    streaming,
    tableau,
)

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec

MAX_FRAMES = 100
"""Frames that may be asked for; more cannot be read, neither as text nor as a picture."""

MAX_DEFAULT_FRAMES = 16


@dataclass(frozen=True)
class Plan:
    """All that is told of a network, before it is printed or drawn.

    Args:
        spec: the network file.
        grid: the rate that frames are counted at: the file's, or the one that was asked for.
        shapes: shape of every node's state.
        rollouts: what is compared, by its heading; no rollout is there twice.
        left_out: rollouts that this network does not have, and why, if none was asked for.
        frames: frames of the tableaus and of the picture.
    """

    spec: NetworkSpec
    grid: FrameGrid
    shapes: Mapping[str, tuple[int, ...]]
    rollouts: Mapping[str, Rollout]
    left_out: Mapping[str, str]
    frames: int

    def state_bytes(self, node: str) -> int:
        """Bytes of a node's state as it is sent: an image's are 8-bit, a vector's float32."""
        given = self.spec.inputs.get(node)
        if given is not None:
            return prod(given.shape) * (1 if given.type == "image" else 4)
        return prod(self.shapes[node]) * (2 if self.spec.state_dtype == "float16" else 4)

    def milliseconds(self, frames: int) -> float:
        """Length of so many frames on the frame grid."""
        return self.grid.stamp_ns(frames) / 1e6

    def responses(self, label: str) -> dict[str, ResponseTimes]:
        """Response times of one rollout by the outputs' names."""
        by_group = response_times(self.rollouts[label])
        return {name: by_group[output.group] for name, output in self.spec.outputs.items()}

    def is_model_parallel(self, label: str) -> bool:
        """Whether one rollout is as model-parallel as the streaming one."""
        # Freed: a delay of 0 that the file fixes makes its "streaming" wait within the frame.
        reference = streaming(self.spec.graph.freed())
        return equally_model_parallel(self.rollouts[label], reference)


def make_plan(
    network: str,
    choices: Sequence[str | None] = (),
    frames: int | None = None,
    rate_hz: float | None = None,
) -> Plan:
    """Read a network file and work out what there is to tell.

    Args:
        network: path of a network file, or name of a shipped one.
        choices: rollouts as ``rollout_of`` takes them; empty for the file's own, streaming and,
            if the network has one, sequential.
        frames: frames of the tableaus and of the picture; None for the default.
        rate_hz: in place of the file's rate.

    Raises:
        NetworkFileError: the file cannot be read, or contradicts itself.
        RolloutError: a chosen rollout is not valid for the network, or cannot be read.
        ParameterError: rate or number of frames is out of range.
    """
    from streaming_net_ros.network import read_network_file, state_shapes

    if frames is not None and not 2 <= frames <= MAX_FRAMES:
        raise ParameterError(
            "bad number of frames", where="--frames", expected=f"2 to {MAX_FRAMES}", got=frames
        )
    spec = read_network_file(find_network(network))
    grid = FrameGrid(spec.rate_hz if rate_hz is None else rate_hz)
    rollouts, left_out = _choose(spec, choices)
    if frames is None:
        responses = (response_times(chosen).values() for chosen in rollouts.values())
        full = max(times.full_frames for of_one in responses for times in of_one)
        frames = min(full + 3, MAX_DEFAULT_FRAMES)
    return Plan(spec, grid, state_shapes(spec), rollouts, left_out, frames)


def _choose(
    spec: NetworkSpec, choices: Sequence[str | None]
) -> tuple[dict[str, Rollout], dict[str, str]]:
    """The rollouts by heading, each once, and why a default one is left out."""
    from streaming_net_ros.network import rollout_of

    rollouts: dict[str, Rollout] = {}
    left_out: dict[str, str] = {}
    for choice in choices or (None, "streaming", "sequential"):
        try:
            chosen = rollout_of(spec, choice)
        except RolloutError as error:
            if not choices and choice is not None:
                left_out[choice] = str(error)
                continue
            if choice is None or choice in str(error) or not Path(choice).is_file():
                raise
            raise RolloutError(str(error), where=choice) from None
        if chosen not in rollouts.values():
            rollouts[_heading(chosen, choice, rollouts)] = chosen
    return rollouts, left_out


def _heading(rollout: Rollout, choice: str | None, taken: Mapping[str, Rollout]) -> str:
    """Its name; with its file where the name alone is taken, or was not its own.

    A table that was printed as streaming and then edited still says ``rollout streaming``.
    """
    plain = ("streaming", "sequential")
    if choice in (None, *plain) or rollout.name not in (*plain, *taken):
        return rollout.name
    short = f"{rollout.name} ({Path(choice).name})"
    return short if short not in taken else f"{rollout.name} ({choice})"


def count_rollouts(planned: Plan) -> dict[str, int | None]:
    """How many valid rollouts with delays 0 and 1: count (None if refused), lower, upper bound."""
    graph = planned.spec.graph
    lower, upper = lemma1_bounds(graph)
    try:
        return {"count": count_valid_rollouts(graph), "lower": lower, "upper": upper}
    except RolloutError:  # too many groups on common cycles
        return {"count": None, "lower": lower, "upper": upper}


def as_data(planned: Plan) -> dict[str, Any]:
    """The plan as plain values for ``--json``; frames are integers, times in milliseconds."""
    spec = planned.spec

    def node(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "shape": list(planned.shapes[name]),
            "bytes": planned.state_bytes(name),
        }

    return {
        "network": spec.name,
        "rate_hz": planned.grid.rate_hz,
        "period_ms": planned.milliseconds(1),
        "inputs": [node(name) for name in spec.inputs],
        "groups": [
            {**node(group.name), "sources": [edge.source for edge in group.edges]}
            for group in spec.groups
        ],
        "outputs": {name: output.group for name, output in spec.outputs.items()},
        "valid_rollouts": count_rollouts(planned),
        "rollouts": [_rollout_data(planned, label) for label in planned.rollouts],
        "left_out": dict(planned.left_out),
    }


def _rollout_data(planned: Plan, label: str) -> dict[str, Any]:
    rollout, graph = planned.rollouts[label], planned.spec.graph
    steps = tableau(rollout, planned.frames - 1)
    return {
        "name": label,
        "delays": {str(edge): rollout.delays[edge.key] for edge in graph.edges},
        "is_streaming": rollout.is_streaming,
        "equally_model_parallel": planned.is_model_parallel(label),
        "inference_factor": inference_factor(rollout),
        "max_delay": rollout.max_delay,
        "tableau": {
            group: [steps[frame, group] for frame in range(planned.frames)]
            for group in graph.groups
        },
        "responses": {
            output: {
                "group": times.output,
                "first_frames": times.first_frames,
                "first_ms": planned.milliseconds(times.first_frames),
                "full_frames": times.full_frames,
                "full_ms": planned.milliseconds(times.full_frames),
                "first_step": times.first_step,
                "period_steps": times.period_steps,
                "ages": {
                    name: {"delays": list(age.delays), "is_recurrent": age.is_recurrent}
                    for name, age in times.ages.items()
                },
            }
            for output, times in planned.responses(label).items()
        },
    }
