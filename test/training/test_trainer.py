"""Training: it learns, goes on bit for bit where it was left, and says what went wrong where."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from networks import TINY
from streaming_net_ros.errors import ParameterError, RunError, WeightsError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.training import (
    Augmentation,
    Sequences,
    Trainer,
    Watching,
    find_target,
    judged,
    sequences_of,
    stream,
    train,
)
from streaming_net_ros.training.checkpoint import read_checkpoint
from training.toys import (
    FIELDS,
    FIRST,
    SMALL,
    adam,
    dense,
    drive_clips,
    fit,
    kept_in,
    learner,
    numbered,
    objective,
    same,
    sgd,
    small_network,
    small_plan,
    still_clips,
    weights_of,
)

HYBRID = {"base": "streaming", "delays": {"stem -> head": 0}}
LOOK = {"augmentation": {"mirror": True, "shift": 1, "brightness": 0.1, "noise": 0.05}}


def tiny_network(seed=0):
    return StreamingNetwork(parse_network(copy.deepcopy(TINY)), seed=seed)


def tiny_clips(frames=40, seed=0):
    return drive_clips(frames, seed, size=(12, 16), channels=3)


def class_objective(**more):
    return objective(of="class", target="class", loss="CrossEntropyLoss", **more)


def stop_after(steps):
    """Asks to stop after so many steps of this run."""
    left = [steps]

    def should_stop():
        left[0] -= 1
        return left[0] <= 0

    return Watching(should_stop=should_stop)


class TestItLearns:
    @pytest.mark.parametrize("rollout", ["streaming", "sequential", HYBRID])
    def test_the_loss_falls_to_a_fraction_under_any_rollout(self, rollout):
        plan = small_plan(steps=150, responses=6, batch=8)
        history = fit(plan, small_network(rollout)).history
        assert len(history.losses) == 150 and not history.was_interrupted
        assert np.mean(history.losses[-10:]) < 0.35 * np.mean(history.losses[:5])
        assert history.best_step == 150 and not history.stopped_early

    def test_early_and_full_responses_beat_the_mean_on_a_drive_never_seen(self):
        plan = small_plan(steps=250, responses=6, batch=8)
        network = fit(plan, clips=drive_clips(120)).network
        assert not network.training
        target = find_target(network, FIELDS)
        errors = judged(network, target, drive_clips(80, seed=1))
        assert errors.early.mae[0] < 0.6 * errors.mean.mae[0]
        assert errors.full.mae[0] < 1.2 * errors.mean.mae[0]  # later, on a fast toy

    def test_all_frames_from_the_first_response_on_teach(self):
        """With a target on one frame only, its response alone moves, whichever it is."""
        for frame in range(4):
            clips = drive_clips(6)
            known = clips.targets["drive"][frame].clone()
            clips.targets["drive"][:] = torch.nan
            clips.targets["drive"][frame] = known + 1
            losses = fit(small_plan(steps=30), clips=clips).history.losses
            assert losses[-1] < 0.5 * losses[0], frame

    def test_a_batch_without_a_target_teaches_nothing_and_harms_nothing(self):
        clips = drive_clips(6)
        clips.targets["drive"][:-2] = torch.nan  # the last two are in no response of a sequence
        network = small_network()
        before = weights_of(network)
        assert fit(small_plan(steps=3), network, clips).history.losses == (0.0, 0.0, 0.0)
        assert same(weights_of(network), before)

    def test_dropout_is_on_while_it_learns_and_off_when_it_is_judged(self):
        network, modes = small_network(dropout=0.5), []
        network.group("stem").after[1].register_forward_hook(
            lambda module, given_, result: modes.append(module.training)
        )
        plan = small_plan(steps=1, validate_every=1)
        fit(plan, network, judge_on=drive_clips(6, seed=1))
        assert modes[: FIRST + 3] == [True] * (FIRST + 3) and modes[-4:] == [False] * 4
        assert not network.training

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_in_half_precision_on_a_cpu(self, precision):
        plan = small_plan(learner(optimizer=adam(0.02)), steps=80, batch=8, precision=precision)
        done = fit(plan)
        assert np.mean(done.history.losses[-10:]) < 0.5 * np.mean(done.history.losses[:5])
        assert all(t.dtype is torch.float32 for t in done.network.state_dict().values())
        exact = fit(small_plan(learner(optimizer=adam(0.02)), steps=80, batch=8))
        assert done.history.losses != exact.history.losses
        assert done.history.losses[:5] == pytest.approx(exact.history.losses[:5], rel=0.1)


class TestOneSeedOneTraining:
    def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(self):
        found = []
        for _ in range(2):
            torch.rand(5), np.random.default_rng().random(3)
            plan = small_plan(steps=8, seed=3, **LOOK)
            done = fit(plan, small_network(dropout=0.3))
            found.append((done.history.losses, weights_of(done.network)))
        assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])

    def test_another_seed_gives_others(self):
        one, other = (fit(small_plan(steps=3, seed=seed)).network for seed in (3, 4))
        assert not same(weights_of(one), weights_of(other))

    def test_dropout_draws_anew_in_each_step(self):
        still = learner(optimizer=sgd(1e-30))
        plan = small_plan(still, steps=4, batch=1, responses=4)
        losses = fit(plan, small_network(dropout=0.5), drive_clips(6)).history.losses
        assert len(set(losses)) == 4  # of one sequence and weights that stay

    def test_nobody_elses_random_numbers_change(self):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        fit(small_plan(steps=2, **LOOK), small_network(dropout=0.5))
        assert torch.equal(torch.rand(3), expected)

    def test_a_validation_does_not_change_what_is_learnt(self):
        plan = small_plan(steps=6, validate_every=2, average=0.5, **LOOK)
        plain = fit(plan, small_network(dropout=0.3))
        watched = fit(plan, small_network(dropout=0.3), judge_on=drive_clips(20, seed=1))
        assert plain.history.losses == watched.history.losses


def slow_and_fast(**more):
    return [
        learner(name="slow", parameters=["stem.*"], every=3, **more),
        learner(name="fast", parameters=["head.*", "memory.*"]),
    ]


ON_STILLS = {"clips": still_clips, "judge_on": lambda: still_clips(8, seed=1)}
ON_MAPS = {
    "network": tiny_network,
    "clips": tiny_clips,
    "judge_on": lambda: tiny_clips(14, seed=1),
}
# name -> (plan, what differs from the small network and a drive)
RESUMED = {
    "plain": (small_plan(), {}),
    "dropout and noise": (
        small_plan(**LOOK),
        {"network": lambda seed=0: small_network(seed=seed, dropout=0.4)},
    ),
    "scheduler": (small_plan(learner(scheduler="OneCycleLR", gradient_limit=0.1)), {}),
    "momentum": (small_plan(learner(optimizer=sgd(momentum=0.9))), {}),
    "average": (small_plan(average=0.7), {}),
    "accumulate": (small_plan(accumulate=2, **LOOK), {}),
    "every third": (small_plan(*slow_and_fast()), {}),
    "truncated": (small_plan(responses=6, truncate=3, steps=8, **LOOK), {}),
    "truncated, longest delay 2": (
        small_plan(responses=6, truncate=3, steps=8),
        {
            "network": lambda seed=0: small_network(
                {"base": "streaming", "delays": {"memory -> memory": 2}}, seed
            )
        },
    ),
    "truncated maps": (small_plan(responses=6, truncate=3, steps=6, batch=2), ON_MAPS),
    "every third, truncated": (
        small_plan(*slow_and_fast(), responses=6, truncate=3, steps=8, average=0.9),
        {},
    ),
    "temporal differences and a switch": (
        small_plan(learner(class_objective(combine="td")), switch=[2, 4]),
        ON_STILLS,
    ),
    "readout": (small_plan(learner(objective(of="stem", readout=[dense(2)]))), {}),
    "a node to predict": (
        small_plan(
            learner(
                objective(),
                objective(of="memory", target="stem", readout=[dense(6)], ahead=1, loss="MSELoss"),
            )
        ),
        {},
    ),
    "hebbian": (
        small_plan(
            learner(parameters=["head.*"]),
            {"name": "hebb", "every": 2, "hebbian": {"edge": "stem -> memory", "rate": 0.1}},
        ),
        {},
    ),
    "bfloat16": (small_plan(precision="bfloat16"), {}),
    "float16": (small_plan(precision="float16"), {}),
    "sequential": (small_plan(), {"network": lambda seed=0: small_network("sequential", seed)}),
}


def run_to(path, plan, resume=False, watching=None, seed=0, *, network=small_network,
           clips=drive_clips, judge_on=lambda: drive_clips(20, seed=1)):  # fmt: skip
    return fit(
        plan,
        network(seed=seed),
        clips(),
        watching,
        judge_on(),
        checkpoint=path,
        resume=resume,
    )


class TestGoingOn:
    def check(self, tmp_path, plan, done, how):
        whole = run_to(tmp_path / "whole.safetensors", plan, **how)
        path = tmp_path / "parts.safetensors"
        first = run_to(path, plan, watching=stop_after(done), **how)
        assert first.history.was_interrupted and len(first.history.losses) == done
        torch.rand(3)
        second = run_to(path, plan, resume=True, seed=77, **how)
        assert [step.number for step in second.steps] == list(range(done + 1, plan.steps + 1))
        tensors, facts = kept_in(tmp_path / "whole.safetensors")
        others, other = kept_in(path)
        assert same(tensors, others)  # weights, best, average, states, optimisers, gradients
        assert facts == other  # history, counts, rates
        assert second.history.losses == whole.history.losses
        assert str(second.history.validations) == str(whole.history.validations)
        assert second.history.best_step == whole.history.best_step
        assert second.history.seconds > first.history.seconds > 0
        assert same(weights_of(second.network), weights_of(whole.network))

    @pytest.mark.parametrize("name", list(RESUMED))
    def test_is_as_if_it_had_never_been_interrupted_bit_for_bit(self, name, tmp_path):
        plan, how = RESUMED[name]
        self.check(tmp_path, plan, 4, how)

    @pytest.mark.parametrize("done", [1, 2, 3, 5, 6, 7])
    @pytest.mark.parametrize("name", ["truncated", "every third, truncated"])
    def test_wherever_it_was_interrupted(self, name, done, tmp_path):
        plan, how = RESUMED[name]
        self.check(tmp_path, plan, done, how)

    def test_with_dropout_in_a_readout(self, tmp_path):
        readout = [{"Dropout": {"p": 0.4}}, dense(2)]
        plan = small_plan(learner(objective(of="stem", readout=readout)))
        self.check(tmp_path, plan, 4, {})

    def test_carried_states_come_back_in_the_layout_of_states(self, tmp_path):
        """torch picks kernels by strides, and kernels round differently: see docs/equality.md."""
        plan = small_plan(responses=6, truncate=3, batch=2)
        trainers = []
        for _ in range(2):
            network = tiny_network()
            trainers.append(Trainer(network, sequences_of(plan, tiny_clips(), network), plan))
        one, other = trainers
        one.step()
        one.save(tmp_path / "c.safetensors")
        other.load(tmp_path / "c.safetensors")
        for name, states in one._state.history.items():
            for before, after in zip(states, other._state.history[name], strict=True):
                assert (before is None) == (after is None)
                assert before is None or before.stride() == after.stride(), name

    def test_a_checkpoint_is_there_at_each_landmark_and_at_the_end(self, tmp_path):
        path, seen = tmp_path / "c.safetensors", []

        def on_step(step):
            seen.append(len(read_checkpoint(path)[1]["losses"]) if path.exists() else 0)

        plan = small_plan(steps=7, validate_every=3)
        fit(plan, checkpoint=path, watching=Watching(on_step=on_step))
        assert seen == [0, 0, 0, 3, 3, 3, 6]
        assert len(read_checkpoint(path)[1]["losses"]) == 7

    def test_what_is_done_is_done(self, tmp_path):
        path = tmp_path / "c.safetensors"
        first = run_to(path, small_plan())
        again = run_to(path, small_plan(), resume=True, seed=5)
        assert again.steps == [] and again.history.losses == first.history.losses
        assert same(weights_of(first.network), weights_of(again.network))

    def test_who_watches_is_told_where_it_goes_on(self, tmp_path):
        told, path = [], tmp_path / "c.safetensors"
        run_to(path, small_plan(), watching=replace(stop_after(2), on_begin=told.append))
        run_to(path, small_plan(), resume=True, watching=Watching(on_begin=told.append))
        assert told == [0, 2]

    def test_how_often_it_is_judged_may_change(self, tmp_path):
        path = tmp_path / "c.safetensors"
        run_to(path, small_plan(validate_every=3), watching=stop_after(4))
        done = run_to(path, small_plan(validate_every=1), resume=True)
        assert [v.step for v in done.history.validations] == [3, 5, 6]

    @pytest.mark.parametrize(
        "change, word",
        [
            ({"steps": 7}, "steps"),
            ({"batch": 3}, "batch"),
            ({"seed": 1}, "seed"),
            ({"average": 0.5}, "average"),
            ({"augmentation": {"noise": 0.1}}, "augmentation"),
            ({"learners": [learner(name="other")]}, "learners"),
            ({"responses": 5}, "responses"),
        ],
    )
    def test_another_plan_is_refused(self, tmp_path, change, word):
        path = tmp_path / "c.safetensors"
        run_to(path, small_plan(), watching=stop_after(2))
        before = path.read_bytes()
        with pytest.raises(WeightsError, match="of another training") as error:
            run_to(path, small_plan(**change), resume=True)
        assert word in str(error.value) and "the checkpoint" in str(error.value)
        assert path.read_bytes() == before

    def test_other_data_are_refused(self, tmp_path):
        path = tmp_path / "c.safetensors"
        run_to(path, small_plan(), watching=stop_after(2))
        with pytest.raises(WeightsError, match="another number of sequences"):
            run_to(path, small_plan(), resume=True, clips=lambda: drive_clips(61))
        with pytest.raises(WeightsError, match="another data"):
            run_to(path, small_plan(), resume=True, clips=lambda: drive_clips(seed=1))

    def test_another_rollout_is_refused(self, tmp_path):
        path = tmp_path / "c.safetensors"
        delays = {"base": "streaming", "delays": {"memory -> head": 2}}
        run_to(path, small_plan(), watching=stop_after(2))
        with pytest.raises(WeightsError, match="another rollout"):
            run_to(path, small_plan(), resume=True,
                   network=lambda seed: small_network(delays, seed))  # fmt: skip

    def test_another_network_is_refused(self, tmp_path):
        path = tmp_path / "c.safetensors"
        run_to(path, small_plan(), watching=stop_after(2))
        content = copy.deepcopy(SMALL)
        content["groups"][1]["edges"][0]["layers"] = ["Tanh", dense(5)]
        other = StreamingNetwork(parse_network(content))
        with pytest.raises(WeightsError, match="of another network") as error:
            run_to(path, small_plan(), resume=True, network=lambda seed: other)
        assert "\n" not in str(error.value)

    def test_a_file_that_is_no_checkpoint_is_refused(self, tmp_path):
        path = tmp_path / "c.safetensors"
        with pytest.raises(WeightsError, match="cannot read the checkpoint"):
            run_to(path, small_plan(), resume=True)
        path.write_text("nonsense")
        with pytest.raises(WeightsError, match="cannot read the checkpoint"):
            run_to(path, small_plan(), resume=True)


def recorded(network, plan, clips, steps):
    """The head's states of some steps, in order."""
    states = []
    network.group("head").register_forward_hook(lambda module, given_, state: states.append(state))
    trainer = Trainer(network, sequences_of(plan, clips, network), plan)
    for _ in range(steps):
        trainer.step()
    return states


class TestTruncation:
    def test_states_are_those_of_the_whole_sequence(self):
        """Weights hardly move, so that pieces of one sequence meet the same ones."""
        still = learner(optimizer=sgd(1e-30))
        clips = drive_clips()
        whole = recorded(small_network(), small_plan(still, responses=6), clips, 2)
        parts = recorded(small_network(), small_plan(still, responses=6, truncate=3), clips, 2 * 3)
        assert len(whole) == len(parts) == 2 * 6  # silent ones are not asked at all
        assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))

    def test_gradients_do_not_cross_the_border_of_a_piece(self):
        """Two updates by hand, the state of the first piece cut off before the second."""
        clips, rate = drive_clips(), 0.5
        plan = small_plan(learner(optimizer=sgd(rate)), responses=6, truncate=4, steps=2)
        network = small_network()
        fit(plan, network, clips)

        def by_hand(is_cut):
            other = small_network()
            other.train()
            sequences = sequences_of(plan, clips, other)
            batch = sequences.batch(0, plan.batch, plan.seed)
            images, scale = batch.images(), clips.deviation("drive")
            targets = clips.targets["drive"][batch.rows]
            state, leaves = other.init_state(), dict(other.named_parameters())
            for first in (0, 4):
                losses = []
                if not is_cut and first:  # live it again, under the weights of now
                    state = other.init_state()
                    for t in range(first):
                        state, _ = other.advance(state, {"image": images[t]})
                for t in range(first, first + 4):
                    state, nodes = other.advance(state, {"image": images[t]})
                    if t >= FIRST:
                        difference = (nodes["head"] - targets[t - FIRST]) / scale
                        losses.append(torch.nn.functional.smooth_l1_loss(
                            difference, torch.zeros_like(difference)))  # fmt: skip
                gradients = torch.autograd.grad(
                    torch.stack(losses).mean(), list(leaves.values()), allow_unused=True
                )
                with torch.no_grad():
                    for leaf, gradient in zip(leaves.values(), gradients, strict=True):
                        if gradient is not None:
                            leaf.sub_(rate * gradient)
                state = state.detach()
            return weights_of(other)

        for name, tensor in by_hand(is_cut=True).items():
            assert torch.allclose(network.state_dict()[name], tensor, atol=1e-6), name
        uncut = by_hand(is_cut=False)
        assert any(not torch.allclose(network.state_dict()[n], t, atol=1e-5)
                   for n, t in uncut.items())  # fmt: skip

    def test_a_piece_of_a_sequence_makes_one_step_and_silent_ones_have_no_loss(self):
        plan = small_plan(responses=4, truncate=2, steps=6)
        steps = fit(plan).steps
        assert [bool(step.losses) for step in steps] == [False, True, True] * 2
        assert [step.loss > 0 for step in steps] == [False, True, True] * 2

    @pytest.mark.parametrize("truncate", [6, 7, 100])
    def test_longer_than_the_sequence_is_not_at_all(self, truncate):
        one = fit(small_plan(responses=4))
        other = fit(small_plan(responses=4, truncate=truncate))
        assert one.history.losses == other.history.losses
        assert same(weights_of(one.network), weights_of(other.network))


class TestAccumulate:
    @pytest.mark.parametrize("turns", [2, 3])
    def test_some_small_batches_are_one_large_one(self, turns):
        def plan(**more):
            return small_plan(learner(optimizer=sgd(0.2)), steps=4, **more)

        parts = fit(plan(batch=2, accumulate=turns))
        whole = fit(plan(batch=2 * turns))
        assert parts.history.losses == pytest.approx(whole.history.losses, rel=1e-5)
        for name, tensor in parts.network.state_dict().items():
            assert torch.allclose(tensor, whole.network.state_dict()[name], atol=1e-6), name
        one = parts.steps[0].changes["main"]
        assert one == pytest.approx(whole.steps[0].changes["main"], rel=1e-4)


class TestAverage:
    def test_it_decays_towards_the_weights_step_by_step(self):
        network = small_network()
        expected = weights_of(network)

        def on_step(step):
            for name, tensor in network.state_dict().items():
                expected[name] = 0.8 * expected[name] + 0.2 * tensor

        done = fit(small_plan(average=0.8), network, watching=Watching(on_step=on_step))
        for name, tensor in done.network.state_dict().items():
            assert torch.allclose(tensor, expected[name], atol=1e-6), name
        assert done.history.best_step == 6

    def test_learning_goes_on_from_the_weights_themselves(self):
        plain, averaged = fit(small_plan()), fit(small_plan(average=0.99))
        assert plain.history.losses == averaged.history.losses
        assert not same(weights_of(plain.network), weights_of(averaged.network))

    def test_what_is_judged_and_kept_is_the_average(self, tmp_path):
        clips, path = drive_clips(20, seed=1), tmp_path / "c.safetensors"
        plan = small_plan(average=0.8, steps=4, validate_every=4)
        done = fit(plan, judge_on=clips, checkpoint=path)
        tensors, _ = read_checkpoint(path)
        for name, tensor in weights_of(done.network).items():
            assert torch.equal(tensor, tensors[f"average.{name}"])
            assert torch.equal(tensor, tensors[f"best.{name}"])
        fresh = Trainer(done.network, sequences_of(plan, drive_clips(), done.network), plan,
                        sequences_of(plan, clips, done.network, to_judge=True))  # fmt: skip
        fresh._average = None
        assert fresh.validate().score == done.history.validations[-1].score

    def test_of_nothing_is_the_weights_of_the_moment(self):
        plain, averaged = fit(small_plan()), fit(small_plan(average=0.0))
        for name, tensor in plain.network.state_dict().items():
            assert torch.allclose(tensor, averaged.network.state_dict()[name], atol=1e-7)


class TestValidation:
    def test_it_tells_the_error_by_frames_since_the_first_response(self):
        seen = []
        plan = small_plan(steps=7, validate_every=3, responses=5)
        done = fit(plan, judge_on=drive_clips(40, seed=1),
                   watching=Watching(on_validation=seen.append))  # fmt: skip
        assert [v.step for v in seen] == [3, 6, 7]
        assert tuple(seen) == done.history.validations
        for validation in seen:
            assert validation.errors["main/drive"].shape == (5, 2)
            assert validation.columns == {"main/drive": FIELDS}
        assert "drive angular.z" in str(seen[0]) and "step 3" in str(seen[0])

    def test_its_errors_are_those_of_the_streams_it_restarts(self):
        clips = drive_clips(6, seed=2)  # one sequence
        done = fit(small_plan(), judge_on=clips)
        assert done.history.best_step == 6
        answers = stream(done.network, find_target(done.network, FIELDS), clips.images)
        by_hand = np.abs(answers - clips.targets["drive"][: len(answers)].numpy())
        errors = done.history.validations[-1].errors["main/drive"]
        assert np.allclose(errors, by_hand, atol=1e-6)
        expected = (errors / drive_clips().deviation("drive").numpy()).mean()
        assert done.history.validations[-1].score == pytest.approx(expected, rel=1e-5)

    def test_of_classes_it_is_the_share_of_wrong_ones(self):
        clips = still_clips(9, seed=1)
        plan = small_plan(learner(class_objective()), steps=3)
        done = fit(plan, clips=still_clips(), judge_on=clips)
        errors = done.history.validations[-1].errors["main/class"]
        assert errors.shape == (4, 1)
        wrong = []
        for k in range(9):
            state = done.network.init_state()
            for _ in range(FIRST + 4):
                state, nodes = done.network.advance(state, {"image": clips.images_of(k)})
                if nodes["head"] is not None:
                    wrong.append(int(nodes["head"].argmax()) != int(clips.targets["class"][k]))
        assert np.allclose(errors[:, 0], np.array(wrong).reshape(9, 4).mean(0))

    @pytest.mark.parametrize("truncate", [None, 1, 3, 100])
    def test_it_lives_pieces_as_long_as_those_that_are_learnt_from(self, truncate):
        plan = small_plan(responses=5, truncate=truncate, steps=1, validate_every=1)
        errors = [
            fit(small_plan(learner(optimizer=sgd(1e-30)), responses=5, truncate=pieces, steps=1),
                judge_on=drive_clips(30, seed=1)).history.validations[0].errors["main/drive"]
            for pieces in (plan.truncate, None)
        ]  # fmt: skip
        assert errors[0].shape == (5, 2) and np.allclose(*errors, atol=1e-6)

    def test_pictures_are_shown_as_they_are_but_for_the_cameras_noise(self):
        network = small_network()
        plan = small_plan(**LOOK)
        clips = drive_clips()
        assert sequences_of(plan, clips, network).augmentation == plan.augmentation
        to_judge = sequences_of(plan, clips, network, to_judge=True)
        assert to_judge.augmentation == Augmentation(noise=0.05)

    def test_the_best_weights_are_kept_not_the_last(self):
        kept, network = {}, small_network()

        def on_validation(validation):
            kept[validation.step] = (validation.score, weights_of(network))
            if validation.step == 8:  # from here on it can only get worse
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(50)

        plan = small_plan(steps=12, validate_every=4)
        done = fit(plan, network, judge_on=drive_clips(30, seed=1),
                   watching=Watching(on_validation=on_validation))  # fmt: skip
        assert done.history.best_step == 8 and kept[8][0] < kept[12][0]
        assert same(kept[8][1], weights_of(network))

    def test_weights_of_the_second_half_compete_only_with_each_other(self):
        """Hardly trained weights may look best by luck, on a small part to validate on."""
        network = small_network()

        def on_validation(validation):
            if validation.step == 4:
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(50)

        plan = small_plan(steps=12, validate_every=4)
        history = fit(plan, network, judge_on=drive_clips(30, seed=1),
                      watching=Watching(on_validation=on_validation)).history  # fmt: skip
        scores = {v.step: v.score for v in history.validations}
        assert scores[4] == min(scores.values())
        assert history.best_step == min((8, 12), key=scores.__getitem__)

    @pytest.mark.parametrize("patience", [1, 2, 4])
    def test_patience_ends_what_gets_no_better(self, patience):
        still = learner(optimizer=sgd(1e-30))
        plan = small_plan(still, steps=40, validate_every=2, patience=patience)
        history = fit(plan, judge_on=drive_clips(20, seed=1)).history
        assert history.stopped_early and len(history.losses) == 2 * (1 + patience)
        assert history.best_step == 2

    def test_patience_waits_for_what_gets_better(self):
        plan = small_plan(steps=30, validate_every=5, patience=1, batch=8)
        history = fit(plan, clips=drive_clips(20), judge_on=drive_clips(20)).history
        assert not history.stopped_early and len(history.losses) == 30

    def test_each_target_of_an_output_is_judged(self):
        named = objective("drive", "class", "CrossEntropyLoss")
        predicted = objective(target="memory", readout=[dense(5)], loss="MSELoss")
        plan = small_plan(learner(objective(), named, predicted))
        history = fit(plan, clips=numbered(60), judge_on=numbered(20)).history
        assert history.validations[0].columns == {
            "main/drive": FIELDS,
            "main/drive 2": ("error rate",),
        }


class TestTrouble:
    def poisoned(self, network, group, source, at):
        """Makes a weight no number after a step."""

        def on_step(step):
            if step.number == at:
                with torch.no_grad():
                    network.group(group).edges[source][-1].weight.fill_(math.nan)

        return Watching(on_step=on_step)

    @pytest.mark.parametrize(
        "rollout, group, source, frame",
        [
            ("streaming", "stem", "image", 1),
            ("streaming", "memory", "stem", 2),
            ("streaming", "memory", "memory", 3),
            ("streaming", "head", "stem", 2),
            ("streaming", "head", "memory", 3),
            ("sequential", "head", "memory", 0),
            ("sequential", "stem", "memory", 1),
        ],
    )
    def test_a_state_that_is_no_number_names_step_frame_and_group(
        self, rollout, group, source, frame
    ):
        network = small_network(rollout)
        plan = small_plan(responses=6)
        with pytest.raises(RunError, match="a state is no longer a number") as error:
            fit(plan, network, watching=self.poisoned(network, group, source, at=4))
        assert f"training step 5: frame {frame}, group {group}:" in str(error.value)
        assert "learning rate" in str(error.value)

    def test_frames_of_pieces_are_counted_over_the_sequence(self):
        network = small_network()
        plan = small_plan(responses=6, truncate=3)
        with pytest.raises(RunError, match="step 2: frame 3, group head"):
            fit(plan, network, watching=self.poisoned(network, "head", "stem", at=1))

    def test_a_loss_alone_that_is_no_number(self):
        plan = small_plan(learner(objective(weight=1e300)))
        with pytest.raises(RunError, match="the loss is no longer a number, though every state"):
            fit(plan)

    def test_a_gradient_alone_that_is_no_number_changes_nothing(self):
        network = small_network()
        before = weights_of(network)
        plan = small_plan(learner(objective(weight=1e37), optimizer=sgd()))
        with pytest.raises(RunError, match="a gradient is no longer a number") as error:
            fit(plan, network)
        assert "step 1, learner main" in str(error.value) and "inf" in str(error.value)
        assert same(before, weights_of(network))

    def test_a_trainings_end_by_trouble_leaves_the_best_weights_and_a_checkpoint(self, tmp_path):
        network, path, kept = small_network(), tmp_path / "c.safetensors", {}
        watching = self.poisoned(network, "head", "stem", at=5)
        watching = replace(watching, on_validation=lambda v: kept.update(weights_of(network)))
        plan = small_plan(validate_every=2)
        with pytest.raises(RunError):
            fit(plan, network, watching=watching, judge_on=drive_clips(20, seed=1),
                checkpoint=path)  # fmt: skip
        assert same(weights_of(network), kept) and not network.training
        shutil.copy(path, tmp_path / "copy.safetensors")
        again = fit(plan, small_network(seed=4), judge_on=drive_clips(20, seed=1),
                    checkpoint=tmp_path / "copy.safetensors", resume=True)  # fmt: skip
        assert [step.number for step in again.steps] == [5, 6]
        whole = fit(plan, judge_on=drive_clips(20, seed=1))
        assert same(weights_of(again.network), weights_of(whole.network))

    def test_an_exception_of_who_watches_passes_and_leaves_the_best_weights(self):
        network, kept = small_network(), {}

        def on_step(step):
            if step.number == 5:
                raise KeyboardInterrupt

        watching = Watching(on_step, lambda v: kept.update(weights_of(network)))
        with pytest.raises(KeyboardInterrupt):
            fit(small_plan(validate_every=4), network, judge_on=drive_clips(20, seed=1),
                watching=watching)  # fmt: skip
        assert same(weights_of(network), kept)

    def test_a_checkpoint_that_cannot_be_written(self, tmp_path):
        with pytest.raises(WeightsError, match="cannot write the checkpoint"):
            fit(small_plan(), checkpoint=tmp_path / "nowhere" / "c.safetensors")


class TestStopping:
    def test_it_stops_after_its_step_and_keeps_the_best_so_far(self):
        network, kept = small_network(), {}
        watching = replace(stop_after(5), on_validation=lambda v: kept.update(weights_of(network)))
        plan = small_plan(validate_every=4, steps=9)
        done = fit(plan, network, judge_on=drive_clips(20, seed=1), watching=watching)
        assert done.history.was_interrupted and not done.history.stopped_early
        assert done.history.best_step == 4 and len(done.history.losses) == 5
        assert same(weights_of(network), kept)

    def test_before_the_first_validation_what_is_there_is_kept(self):
        done = fit(small_plan(), judge_on=drive_clips(20, seed=1), watching=stop_after(1))
        assert done.history.was_interrupted and done.history.best_step == 1
        assert all(t.isfinite().all() for t in done.network.state_dict().values())

    def test_after_the_last_step_nobody_is_asked(self):
        done = fit(small_plan(steps=3), watching=stop_after(3))
        assert not done.history.was_interrupted and len(done.history.losses) == 3


class TestWhatDoesNotFit:
    def test_sequences_that_end_before_the_first_response(self):
        network = small_network()
        with pytest.raises(ParameterError, match="end before the first response") as error:
            train(network, Sequences(drive_clips(), 2), small_plan())
        assert "more than 2 frames" in str(error.value)
        plan = small_plan(learner(objective(responses=[4, None])))
        with pytest.raises(ParameterError, match="more than 6 frames"):
            train(network, sequences_of(plan, drive_clips(), network), plan)

    def test_a_network_with_two_inputs_is_refused(self):
        content = copy.deepcopy(SMALL)
        content["inputs"]["speed"] = {
            "type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"],
        }  # fmt: skip
        content["groups"][2]["edges"].append({"source": "speed", "layers": [dense(2)]})
        with pytest.raises(ParameterError, match="one image input"):
            fit(small_plan(), StreamingNetwork(parse_network(content)))

    def test_a_hebbian_rule_alone_is_a_training(self):
        plan = small_plan({"hebbian": {"edge": "stem -> memory"}})
        network = small_network()
        before = weights_of(network)
        fit(plan, network)
        assert not same(before, weights_of(network))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's inductor needs g++")
def test_compiled_groups_learn_what_the_others_learn():
    """Layers fused into new code round otherwise, but hardly."""
    content = copy.deepcopy(SMALL)
    content["groups"] = [
        {"name": "stem",
         "edges": [{"source": "image", "layers": ["Flatten", dense(6)]}], "apply": ["Tanh"]},
        {"name": "head", "edges": [{"source": "stem", "layers": [dense(2)]}]},
    ]  # fmt: skip
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = []
    for is_compiled in (False, True):
        network = StreamingNetwork(parse_network(content))
        found.append(fit(small_plan(steps=4, compile=is_compiled), network).history.losses)
        counted = torch._dynamo.utils.counters
        assert bool(counted["stats"]["unique_graphs"]) == is_compiled
    # Every layer is in a graph, and none breaks it: dense, tanh, dense, and the normalisation.
    assert counted["stats"]["calls_captured"] >= 6 and not counted["graph_break"]
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    torch._dynamo.reset()
