"""How clips are shown, as a plan says and as a rollout asks for: from plan to sequences.

Owns the lengths: how many frames it takes until a plan's responses have come. Imported by whoever
trains or judges.
"""

from __future__ import annotations

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import StreamingNetwork
from streaming_net_ros.theory import first_frames, response_times
from streaming_net_ros.training.clips import Clips
from streaming_net_ros.training.objectives import group_of
from streaming_net_ros.training.plan import TrainingPlan
from streaming_net_ros.training.sequences import Sequences

EXTRA_RESPONSES = 6  # beyond the full one: enough for states that remember


def sequences_of(
    plan: TrainingPlan, clips: Clips, network: StreamingNetwork, *, to_judge: bool = False
) -> Sequences:
    """Sequences as long as a plan's responses take, shown as it says.

    Still pictures are shown again and again, and a track that ends stands still; recordings are
    never stretched.

    Args:
        plan: how many responses, how pictures are changed, whether stimuli switch.
        clips: on the network's device.
        network: its rollout says when the first and the full response come.
        to_judge: show pictures as they are, but for the camera's noise. Sequences are no longer
            than the longest recording that there is to judge on.

    Raises:
        DataError: no clip is as long as a sequence.
        ParameterError: an objective of no group; a switch beyond the last response.
    """
    named = [objective.of for learner in plan.learners for objective in learner.objectives]
    of = named[0] if named else next(iter(network.spec.outputs))
    group, _ = group_of(of, network, "plan: learners[0].objectives[0]")
    first, stride = first_frames(network.rollout)[group], 1
    responses = plan.responses
    if responses is None:
        if group not in (times_of := response_times(network.rollout)):
            raise ParameterError(
                f"how long is a sequence for '{group}', which is no output's group?",
                where="plan",
                remedy="say 'responses'",
            )
        times = times_of[group]
        responses = times.full_frames - first + EXTRA_RESPONSES
        if plan.horizon_steps is not None:
            stride = times.period_steps
            responses = max(1, (plan.horizon_steps - times.first_step) // stride + 1)
    augmentation = plan.augmentation
    frames = first + responses
    hold = clips.stamps_ns is None
    if to_judge and not hold:
        frames = max(first + 1, min(frames, int(clips.frames.max())))
    return Sequences(
        clips,
        frames,
        augmentation.of_the_camera if to_judge else augmentation,
        hold=hold,
        stride=stride,
        switch=plan.switch,
    )
