"""How clips are shown, as a plan says and as a rollout asks for: from plan to sequences.

Owns the lengths: how many frames it takes until a plan's responses have come. Imported by whoever
trains or judges.
"""

from __future__ import annotations

from streaming_net_ros.network import StreamingNetwork
from streaming_net_ros.theory import first_frames, response_times
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.plan import TrainingPlan
from streaming_net_ros.training.sequences import Sequences

EXTRA_RESPONSES = 6  # beyond the full one: enough for states that remember


def sequences_of(
    plan: TrainingPlan, clips: Clips, network: StreamingNetwork, *, to_judge: bool = False
) -> Sequences:
    """Sequences as long as a plan's responses take, shown as it says.

    Still pictures are shown again and again; clips of several frames are never stretched.

    Args:
        plan: how many responses, how pictures are changed, whether stimuli switch.
        clips: on the network's device.
        network: its rollout says when the first and the full response come.
        to_judge: show pictures as they are, but for the camera's noise.

    Raises:
        DataError: no clip is as long as a sequence.
        ParameterError: a switch beyond the last response.
    """
    objective = next(o for learner in plan.learners for o in learner.objectives)
    output = network.spec.outputs.get(objective.of)
    group = objective.of if output is None else output.group
    first, stride = first_frames(network.rollout)[group], 1
    responses = plan.responses
    if responses is None:
        times = response_times(network.rollout)[group]
        responses = times.full_frames - first + EXTRA_RESPONSES
        if plan.horizon_steps is not None:
            stride = times.period_steps
            responses = max(1, (plan.horizon_steps - times.first_step) // stride + 1)
    augmentation = plan.augmentation
    return Sequences(
        clips,
        first + responses,
        augmentation.of_the_camera if to_judge else augmentation,
        hold=clips.stamps_ns is None,
        stride=stride,
        switch=plan.switch,
    )
