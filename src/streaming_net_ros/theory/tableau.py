"""Update states, tableaus and the inference factor: how many update steps a rollout needs.

Owns the update semantics of the rollout paper (arXiv 1806.04965, section 3): frame 0 and all
inputs count as given; in one update step every node fires whose predecessors in the rollout
window have all fired. Counts updates, not the arrival of information: for that see `response`.
Knows nothing of seconds; imported by the command line and the viewer.
"""

from __future__ import annotations

from collections.abc import Iterator

from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory.graph import FRAMES, is_delay
from streaming_net_ros.theory.rollout import Rollout

FrameNode = tuple[int, str]
"""(frame, node): one node of the rollout window."""


def update_states(rollout: Rollout, last_frame: int) -> Iterator[dict[FrameNode, bool]]:
    """The update states S_0, S_1, ... over frames 0 to `last_frame`, until all nodes are updated.

    S_0 holds the inputs and frame 0. Each further state adds the nodes whose predecessors were
    all updated in the state before.

    Raises:
        RolloutError: `last_frame` is not an integer >= 0.
    """
    check_frame("last_frame", last_frame)
    inputs = set(rollout.graph.inputs)
    window = [(frame, node) for frame in range(last_frame + 1) for node in rollout.graph.nodes]
    state = {(frame, node): frame == 0 or node in inputs for frame, node in window}
    yield state
    while not all(state.values()):
        state = {
            node: done or all(state[before] for before in predecessors(rollout, node))
            for node, done in state.items()
        }
        yield state


def tableau(rollout: Rollout, last_frame: int) -> dict[FrameNode, int]:
    """The update step after which each node of frames 0 to `last_frame` is updated.

    This is the length of the longest path to the node in the rollout window, where inputs and
    frame 0 have length 0. One pass in frame order; nothing is iterated.

    Raises:
        RolloutError: `last_frame` is not an integer >= 0.
    """
    check_frame("last_frame", last_frame)
    steps = {
        (frame, node): 0
        for frame in range(last_frame + 1)
        for node in (rollout.graph.nodes if frame == 0 else rollout.graph.inputs)
    }
    for frame in range(1, last_frame + 1):
        for group in rollout.frame_order:
            before = predecessors(rollout, (frame, group))
            steps[frame, group] = 1 + max((steps[node] for node in before), default=0)
    return steps


def inference_factor(rollout: Rollout) -> int:
    """Update steps that the rollout needs per frame: the maximum of the tableau over frame 1.

    By Theorem 1 it is 1 exactly for the rollouts that are as model parallel as streaming.
    """
    return max(step for (frame, _), step in tableau(rollout, 1).items() if frame == 1)


def predecessors(rollout: Rollout, node: FrameNode) -> list[FrameNode]:
    """What a node of the rollout window hears directly; nothing before frame 0 exists."""
    frame, name = node
    heard = rollout.delays_into(name).items()
    return [(frame - delay, source) for source, delay in heard if delay <= frame]


def check_frame(name: str, value: object) -> None:
    """Raise a RolloutError unless the value is a whole number of frames >= 0."""
    if not is_delay(value):
        raise RolloutError(f"bad {name}", expected=FRAMES, got=repr(value))
