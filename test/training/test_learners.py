"""Learners: each changes its own weights, when it is due, by what it follows and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.training import Piece, sequences_of
from streaming_net_ros.training.learners import make_learners
from training.toys import (
    adam,
    changed,
    dense,
    drive_clips,
    fit,
    learner,
    named,
    numbered,
    objective,
    resumed_and_whole,
    same,
    sgd,
    small_network,
    small_plan,
    still_clips,
    trainer_of,
    weights_of,
)

OPTIMISERS = sorted(
    name
    for name in dir(torch.optim)
    if isinstance(getattr(torch.optim, name), type)
    and issubclass(getattr(torch.optim, name), torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
)
SCHEDULERS = {
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 5], "gamma": 0.5},
    "ConstantLR": {"factor": 0.5, "total_iters": 5},
    "LinearLR": {"total_iters": 6},
    "ExponentialLR": {"gamma": 0.8},
    "PolynomialLR": {"total_iters": 7, "power": 2.0},
    "CosineAnnealingLR": {},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 1e-4, "step_size_up": 2},
    "OneCycleLR": {},
    "ReduceLROnPlateau": {"patience": 0, "factor": 0.5},
}


def lived(network, batch):
    """A whole sequence, as the network lives it: the piece and the states before each frame."""
    state, piece, before = network.init_state(), Piece(batch, 0, True), []
    for image in batch.images():
        before.append(state)
        state, nodes = network.advance(state, {"image": image})
        piece.nodes.append(nodes)
    return piece, before


def gradients_by_hand(network, plan, clips, step, number=0, target="drive"):
    """Of a learner's loss in a step, by torch's own back-propagation."""
    one = make_learners(plan, network, clips)[number]
    batch = sequences_of(plan, clips, network).batch(step - 1, plan.batch, plan.seed)
    loss = one.each_objective()[0].loss(lived(network, batch)[0])
    parameters = named(network)
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


class TestWhoseWeights:
    @pytest.mark.parametrize(
        "patterns",
        [
            ["stem.*"],
            ["*.bias"],
            ["head.*", "memory.edges.memory.*"],
            ["head.edges.stem.0.weight"],
            ["*"],
        ],
    )
    @pytest.mark.parametrize("optimizer", [sgd(), {"AdamW": {"lr": 0.01, "weight_decay": 0.1}}])
    def test_only_the_chosen_ones_change_by_a_single_bit(self, patterns, optimizer):
        network = small_network()
        before = weights_of(network)
        fit(small_plan(learner(parameters=patterns, optimizer=optimizer)), network)
        chosen = {n for n in named(network) for p in patterns if _fits(n, p)}
        assert changed(before, network) == chosen and chosen

    def test_two_learners_at_once_each_follow_only_their_own_loss(self):
        clips = numbered(40)
        plan = small_plan(
            learner(name="steer", parameters=["stem.*"], optimizer=sgd(0.1)),
            learner(
                objective(of="class", target="class", loss="CrossEntropyLoss"),
                name="name",
                parameters=["head.*"],
                optimizer=sgd(0.2),
            ),
            steps=1,
        )
        network = small_network()
        steer = gradients_by_hand(network, plan, clips, 1, 0)
        name = gradients_by_hand(network, plan, clips, 1, 1)
        before = weights_of(network)
        fit(plan, network, clips)
        for weight, p in named(network).items():
            was = before[f"groups.{weight}"]
            if weight.startswith("stem."):
                was = was - 0.1 * steer[weight]
            elif weight.startswith("head."):
                was = was - 0.2 * name[weight]
            assert torch.allclose(p, was, atol=1e-7), weight
        assert not torch.allclose(steer["head.edges.stem.0.weight"],
                                  name["head.edges.stem.0.weight"])  # fmt: skip

    def test_two_learners_of_the_same_weights_add_up(self):
        """As one learner with both losses does."""
        two = small_plan(
            learner(name="a", optimizer=sgd()),
            learner(objective(loss="MSELoss", weight=0.5), name="b", optimizer=sgd()),
            steps=1,
        )
        one = small_plan(
            learner(objective(), objective(loss="MSELoss", weight=0.5), optimizer=sgd()), steps=1
        )
        first, second = fit(two), fit(one)
        for name, p in named(first.network).items():
            assert torch.allclose(p, named(second.network)[name], atol=1e-6), name
        assert first.history.losses == pytest.approx(second.history.losses, rel=1e-6)

    def test_the_readout_is_learnt_too_and_is_no_part_of_the_network(self):
        plan = small_plan(
            learner(
                objective(of="stem", readout=[dense(2)]),
                parameters=["stem.*"],
                optimizer=sgd(),
            )
        )
        trainer = trainer_of(plan)
        (one,) = trainer._learners
        before = {n: p.detach().clone() for n, p in one.parameters.items()}
        trainer.step()
        assert set(before) > {"readout.0.readout.0.weight", "readout.0.readout.0.bias"}
        assert all(not torch.equal(p, before[n]) for n, p in one.parameters.items())
        assert not any("readout" in name for name in trainer._network.state_dict())

    def test_patterns_that_fit_nothing_are_told_with_names_that_there_are(self):
        with pytest.raises(ParameterError, match="no weight has such a name") as error:
            trainer_of(small_plan(learner(parameters=["stem.*", "tail.*"], name="odd")))
        for word in ("learners[0] (odd).parameters", "stem.edges.image.1.weight", "tail.*"):
            assert word in str(error.value)


def _fits(name, pattern):
    head, _, tail = pattern.partition("*")
    return name.startswith(head) and name.endswith(tail)


class TestSteps:
    def test_plain_gradient_descent_by_hand(self):
        clips, network = drive_clips(), small_network()
        plan = small_plan(learner(optimizer=sgd(0.3)), steps=1)
        by_hand = gradients_by_hand(network, plan, clips, 1)
        before = weights_of(network)
        (step,) = fit(plan, network, clips).steps
        for name, p in named(network).items():
            assert torch.allclose(p, before[f"groups.{name}"] - 0.3 * by_hand[name], atol=1e-6)
        norm = torch.cat([g.flatten() for g in by_hand.values()]).norm()
        assert step.changes["main"] == pytest.approx(float(norm), rel=1e-5)
        assert step.learning_rates == {"main": 0.3}

    def test_weights_of_objectives_are_factors_of_their_losses(self):
        one = fit(small_plan(learner(objective(weight=1.0), optimizer=sgd()), steps=1))
        ten = fit(small_plan(learner(objective(weight=10.0), optimizer=sgd(0.005)), steps=1))
        assert ten.history.losses[0] == pytest.approx(10 * one.history.losses[0])
        for name, p in named(one.network).items():
            assert torch.allclose(p, named(ten.network)[name], atol=1e-6)

    @pytest.mark.parametrize("limit", [1e-3, 1e3])
    def test_a_gradient_is_clipped_to_its_limit_and_told_as_it_was(self, limit):
        clips, network = drive_clips(), small_network()
        plan = small_plan(learner(optimizer=sgd(1.0), gradient_limit=limit), steps=1)
        norm = float(
            torch.cat(
                [g.flatten() for g in gradients_by_hand(network, plan, clips, 1).values()]
            ).norm()
        )
        before = weights_of(network)
        (step,) = fit(plan, network, clips).steps
        moved = torch.cat([(t - before[n]).flatten() for n, t in network.state_dict().items()])
        assert step.changes["main"] == pytest.approx(norm, rel=1e-5)
        assert float(moved.norm()) == pytest.approx(min(norm, limit), rel=1e-3)

    def test_of_every_third_step_the_weights_move_by_the_mean_of_three_gradients(self):
        clips, network = drive_clips(), small_network()
        plan = small_plan(learner(optimizer=sgd(0.3), every=3), steps=3)
        some = [gradients_by_hand(network, plan, clips, step) for step in (1, 2, 3)]
        before = weights_of(network)
        fit(plan, network, clips)
        for name, p in named(network).items():
            mean = sum(g[name] for g in some) / 3
            assert torch.allclose(p, before[f"groups.{name}"] - 0.3 * mean, atol=1e-6), name
        assert not torch.allclose(some[0][name], some[2][name])

    def test_they_move_at_every_third_step_only_and_the_others_at_each(self):
        plan = small_plan(
            learner(name="slow", parameters=["stem.*"], every=3),
            learner(name="fast", parameters=["head.*"]),
            steps=7,
        )
        trainer = trainer_of(plan)
        for number in range(1, 8):
            before = weights_of(trainer._network)
            step = trainer.step()
            groups = {name.split(".")[0] for name in changed(before, trainer._network)}
            assert groups == ({"stem", "head"} if number % 3 == 0 else {"head"})
            assert set(step.changes) == ({"slow", "fast"} if number % 3 == 0 else {"fast"})
            assert set(step.losses) == {"slow", "fast"}

    def test_a_group_out_of_the_losss_reach_keeps_its_weights(self):
        network = small_network()
        before = weights_of(network)
        plan = small_plan(learner(objective(of="stem", readout=[dense(2)]), optimizer=sgd()))
        fit(plan, network)
        assert {name.split(".")[0] for name in changed(before, network)} == {"stem", "memory"}


class TestOptimisers:
    @pytest.mark.parametrize("name", OPTIMISERS)
    def test_each_learns_and_goes_on_bit_for_bit_from_a_checkpoint(self, name, tmp_path):
        patterns = ["*.weight"] if name == "Muon" else ["*"]  # of matrices alone
        plan = small_plan(learner(optimizer={name: {"lr": 1e-2}}, parameters=patterns))
        (tensors, facts), (other, others) = resumed_and_whole(plan, tmp_path)
        assert same(tensors, other) and facts == others
        start = weights_of(small_network())
        assert any(not torch.equal(tensors[f"weights.{n}"], t) for n, t in start.items())

    def test_momentum_goes_on_too(self, tmp_path):
        plan = small_plan(learner(optimizer=sgd(0.05, momentum=0.9, nesterov=True)))
        (tensors, _), (other, _) = resumed_and_whole(plan, tmp_path)
        assert same(tensors, other)
        assert any(name.endswith("momentum_buffer") for name in tensors)

    def test_arguments_are_torchs_own(self):
        trainer = trainer_of(
            small_plan(learner(optimizer={"AdamW": {"lr": 0.01, "betas": [0.8, 0.9]}}))
        )
        (group,) = trainer._learners[0]._optimiser.param_groups
        assert (group["lr"], group["betas"]) == (0.01, (0.8, 0.9))

    @pytest.mark.parametrize(
        "optimizer, words",
        [
            ("Adamm", ["unknown optimiser 'Adamm'", "did you mean", "Adam"]),
            ("LBFGS", ["unknown optimiser"]),
            ("SparseAdam", ["unknown optimiser"]),
            ("Optimizer", ["unknown optimiser"]),
            ("lr_scheduler", ["unknown optimiser"]),
            ({"Adam": {"learning_rate": 1}}, ["unknown argument 'learning_rate'"]),
            ({"Adam": {"lr": -1}}, ["torch refuses", "-1"]),
            ({"Adam": {"lr": "fast"}}, ["torch refuses", "fast"]),
            ({"Adam": {"betas": [0.9, {}]}}, ["not an argument"]),
            ({"Adam": {"params": [1]}}, ["unknown argument 'params'"]),
            ({"SGD": {"lr": 0.1, "nesterov": True}}, ["torch refuses", "momentum"]),
            ("Muon", ["torch refuses", "2D"]),
        ],
    )
    def test_what_is_none_is_told_in_one_line(self, optimizer, words):
        with pytest.raises(ParameterError) as error:
            trainer_of(small_plan(learner(name="odd", optimizer=optimizer)))
        for word in ["learners[0] (odd).optimizer", *words]:
            assert word in str(error.value)
        assert "\n" not in str(error.value)


class TestSchedulers:
    @pytest.mark.parametrize("name", list(SCHEDULERS))
    def test_each_goes_on_bit_for_bit_from_a_checkpoint(self, name, tmp_path):
        plan = small_plan(learner(scheduler={name: SCHEDULERS[name]}), steps=8, validate_every=2)
        judge_on = drive_clips(20, seed=1)
        (tensors, facts), (other, others) = resumed_and_whole(plan, tmp_path, judge_on=judge_on)
        assert same(tensors, other)
        assert facts["learners"]["main"]["optimizer"] == others["learners"]["main"]["optimizer"]

    @pytest.mark.parametrize("name", [n for n in SCHEDULERS if n != "ReduceLROnPlateau"])
    @pytest.mark.parametrize("every", [1, 2])
    def test_rates_are_those_of_torchs_scheduler_once_per_update(self, name, every):
        plan = small_plan(
            learner(
                scheduler={name: SCHEDULERS[name]},
                optimizer={"RMSprop": {"lr": 0.02, "momentum": 0.5}},
                every=every,
            ),
            steps=12,
        )
        updates = 12 // every
        optimiser = torch.optim.RMSprop([nn.Parameter(torch.zeros(1))], lr=0.02, momentum=0.5)
        filled = {
            "CosineAnnealingLR": {"T_max": updates},
            "OneCycleLR": {"max_lr": 0.02, "total_steps": updates},
            "CyclicLR": {"max_lr": 0.02},
        }
        scheduler = getattr(lr_scheduler, name)(
            optimiser, **SCHEDULERS[name], **filled.get(name, {})
        )
        rates = []
        for number in range(1, 13):
            if number % every == 0:
                optimiser.step()
                scheduler.step()
            rates.append(optimiser.param_groups[0]["lr"])
        assert [step.learning_rates["main"] for step in fit(plan).steps] == pytest.approx(rates)

    def test_one_on_a_plateau_follows_the_validations(self):
        plan = small_plan(learner(scheduler={"ReduceLROnPlateau": {"patience": 1, "factor": 0.5}}))
        (one,) = make_learners(plan, small_network(), drive_clips())
        rates = []
        for score in (5, 4, 4, 4, 3, 3, 3, 3, 1, 9, 9):
            one.update()  # updates do not move it
            one.judge(score)
            rates.append(one.learning_rate / 1e-2)
        assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125]

    def test_the_trainer_tells_it_the_score(self):
        still = {"SGD": {"lr": 1e-12}}  # so that no validation is better than the first
        plan = small_plan(
            learner(
                optimizer=still,
                scheduler={"ReduceLROnPlateau": {"patience": 0, "factor": 0.1, "eps": 0}},
            ),
            steps=4,
            validate_every=1,
        )
        steps = fit(plan, judge_on=drive_clips(20, seed=1)).steps
        rates = [step.learning_rates["main"] for step in steps]
        assert rates == pytest.approx([1e-12, 1e-12, 1e-13, 1e-14], rel=1e-6, abs=0)

    @pytest.mark.parametrize(
        "scheduler, words",
        [
            ("OneCycle", ["unknown scheduler 'OneCycle'", "did you mean", "OneCycleLR"]),
            ("LambdaLR", ["unknown scheduler"]),
            ("MultiplicativeLR", ["unknown scheduler"]),
            ("SequentialLR", ["unknown scheduler"]),
            ("ChainedScheduler", ["unknown scheduler"]),
            ("LRScheduler", ["unknown scheduler"]),
            ("StepLR", ["argument 'step_size' is missing"]),
            ({"StepLR": {"stepsize": 3}}, ["unknown argument 'stepsize'", "step_size"]),
            ({"StepLR": {"step_size": 3, "optimizer": 1}}, ["unknown argument 'optimizer'"]),
            ({"OneCycleLR": {"anneal_strategy": "sudden"}}, ["torch refuses", "sudden"]),
            ({"OneCycleLR": {"total_steps": 5}}, ["ends before the training", "at least 6"]),
            ({"OneCycleLR": {"pct_start": 2.0}}, ["torch refuses", "pct_start"]),
            ({"ReduceLROnPlateau": {"factor": 2.0}}, ["torch refuses", "Factor"]),
        ],
    )
    def test_what_is_none_is_told_in_one_line(self, scheduler, words):
        with pytest.raises(ParameterError) as error:
            trainer_of(small_plan(learner(name="odd", scheduler=scheduler)))
        for word in ["learners[0] (odd).scheduler", *words]:
            assert word in str(error.value)
        assert "\n" not in str(error.value)

    def test_what_falls_over_a_training_falls_over_all_its_updates(self):
        for name in ("PolynomialLR", "CosineAnnealingLR"):
            plan = small_plan(learner(scheduler=name, every=2), steps=12)
            rates = [step.learning_rates["main"] for step in fit(plan).steps]
            assert rates == sorted(rates, reverse=True) and rates[-3] > 0
            assert rates[-1] == pytest.approx(0, abs=1e-9), name

    def test_one_on_a_plateau_needs_validations(self):
        plan = small_plan(learner(scheduler="ReduceLROnPlateau"))
        with pytest.raises(ParameterError, match="waits for validations") as error:
            trainer_of(plan)
        assert "learner main" in str(error.value)

    def test_ten_steps_of_which_a_tenth_warms_up(self):
        plan = small_plan(learner(scheduler={"OneCycleLR": {"pct_start": 0.1}}), steps=10)
        assert len(fit(plan).steps) == 10


def test_faults_name_the_learner_by_its_place_and_name():
    plan = small_plan(learner(), learner(objective(of="nope"), name="second"))
    with pytest.raises(ParameterError, match=r"learners\[1\] \(second\)\.objectives\[0\]\.of"):
        make_learners(plan, small_network(), drive_clips())


def test_learners_of_stills_learn_classes():
    plan = small_plan(
        learner(objective(of="class", target="class", loss="CrossEntropyLoss"),
                optimizer=adam(0.02)),
        steps=60,
        batch=8,
    )  # fmt: skip
    losses = fit(plan, clips=replace(still_clips(), name="stills")).history.losses
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
