"""How clips are shown: as long as a plan's responses take under a rollout, as it says."""

from __future__ import annotations

import pytest

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training import sequences_of
from training.toys import (
    FULL,
    dense,
    drive_clips,
    learner,
    numbered,
    objective,
    small_network,
    small_plan,
    still_clips,
)

HYBRID = {"base": "streaming", "delays": {"stem -> head": 0}}
LOOK = {"augmentation": {"mirror": True, "shift": 1, "brightness": 0.1, "noise": 0.05}}


class TestHowLong:
    def test_until_six_frames_after_the_full_response(self):
        network = small_network()
        plan = small_plan(responses=None)
        assert sequences_of(plan, drive_clips(), network).frames == FULL + 6

    @pytest.mark.parametrize("rollout, first", [("streaming", 2), ("sequential", 0), (HYBRID, 1)])
    def test_so_many_responses_from_the_first_one_on(self, rollout, first):
        sequences = sequences_of(small_plan(responses=5), drive_clips(), small_network(rollout))
        assert (sequences.frames, sequences.stride) == (first + 5, 1)

    @pytest.mark.parametrize(
        "rollout, frames, stride",
        [
            # Streaming: the first response after 2 update steps, then one each; frames 0 to 9.
            ("streaming", 10, 1),
            # Sequential: stem, (memory,) head: answers after steps 3, 6 and 9.
            ("sequential", 3, 3),
        ],
    )
    def test_as_many_as_come_under_one_computing_power(self, rollout, frames, stride):
        plan = small_plan(responses=None, horizon_steps=9)
        sequences = sequences_of(plan, drive_clips(), small_network(rollout))
        assert (sequences.frames, sequences.stride) == (frames, stride)

    def test_stills_are_held_and_recordings_are_not(self):
        plan = small_plan()
        assert len(sequences_of(plan, still_clips(5), small_network())) == 5
        with pytest.raises(DataError, match="no sequence fits"):
            sequences_of(plan, drive_clips(5), small_network())

    def test_a_track_that_ends_stands_still(self):
        sequences = sequences_of(small_plan(), numbered(3, 9), small_network())
        assert len(sequences) == 1 + (9 - 6 + 1)
        short = next(sequences.tiles(1)).rows[:, 0]
        assert short.tolist() == [0, 1, 2, 2, 2, 2]

    def test_what_a_network_is_judged_on_may_be_shorter(self):
        plan, network = small_plan(), small_network()
        for frames, expected in ((4, 4), (6, 6), (9, 6)):
            shown = sequences_of(plan, drive_clips(frames), network, to_judge=True)
            assert shown.frames == expected
        with pytest.raises(DataError, match="no sequence fits"):
            sequences_of(plan, drive_clips(2), network, to_judge=True)

    def test_stimuli_switch_as_the_plan_says(self):
        plan = small_plan(learner(objective("class", "class", "CrossEntropyLoss")), switch=[2, 4])
        batch = sequences_of(plan, still_clips(), small_network()).batch(0, 9, 0)
        assert (batch.rows[0] != batch.rows[-1]).all()

    def test_an_output_that_does_not_exist(self):
        with pytest.raises(ParameterError, match="no such output or group"):
            sequences_of(small_plan(learner(objective(of="nope"))), drive_clips(), small_network())

    def test_a_group_that_is_no_output_has_no_length_of_its_own(self):
        stem = learner(objective(of="stem", readout=[dense(2)]))
        sequences = sequences_of(small_plan(stem), drive_clips(), small_network())
        assert sequences.frames == 1 + 4
        with pytest.raises(ParameterError, match="how long is a sequence for 'stem'") as error:
            sequences_of(small_plan(stem, responses=None), drive_clips(), small_network())
        assert "say 'responses'" in str(error.value)

    def test_without_a_loss_it_is_as_long_as_for_the_first_output(self):
        plan = small_plan({"hebbian": {"edge": "stem -> memory"}}, responses=None)
        assert sequences_of(plan, drive_clips(), small_network()).frames == FULL + 6
