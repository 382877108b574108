"""Losses against hand-written torch: which frames count, which target is theirs, and how much."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.training import (
    UNKNOWN_CLASS,
    Objective,
    ObjectiveSpec,
    Piece,
    Sequences,
    td_targets,
)
from streaming_net_ros.training.objectives import known_losses
from training.toys import (
    CLASSES,
    FIELDS,
    FIRST,
    SMALL,
    dense,
    drive_clips,
    numbered,
    small_network,
    still_clips,
)

FRAMES, BATCH = 7, 3
RESPONSES = FRAMES - FIRST
OF_CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
# What compares differences can be scaled to the target's deviation; the others cannot.
OF_DIFFERENCES = ("HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss")
OF_NUMBERS = [name for name in known_losses() if name not in OF_CLASSES]
NETWORK = small_network()  # an objective only looks at it


def objective_of(clips, network=None, **spec):
    spec = {"of": "drive", "target": "drive", "loss": "MSELoss", **spec}
    network = network or NETWORK
    return Objective(ObjectiveSpec.model_validate(spec), network, clips, "here")


def class_objective(clips, **spec):
    return objective_of(clips, **{"target": "class", "loss": "CrossEntropyLoss", **spec})


def batch_of(clips, frames=FRAMES, size=BATCH, hold=False):
    return Sequences(clips, frames, hold=hold).batch(0, size, seed=0)


def random_states(features=2, frames=FRAMES, seed=0):
    """(frames, batch, features), of which a gradient can be asked."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(frames, BATCH, features, generator=rng).requires_grad_()


def piece_of(batch, states, first=0, last=FRAMES, begins=FIRST, is_last=None, **others):
    """A piece whose head has the given states, from its first response on."""
    nodes = []
    for t in range(first, last):
        state = {"head": states[t] if t >= begins else None}
        nodes.append(state | {name: of[t] for name, of in others.items()})
    return Piece(batch, first, last == batch.frames if is_last is None else is_last, nodes)


def moved(states):
    """The responses whose states a gradient has reached."""
    return (states.grad[FIRST:].abs().sum((1, 2)) > 0).nonzero()[:, 0].tolist()


def right_at(batch, name, clips):
    """What was right at each response, by hand."""
    return clips.targets[name][batch.rows[:RESPONSES]]


def labelled(labels):
    """One clip of pictures with these classes."""
    clips = replace(numbered(len(labels)), targets={"class": torch.tensor(labels)})
    return replace(clips, fields={})


class TestWhichTarget:
    @pytest.mark.parametrize(
        "rollout, begins",
        [
            ("streaming", 2),
            ("sequential", 0),
            ({"base": "streaming", "delays": {"stem -> head": 0}}, 1),
            ({"base": "streaming", "delays": {"image -> stem": 4}}, 5),
        ],
    )
    def test_a_response_is_compared_with_the_newest_image_inside_it(self, rollout, begins):
        clips = numbered(20)
        objective = objective_of(clips, small_network(rollout))
        batch = batch_of(clips)
        piece = piece_of(batch, torch.zeros(FRAMES, BATCH, 2), begins=begins)
        errors = objective.errors(piece)
        assert errors.shape == (FRAMES - begins, BATCH, 2)
        for t in range(begins, FRAMES):
            assert torch.allclose(errors[t - begins, :, 0], batch.rows[t - begins].float())

    @given(st.integers(0, FRAMES - 1), st.integers(1, FRAMES))
    def test_a_piece_of_a_sequence_is_judged_as_in_the_whole(self, first, length):
        clips, last = drive_clips(), min(first + length, FRAMES)
        batch, states, objective = batch_of(clips), random_states(), objective_of(clips)
        whole = objective.errors(piece_of(batch, states))
        part = objective.errors(piece_of(batch, states, first, last))
        if last <= FIRST:
            assert part is None and objective.loss(piece_of(batch, states, first, last)) is None
        else:
            assert torch.equal(part, whole[max(0, first - FIRST) : last - FIRST])

    def test_a_group_that_stays_silent_has_no_loss(self):
        clips = drive_clips()
        piece = piece_of(batch_of(clips), random_states(), begins=FRAMES)
        assert objective_of(clips).loss(piece) is None
        assert objective_of(clips).errors(piece) is None

    @given(st.integers(0, 6), st.none() | st.integers(0, 6))
    def test_responses_choose_those_that_count(self, first, last):
        clips = drive_clips()
        batch, states = batch_of(clips), random_states()
        objective = objective_of(clips, responses=[first, last])
        expected = objective_of(clips).errors(piece_of(batch, states))
        expected = expected[first : None if last is None else last + 1]
        found = objective.errors(piece_of(batch, states))
        assert torch.equal(found, expected) if len(expected) else found is None

    def test_an_outputs_fields_pick_elements_of_the_state_by_name(self):
        clips = drive_clips()
        turned = replace(clips, fields={"drive": FIELDS[::-1]})
        batch, states = batch_of(clips), random_states()
        one = objective_of(clips).errors(piece_of(batch, states))
        by_hand = (states[FIRST:] - right_at(batch, "drive", clips)).abs()
        assert torch.allclose(one, by_hand, atol=1e-6)
        other = objective_of(turned).errors(piece_of(batch, states))
        by_hand = (states[FIRST:].flip(-1) - right_at(batch, "drive", clips)).abs()
        assert torch.allclose(other, by_hand, atol=1e-6)
        assert objective_of(turned).columns == FIELDS[::-1]

    def test_fewer_fields_than_the_state_has(self):
        clips = drive_clips()
        one = replace(
            clips, targets={"drive": clips.targets["drive"][:, :1]}, fields={"drive": FIELDS[:1]}
        )
        states, batch = random_states(), batch_of(one)
        objective_of(one).loss(piece_of(batch, states)).backward()
        assert (states.grad[..., 1] == 0).all() and (states.grad[FIRST:, :, 0] != 0).all()

    def test_any_group_can_have_a_loss(self):
        clips = replace(drive_clips(), fields={})
        objective = objective_of(clips, of="stem", readout=[dense(2)])
        assert (objective.group, objective.first_frames) == ("stem", 1)


class TestHowLossesBecomeOne:
    def hand(self, clips, batch, states):
        """(responses, batch) cross entropies."""
        labels = right_at(batch, "class", clips)
        return F.cross_entropy(
            states[FIRST:].flatten(0, 1), labels.flatten(), reduction="none"
        ).view(RESPONSES, BATCH)

    @pytest.mark.parametrize(
        "combine, one", [("mean", torch.mean), ("sum", lambda x: x.mean(1).sum()),
                         ("last", lambda x: x[-1].mean())],
    )  # fmt: skip
    def test_by_hand(self, combine, one):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        loss = class_objective(clips, combine=combine).loss(piece_of(batch, states))
        assert float(loss.detach()) == pytest.approx(
            float(one(self.hand(clips, batch, states).detach())), rel=1e-6
        )

    @pytest.mark.parametrize("combine", ["mean", "sum"])
    def test_of_the_responses_that_count_alone(self, combine):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        objective = class_objective(clips, combine=combine, responses=[1, 3])
        some = self.hand(clips, batch, states)[1:4]
        by_hand = some.mean() if combine == "mean" else some.mean(1).sum()
        loss = objective.loss(piece_of(batch, states))
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-6)

    def test_last_is_the_last_of_the_sequence_not_of_a_piece(self):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        objective = class_objective(clips, combine="last")
        assert objective.loss(piece_of(batch, states, 0, 5)) is None
        part = objective.loss(piece_of(batch, states, 5, FRAMES))
        assert torch.equal(part, objective.loss(piece_of(batch, states)))

    def test_weights_of_responses_and_the_last_one_holds_for_all_later_ones(self):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        loss = class_objective(clips, response_weights=[0, 1, 3]).loss(piece_of(batch, states))
        weights = torch.tensor([0.0, 1, 3, 3, 3])[:, None]
        by_hand = (self.hand(clips, batch, states) * weights).mean()
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-6)

    @given(st.lists(st.floats(0, 9), min_size=1, max_size=9), st.floats(0, 9))
    def test_they_are_factors(self, weights, factor):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        one, other = (
            class_objective(clips, response_weights=w).loss(piece_of(batch, states))
            for w in (weights, [factor * w for w in weights])
        )
        assert float(other) == pytest.approx(factor * float(one), rel=1e-4, abs=1e-6)

    def test_of_the_sum_they_are_those_of_its_terms(self):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        objective = class_objective(clips, combine="sum", response_weights=[1, 0, 2])
        terms = self.hand(clips, batch, states).mean(1)
        by_hand = terms[0] + 2 * terms[2:].sum()
        loss = objective.loss(piece_of(batch, states))
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-6)

    def test_weights_go_by_the_response_not_by_the_piece(self):
        clips = replace(numbered(30), fields={})
        batch, states = batch_of(clips), random_states()
        objective = class_objective(clips, response_weights=[0, 0, 1, 2])
        loss = objective.loss(piece_of(batch, states, 4, 6))  # responses 2 and 3
        some = self.hand(clips, batch, states)[2:4].mean(1)
        assert float(loss) == pytest.approx(float((some[0] + 2 * some[1]) / 2), rel=1e-6)
        assert objective.loss(piece_of(batch, states, 2, 4)) == 0


class TestUnknown:
    def test_a_class_that_nobody_knows_gives_no_gradient_and_does_not_count(self):
        clips = labelled([0, 1, UNKNOWN_CLASS, 1, UNKNOWN_CLASS, 0, 1])
        batch, states = batch_of(clips, size=1), random_states()[:, :1].detach().requires_grad_()
        loss = class_objective(clips).loss(piece_of(batch, states))
        loss.backward()
        known = [0, 1, 3]  # of the five responses
        labels = torch.tensor([0, 1, 1])
        by_hand = F.cross_entropy(states[FIRST:, 0][known], labels)
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-6)
        assert moved(states) == known

    @pytest.mark.parametrize("loss", OF_DIFFERENCES)
    def test_a_number_that_nobody_knows_gives_no_gradient_and_does_not_count(self, loss):
        clips = drive_clips(FRAMES)
        clips.targets["drive"][[1, 4]] = torch.nan
        batch, states = batch_of(clips, size=1), random_states()[:, :1].detach().requires_grad_()
        objective = objective_of(clips, loss=loss)
        total = objective.loss(piece_of(batch, states))
        total.backward()
        scale = clips.deviation("drive")
        rows = clips.targets["drive"][:RESPONSES]
        known = [0, 2, 3]
        by_hand = getattr(nn, loss)()(states[FIRST:, 0][known] / scale, rows[known] / scale)
        assert float(total) == pytest.approx(float(by_hand), rel=1e-5)
        assert moved(states) == known

    @pytest.mark.parametrize("combine", ["mean", "sum", "last", "td"])
    def test_where_nobody_knows_anything_nothing_is_learnt(self, combine):
        clips = drive_clips(FRAMES)
        clips.targets["drive"][:] = torch.nan
        batch, states = batch_of(clips, size=1), random_states()[:, :1].detach().requires_grad_()
        loss = objective_of(clips, combine=combine).loss(piece_of(batch, states))
        loss.backward()
        assert loss == 0 and (states.grad == 0).all()

    def test_errors_are_nan_where_nobody_knows(self):
        clips = labelled([0, UNKNOWN_CLASS, 1, 1, 0, 1, 0])
        batch, states = batch_of(clips, size=1), torch.zeros(FRAMES, 1, 2)
        states[..., 1] = 1  # always answers class 1
        errors = class_objective(clips).errors(piece_of(batch, states))[:, 0, 0]
        assert errors.isnan().tolist() == [False, True, False, False, False]
        assert errors[[0, 2, 3, 4]].tolist() == [1, 0, 0, 1]

    def test_one_field_that_nobody_knows_is_no_error_of_nought(self):
        clips = drive_clips(FRAMES)
        clips.targets["drive"][1, 1] = torch.nan
        batch, states = batch_of(clips, size=1), random_states()[:, :1]
        errors = objective_of(clips).errors(piece_of(batch, states))
        assert errors[1, 0].isnan().tolist() == [False, True]

    def test_one_field_that_nobody_knows_gives_no_gradient_and_the_other_one_does(self):
        clips = drive_clips(FRAMES)
        clips.targets["drive"][1, 1] = torch.nan
        batch, states = batch_of(clips, size=1), random_states()[:, :1].detach().requires_grad_()
        loss = objective_of(clips).loss(piece_of(batch, states))
        loss.backward()
        assert (states.grad[FIRST + 1, 0] != 0).tolist() == [True, False]
        difference = (states[FIRST:, 0] - clips.targets["drive"][:RESPONSES]).detach()
        squares = (difference / clips.deviation("drive")).square()
        assert float(loss) == pytest.approx(float(squares.nanmean(1).mean()), rel=1e-5)

    def test_an_answer_that_is_no_number_is_infinitely_wrong(self):
        clips = drive_clips()
        batch, states = batch_of(clips), random_states().detach()
        states[FIRST, 0, 0] = torch.nan
        errors = objective_of(clips).errors(piece_of(batch, states))
        assert errors[0, 0, 0] == torch.inf and errors.isfinite().sum() == errors.numel() - 1


class TestTemporalDifferences:
    @given(st.integers(1, 7), st.floats(0, 1), st.integers(0, 2**31))
    def test_targets_are_those_of_the_explicit_formula(self, count, td_lambda, seed):
        rng = torch.Generator().manual_seed(seed)
        answers = torch.rand(count, 2, 3, generator=rng, dtype=torch.float64)
        targets = torch.rand(count, 2, 3, generator=rng, dtype=torch.float64)
        z = td_targets(answers, targets, td_lambda)
        for t in range(count):
            later = range(1, count - t)
            by_hand = td_lambda ** (count - 1 - t) * targets[-1]
            for i in later:
                by_hand = by_hand + (1 - td_lambda) * td_lambda ** (i - 1) * answers[t + i]
            assert torch.allclose(z[t], by_hand, atol=1e-12)

    def test_with_lambda_1_the_target_alone_with_0_the_next_answer_alone(self):
        answers, targets = torch.rand(5, 2), torch.rand(5, 2)
        assert torch.equal(td_targets(answers, targets, 1.0), targets[-1].expand(5, 2))
        expected = torch.cat([answers[1:], targets[-1:]])
        assert torch.equal(td_targets(answers, targets, 0.0), expected)

    def test_with_lambda_1_they_are_the_mean_over_a_still(self):
        clips = still_clips()
        batch, states = batch_of(clips, hold=True), random_states()
        td, mean = (
            class_objective(clips, **how).loss(piece_of(batch, states))
            for how in ({"combine": "td", "td_lambda": 1}, {"combine": "mean"})
        )
        assert float(td) == pytest.approx(float(mean), rel=1e-6)

    @given(st.floats(0, 1))
    @settings(max_examples=20)
    def test_no_gradient_flows_through_the_targets_of_classes(self, td_lambda):
        clips = still_clips()
        batch, states = batch_of(clips, hold=True), random_states()
        objective = class_objective(clips, combine="td", td_lambda=td_lambda)
        (found,) = torch.autograd.grad(objective.loss(piece_of(batch, states)), states)
        labels = F.one_hot(right_at(batch, "class", clips), 2).float()
        z = td_targets(states[FIRST:].softmax(2).detach(), labels, td_lambda)
        by_hand = -(z * states[FIRST:].log_softmax(2)).sum(2).mean()
        (expected,) = torch.autograd.grad(by_hand, states)
        assert torch.allclose(found, expected, atol=1e-6)
        if td_lambda < 0.9:  # with a gradient through the targets it would be another one
            z = td_targets(states[FIRST:].softmax(2), labels, td_lambda)
            other = -(z * states[FIRST:].log_softmax(2)).sum(2).mean()
            assert not torch.allclose(found, torch.autograd.grad(other, states)[0], atol=1e-4)

    def test_of_numbers_in_units_of_their_deviation(self):
        clips = drive_clips()
        batch, states = batch_of(clips), random_states()
        objective = objective_of(clips, combine="td", td_lambda=0.3)
        loss = objective.loss(piece_of(batch, states))
        answers = states[FIRST:] / clips.deviation("drive")
        targets = right_at(batch, "drive", clips) / clips.deviation("drive")
        z = td_targets(answers.detach(), targets, 0.3)
        assert float(loss) == pytest.approx(float(F.mse_loss(answers, z)), rel=1e-6)

    @pytest.mark.parametrize("loss", ["NLLLoss", "MultiMarginLoss"])
    def test_losses_that_take_class_numbers_only_cannot_mix(self, loss):
        with pytest.raises(ParameterError, match="temporal differences mix") as error:
            class_objective(still_clips(), combine="td", loss=loss)
        assert "here.loss" in str(error.value) and "CrossEntropyLoss" in str(error.value)

    def test_no_class_is_another_than_the_others_where_the_last_one_is_unknown(self):
        """Exchanging the two classes everywhere changes nothing."""
        labels = [0, 1, 1, 0, UNKNOWN_CLASS, 0, 0]
        turned = [1 - n if n >= 0 else n for n in labels]
        states = random_states()[:, :1]
        one, other = (
            class_objective(labelled(given_), combine="td").loss(
                piece_of(batch_of(labelled(given_), size=1), answers)
            )
            for given_, answers in ((labels, states), (turned, states.flip(-1)))
        )
        assert float(one) == pytest.approx(float(other), rel=1e-5)


class TestReadout:
    def test_it_stands_between_the_state_and_the_loss(self):
        clips = replace(drive_clips(), fields={})
        batch, states = batch_of(clips), random_states()
        objective = objective_of(clips, readout=["Tanh", dense(2)])
        linear = objective.readout[1]
        answers = F.linear(states[FIRST:].tanh(), linear.weight, linear.bias)
        scale = clips.deviation("drive")
        by_hand = F.mse_loss(answers / scale, right_at(batch, "drive", clips) / scale)
        loss = objective.loss(piece_of(batch, states))
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)
        assert [name for name, _ in objective.named_parameters()] == [
            "readout.1.weight",
            "readout.1.bias",
        ]

    def test_its_weights_are_those_of_the_seed_and_place_alone(self):
        def weight(seed, where):
            torch.rand(3)  # whatever was drawn before
            spec = ObjectiveSpec(of="drive", target="drive", loss="MSELoss",
                                 readout=[dense(2)])  # fmt: skip
            return Objective(spec, small_network(), drive_clips(), where, seed).readout[0].weight

        assert torch.equal(weight(1, "a"), weight(1, "a"))
        assert not torch.equal(weight(1, "a"), weight(2, "a"))
        assert not torch.equal(weight(1, "a"), weight(1, "b"))

    def test_a_state_in_half_precision_is_read_in_full(self):
        clips = replace(drive_clips(), fields={})
        states = random_states().detach().to(torch.bfloat16)
        loss = objective_of(clips, readout=[dense(2)]).loss(piece_of(batch_of(clips), states))
        assert loss.dtype is torch.float32


class TestNodesAsTargets:
    @pytest.mark.parametrize("ahead", [0, 1, 3])
    def test_a_groups_state_of_that_frame_or_later_ones(self, ahead):
        clips = drive_clips()
        objective = objective_of(
            clips, of="memory", target="stem", readout=[dense(6)], ahead=ahead, loss="L1Loss"
        )
        memory, stem = random_states(5, seed=1), random_states(6, seed=2)
        nodes = [
            {"memory": memory[t] if t >= 2 else None, "stem": stem[t] if t >= 1 else None}
            for t in range(FRAMES)
        ]
        piece = Piece(batch_of(clips), 0, True, nodes)
        loss = objective.loss(piece)
        linear = objective.readout[0]
        answers = F.linear(memory[2 : FRAMES - ahead], linear.weight, linear.bias)
        by_hand = F.l1_loss(answers, stem[2 + ahead :])
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)
        to_answer, to_target = torch.autograd.grad(loss, (memory, stem), allow_unused=True)
        assert to_target is None
        assert (to_answer[2 : FRAMES - ahead] != 0).any() and (to_answer[:2] == 0).all()
        assert not objective.is_judged and objective.columns == ("error",)

    def test_where_the_later_state_is_beyond_the_piece_there_is_no_loss(self):
        clips = drive_clips()
        objective = objective_of(clips, of="head", target="head", ahead=3)
        states = random_states()
        assert objective.loss(piece_of(batch_of(clips), states, 2, 5)) is None
        assert objective.loss(piece_of(batch_of(clips), states, 2, 6)) is not None

    def test_an_input_as_groups_hear_it(self):
        clips = drive_clips()
        readout = [dense(16), {"Unflatten": {"dim": 1, "unflattened_size": [1, 4, 4]}}]
        objective = objective_of(clips, target="image", readout=readout, ahead=1)
        batch, states = batch_of(clips), random_states()
        images = batch.images()
        loss = objective.loss(piece_of(batch, states, image=images))
        linear = objective.readout[0]
        answers = F.linear(states[FIRST:-1], linear.weight, linear.bias).view(-1, BATCH, 1, 4, 4)
        by_hand = F.mse_loss(answers, (images[FIRST + 1 :].float() / 255 - 0.5) / 0.25)
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)


class TestEveryLoss:
    @pytest.mark.parametrize("name", OF_NUMBERS)
    def test_of_numbers_compares_two_states_as_torch_does(self, name):
        clips = drive_clips()
        objective = objective_of(
            clips, of="head", target="stem", readout=[dense(6), "Sigmoid"], loss=name
        )
        states, stem = random_states(), random_states(6, seed=2).detach().sigmoid()
        piece = piece_of(batch_of(clips), states, stem=stem)
        loss = objective.loss(piece)
        answers = objective.readout(states[FIRST:].flatten(0, 1))
        by_hand = getattr(nn, name)(reduction="none")(answers, stem[FIRST:].flatten(0, 1))
        assert float(loss) == pytest.approx(float(by_hand.mean()), rel=1e-5)
        assert torch.autograd.grad(loss, states)[0].isfinite().all()

    @pytest.mark.parametrize("name", OF_NUMBERS)
    def test_of_numbers_compares_with_the_data(self, name):
        """Differences in units of their deviation; probabilities and signs as they are."""
        clips = replace(drive_clips(), fields={})
        values = torch.randint(0, 2, clips.targets["drive"].shape).float()
        values = 2 * values - 1 if name in ("HingeEmbeddingLoss", "SoftMarginLoss") else values
        clips = replace(clips, targets={"drive": values})
        objective = objective_of(clips, readout=["Sigmoid"], loss=name)
        batch, states = batch_of(clips), random_states()
        loss = objective.loss(piece_of(batch, states))
        scale = clips.deviation("drive") if name in OF_DIFFERENCES else torch.ones(2)
        answers, targets = states[FIRST:].sigmoid(), right_at(batch, "drive", clips)
        by_hand = getattr(nn, name)(reduction="none")(
            (answers / scale).flatten(0, 1), (targets / scale).flatten(0, 1)
        )
        assert float(loss) == pytest.approx(float(by_hand.mean()), rel=1e-5)

    @pytest.mark.parametrize("name", OF_CLASSES)
    def test_of_classes(self, name):
        clips = still_clips()
        batch, states = batch_of(clips, hold=True), random_states()
        loss = class_objective(clips, loss=name).loss(piece_of(batch, states))
        labels = right_at(batch, "class", clips).flatten()
        by_hand = getattr(nn, name)()(states[FIRST:].flatten(0, 1), labels)
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)

    @pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
    def test_of_classes_of_which_some_are_unknown(self, name):
        clips = labelled([0, UNKNOWN_CLASS, 1, 1, 0, 1, 0])
        batch, states = batch_of(clips, size=1), random_states()[:, :1]
        loss = class_objective(clips, loss=name).loss(piece_of(batch, states))
        by_hand = getattr(nn, name)()(states[FIRST:, 0][[0, 2, 3, 4]], torch.tensor([0, 1, 1, 0]))
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)

    def test_with_arguments(self):
        clips = still_clips()
        batch, states = batch_of(clips, hold=True), random_states()
        labels = right_at(batch, "class", clips).flatten()
        objective = class_objective(
            clips, loss={"CrossEntropyLoss": {"weight": [1, 3], "label_smoothing": 0.1}}
        )
        by_hand = F.cross_entropy(
            states[FIRST:].flatten(0, 1), labels, torch.tensor([1.0, 3]), label_smoothing=0.1,
            reduction="none",
        ).mean()  # fmt: skip
        loss = objective.loss(piece_of(batch, states))
        assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)

    def test_targets_that_a_loss_cannot_take_are_told(self):
        clips = labelled([0, UNKNOWN_CLASS, 1, 1, 0, 1, 0])
        objective = class_objective(clips, loss="MultiMarginLoss")  # it knows no unknown class
        with pytest.raises(ParameterError, match="cannot take these targets") as error:
            objective.loss(piece_of(batch_of(clips, size=1), random_states()[:, :1]))
        assert "here.loss.MultiMarginLoss" in str(error.value)
        assert "\n" not in str(error.value)

    def test_none_takes_more_than_an_answer_and_a_target(self):
        names = set(known_losses())
        assert {"MSELoss", "CrossEntropyLoss", "BCEWithLogitsLoss"} < names
        assert not names & {
            "CTCLoss",
            "TripletMarginLoss",
            "GaussianNLLLoss",
            "CosineEmbeddingLoss",
            "MultiLabelMarginLoss",  # lists of class numbers, which no data here have
        }


class TestErrors:
    def test_of_classes_they_are_shares_of_wrong_ones(self):
        clips = still_clips()
        batch, states = batch_of(clips, hold=True), random_states()
        objective = class_objective(clips)
        errors = objective.errors(piece_of(batch, states))
        wrong = states[FIRST:].argmax(2) != right_at(batch, "class", clips)
        assert torch.equal(errors[..., 0], wrong.float())
        assert objective.columns == ("error rate",) and objective.is_judged

    def test_of_numbers_they_are_in_the_targets_unit(self):
        clips = drive_clips()
        large = replace(clips, targets={"drive": 1000 * clips.targets["drive"]})
        batch, states = batch_of(large), 1000 * random_states()
        errors = objective_of(large).errors(piece_of(batch, states))
        by_hand = (states[FIRST:] - right_at(batch, "drive", large)).abs()
        assert torch.allclose(errors, by_hand, rtol=1e-4, atol=1e-2)

    def test_of_a_target_without_names(self):
        clips = replace(drive_clips(), fields={})
        assert objective_of(clips, readout=[dense(2)]).columns == ("error",)


class TestFaultsAreOneLine:
    @pytest.mark.parametrize(
        "spec, words",
        [
            ({"of": "nope"}, ["here.of", "no such output or group", "drive", "stem", "nope"]),
            ({"target": "nope"}, ["here.target", "no such target", "image", "memory", "nope"]),
            ({"loss": "MSLoss"}, ["here.loss.MSLoss", "unknown loss", "MSELoss"]),
            ({"loss": "CTCLoss"}, ["unknown loss 'CTCLoss'"]),
            ({"loss": "MultiLabelMarginLoss"}, ["unknown loss", "MultiLabelSoftMarginLoss"]),
            ({"loss": {"SmoothL1Loss": {"betta": 1}}}, ["unknown argument 'betta'", "'beta'"]),
            ({"loss": {"MSELoss": {"reduction": "sum"}}}, ["'combine' says", "reduction"]),
            ({"loss": {"MSELoss": {"reduce": False}}}, ["'combine' says", "reduce"]),
            ({"target": "class"}, ["here.loss", "does not take classes", "MSELoss"]),
            ({"target": "class", "loss": {"MultiMarginLoss": {"p": 3}}}, ["torch refuses", "p"]),
            ({"of": "stem", "target": "class", "loss": "CrossEntropyLoss"},
             ["cannot answer with these classes", "2 features", "(6,)"]),
            ({"loss": "CrossEntropyLoss"}, ["cannot answer with these classes", "drive"]),
            ({"of": "stem"}, ["state and target differ in size", "2 elements", "(6,)"]),
            ({"of": "memory", "target": "stem"}, ["cannot compare these states", "readout"]),
            ({"of": "memory", "target": "memory", "loss": "NLLLoss"}, ["cannot compare", "NLL"]),
            ({"readout": ["Lineer"]}, ["here.readout[0].Lineer", "Linear"]),
            ({"readout": [{"Linear": {}}]}, ["here.readout[0].Linear", "out_features"]),
            ({"readout": [{"Conv2d": {"out_channels": 1, "kernel_size": 1}}]},
             ["here.readout[0].Conv2d"]),
            ({"readout": [{"shared": "eye"}]}, ["readout cannot use a shared stack"]),
            ({"readout": [dense(3)]}, ["state and target differ in size", "(3,)"]),
        ],
    )  # fmt: skip
    def test_what_does_not_fit(self, spec, words):
        with pytest.raises(StreamingNetError) as error:
            objective_of(numbered(30), **spec)
        for word in words:
            assert word in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("fields", [(), ("angular.z", "linear.y"), ("a", "b")])
    def test_fields_that_the_output_does_not_have(self, fields):
        clips = replace(drive_clips(), fields={"drive": fields} if fields else {})
        with pytest.raises(ParameterError, match="field"):
            objective_of(clips).loss(piece_of(batch_of(clips), random_states()))

    def test_weights_of_more_classes_than_there_are(self):
        clips = still_clips()
        objective = class_objective(clips, loss={"CrossEntropyLoss": {"weight": [1, 2, 3]}})
        with pytest.raises(ParameterError, match=r"cannot take these targets.*weight"):
            objective.loss(piece_of(batch_of(clips, hold=True), random_states()))

    def test_weights_of_classes_that_are_no_numbers(self):
        with pytest.raises(ParameterError, match="weight"):
            class_objective(still_clips(), loss={"CrossEntropyLoss": {"weight": "heavy"}})

    def test_a_state_of_maps_against_as_many_numbers(self):
        content = copy.deepcopy(SMALL)
        content["groups"][2]["apply"] = [{"Unflatten": {"dim": 1, "unflattened_size": [2, 1, 1]}}]
        content["outputs"] = {"map": {"group": "head"}}
        network = StreamingNetwork(parse_network(content))
        clips = replace(drive_clips(), fields={})
        states = random_states().unflatten(2, (2, 1, 1))
        batch = batch_of(clips)
        errors = objective_of(clips, network, of="map").errors(piece_of(batch, states))
        by_hand = (states[FIRST:].flatten(2) - right_at(batch, "drive", clips)).abs()
        assert np.allclose(errors.detach(), by_hand.detach(), atol=1e-5)


def test_stills_have_the_names_of_their_classes():
    assert still_clips().classes == {"class": CLASSES}
