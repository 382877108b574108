"""Training: it learns, reaches every group, repeats bit for bit, and says what went wrong."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from networks import TINY
from recordings import toy_drive
from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.theory import sequential
from streaming_net_ros.training import (
    Augmentation,
    Segment,
    TrainingPlan,
    Windows,
    find_target,
    judged,
    responses_of,
    stream,
    train,
)

WINDOW = 9


@pytest.fixture(autouse=True)
def one_thread():
    """The same seed promises the same bits on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_segment(frames=80, seed=0, field=None):
    pictures, steering = toy_drive(frames, seed)
    targets = steering.astype(np.float32)[:, None]
    if field is not None:
        targets = np.concatenate([targets, np.full_like(targets, field)], axis=1)
    images = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    return Segment(np.arange(frames, dtype=np.int64), images, targets, "toy")


def tiny_network(rollout=None, seed=0, **changes):
    spec = parse_network({**copy.deepcopy(TINY), **changes})
    return StreamingNetwork(spec, rollout and rollout(spec.graph), seed=seed)


def windows_of(segment, augmentation=None):
    return Windows([segment], WINDOW, ["angular.z"], augmentation)


def trained(steps=60, seed=0, network=None, segment=None, **kwargs):
    network = network or tiny_network(seed=seed)
    target = find_target(network, ["twist.angular.z"])
    plan = TrainingPlan(steps=steps, batch=8, learning_rate=5e-3, validate_every=20, seed=seed)
    windows = windows_of(segment or toy_segment(), Augmentation(mirror=True))
    return network, train(network, target, windows, plan, **kwargs)


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


class TestItLearns:
    def test_the_loss_falls_to_a_fraction(self):
        _, history = trained(steps=80)
        assert len(history.losses) == 80
        assert np.mean(history.losses[-10:]) < 0.2 * np.mean(history.losses[:5])
        assert history.best_step == 80 and not history.was_interrupted

    def test_early_and_full_responses_beat_the_mean_on_a_drive_never_seen(self):
        network, _ = trained(steps=80)
        target = find_target(network, ["angular.z"])
        errors = judged(network, target, [toy_segment(seed=1)])
        assert errors.early.mae[0] < 0.5 * errors.mean.mae[0]
        assert errors.full.mae[0] < errors.mean.mae[0] * 1.2  # two frames late, on a fast toy
        assert not network.training

    def test_a_sequential_rollout_learns_too(self):
        network, history = trained(steps=60, network=tiny_network(sequential))
        assert find_target(network, ["angular.z"]).times.first_frames == 0
        assert np.mean(history.losses[-10:]) < 0.3 * np.mean(history.losses[:5])

    def test_all_frames_from_the_first_response_on_teach(self):
        """With a target on one frame only, its response alone moves, whichever it is."""
        for frame in (0, 2, WINDOW - 3):
            segment = toy_segment(WINDOW)
            known = segment.targets[frame].copy()
            segment.targets[:] = np.nan
            segment.targets[frame] = known
            _, history = trained(steps=40, segment=segment)
            assert history.losses[-1] < 0.5 * history.losses[0]

    def test_a_batch_without_a_target_teaches_nothing_and_harms_nothing(self):
        segment = toy_segment(WINDOW)
        segment.targets[:-1] = np.nan  # the last image is in no response of this window
        network = tiny_network()
        _, history = trained(steps=3, network=network, segment=segment)
        assert history.losses == (0.0, 0.0, 0.0)


class TestGradients:
    def test_they_reach_every_weight_that_a_window_can_use(self):
        network = tiny_network()
        target = find_target(network, ["angular.z", "linear.x"])
        images = torch.from_numpy(windows_of(toy_segment()).batch([0, 5]).images)
        torch.stack(list(responses_of(network, target, images))).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name

    def test_through_time_into_the_recurrent_edge(self):
        """The last response alone moves the weights that carry states from frame to frame."""
        network = tiny_network()
        target = find_target(network, ["angular.z"])
        images = torch.from_numpy(windows_of(toy_segment()).batch([0]).images)
        list(responses_of(network, target, images))[-1].sum().backward()
        weight = network.group("memory").get_parameter("edges.memory.0.weight")
        assert weight.grad is not None and weight.grad.abs().sum() > 0


class TestOneSeedOneTraining:
    def test_the_same_seed_gives_the_same_bits(self):
        one, first = trained(steps=10, seed=3)
        other, second = trained(steps=10, seed=3)
        assert first.losses == second.losses
        for name, tensor in weights_of(one).items():
            assert torch.equal(tensor, other.state_dict()[name]), name

    def test_another_seed_gives_others(self):
        one, _ = trained(steps=3, seed=3)
        other, _ = trained(steps=3, seed=4)
        assert any(
            not torch.equal(tensor, other.state_dict()[name])
            for name, tensor in weights_of(one).items()
        )


class TestValidation:
    def test_it_tells_the_error_by_frames_since_the_first_response(self):
        validation = windows_of(toy_segment(seed=1))
        seen = []
        network, history = trained(steps=50, validation=validation, on_validation=seen.append)
        assert [v.step for v in seen] == [20, 40, 50]
        assert tuple(seen) == history.validations
        frames = WINDOW - find_target(network, ["angular.z"]).times.first_frames
        assert all(v.mae.shape == (frames, 1) for v in seen)

    def test_the_best_weights_are_kept_not_the_last(self):
        kept = {}
        network = tiny_network()

        def on_validation(validation):
            kept[validation.step] = (validation.score, weights_of(network))
            if validation.step == 40:  # from here on it can only get worse
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(50)

        _, history = trained(
            steps=60,
            network=network,
            validation=windows_of(toy_segment(seed=1)),
            on_validation=on_validation,
        )
        assert history.best_step == 40
        assert kept[40][0] < kept[60][0]
        for name, tensor in kept[40][1].items():
            assert torch.equal(tensor, network.state_dict()[name])

    def test_weights_of_the_second_half_compete_only_with_each_other(self):
        """Hardly trained weights may look best by luck, on a small part to validate on."""
        network = tiny_network()

        def on_validation(validation):
            if validation.step == 20:
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(50)

        validation = windows_of(toy_segment(seed=1))
        _, history = trained(
            60, network=network, validation=validation, on_validation=on_validation
        )
        by_step = {v.step: v.score for v in history.validations}
        assert by_step[20] == min(by_step.values())
        assert history.best_step == min((40, 60), key=by_step.__getitem__)

    def test_its_error_is_that_of_the_streams_it_restarts(self):
        segment = toy_segment(WINDOW, seed=2)
        network, history = trained(steps=20, validation=windows_of(segment))
        answers = stream(network, find_target(network, ["angular.z"]), segment)
        by_hand = np.abs(answers - segment.targets[: len(answers)])
        assert np.allclose(history.validations[-1].mae, by_hand, atol=1e-5)


class TestTrouble:
    def test_ctrl_c_keeps_the_best_so_far(self):
        kept = {}
        network = tiny_network()

        def on_step(step, loss):
            if step == 25:
                raise KeyboardInterrupt

        _, history = trained(
            steps=60,
            network=network,
            validation=windows_of(toy_segment(seed=1)),
            on_validation=lambda v: kept.update(weights_of(network)),
            on_step=on_step,
        )
        assert history.was_interrupted
        assert history.best_step == 20 and len(history.losses) == 25
        assert all(torch.equal(kept[name], t) for name, t in network.state_dict().items())

    def test_ctrl_c_before_the_first_validation_keeps_what_is_there(self):
        def on_step(step, loss):
            raise KeyboardInterrupt

        network, history = trained(validation=windows_of(toy_segment(seed=1)), on_step=on_step)
        assert history.was_interrupted and history.best_step == 1
        assert all(torch.isfinite(t).all() for t in network.state_dict().values())

    def test_a_loss_that_is_no_number_names_its_step(self):
        network = tiny_network()
        target = find_target(network, ["angular.z"])
        plan = TrainingPlan(steps=30, batch=4)

        def on_step(step, loss):
            if step == 7:
                with torch.no_grad():
                    network.group("head").get_parameter("edges.stem.2.weight").fill_(math.nan)

        with pytest.raises(RunError, match="no longer a number") as error:
            train(network, target, windows_of(toy_segment()), plan, on_step=on_step)
        assert "step 8" in str(error.value) and "--learning-rate" in str(error.value)

    def test_windows_that_end_before_the_first_response(self):
        network = tiny_network()
        target = find_target(network, ["angular.z"])
        windows = Windows([toy_segment()], 2, ["angular.z"])
        with pytest.raises(ParameterError, match="end before the first response") as error:
            train(network, target, windows, TrainingPlan(steps=1))
        assert "more than 2 frames" in str(error.value)

    @pytest.mark.parametrize("name", ["steps", "batch", "learning_rate", "gradient_limit"])
    @pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
    def test_plans_that_cannot_be(self, name, value):
        with pytest.raises(ParameterError, match=name):
            TrainingPlan(**{name: value})
