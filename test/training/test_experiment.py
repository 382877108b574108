"""Experiments: files refused by their place, runs that repeat, answers as a loop by hand."""

from __future__ import annotations

import copy
from functools import cache
from types import MappingProxyType

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from streaming_net_ros.errors import NetworkFileError, ParameterError
from streaming_net_ros.network import (
    StreamingNetwork,
    load_weights,
    read_network_file,
    rollout_of,
)
from streaming_net_ros.paths import find_network, share_directory
from streaming_net_ros.theory import response_times
from streaming_net_ros.training import Clips, Watching, parse_plan, sequences_of
from streaming_net_ros.training.datasets import KINDS
from streaming_net_ros.training.experiment import (
    DataSpec,
    ExperimentSpec,
    protocol_of,
    read_experiment,
)
from streaming_net_ros.training.experiment_run import (
    checkpoint_of,
    class_output,
    read_parts,
    record_answers,
    run_variant,
)

SHIPPED = sorted((share_directory() / "config" / "experiments").glob("*.yaml"))
OBJECTIVE = {"of": "class", "target": "class", "combine": "sum"}
LEARNER = {"objectives": [OBJECTIVE], "optimizer": {"RMSprop": {"lr": 1e-3}}}
SMALL = MappingProxyType(
    {
        "name": "small",
        "title": "a small one",
        "data": {"kind": "digits", "limit": 60, "test_limit": 30},
        "plan": {"learners": [LEARNER], "augmentation": {"noise": 0.2}, "responses": 3,
                 "batch": 4, "steps": 6, "validate_every": 4},
        "variants": {
            "streaming": {"network": "digits_sr", "rollout": "streaming"},
            "half and half": {"network": "digits_hybrid", "plan": {"steps": 3}},
            "sequential": {"network": "digits_sr", "rollout": "sequential"},
        },
        "seeds": 4,
        "horizon_steps": 7,
        "reduced": {"constants": {"width2": 8}, "data": {"limit": 20}, "plan": {"steps": 2},
                    "seeds": 2},
    }
)  # fmt: skip


def small(**changes):
    """The small experiment's mapping; dotted keys reach inside, None takes a key away."""
    content = copy.deepcopy(dict(SMALL))
    for place, value in changes.items():
        *path, last = place.split("__")
        inside = content
        for key in path:
            inside = inside[key]
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    return content


def spec_of(**changes):
    return ExperimentSpec.model_validate(small(**changes))


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@cache
def shipped_network(name):
    return read_network_file(find_network(name))


def network_of(rollout, name="digits_sr", seed=0):
    spec = shipped_network(name)
    return StreamingNetwork(spec, rollout_of(spec, rollout), seed=seed).eval()


ROLLOUTS = {
    "streaming": ("digits_sr", "streaming"),
    "hybrid": ("digits_hybrid", None),
    "sequential": ("digits_sr", "sequential"),
}


class TestFile:
    def test_a_right_one_is_read_as_it_is_written(self, write):
        spec = read_experiment(write(small()))
        assert spec == spec_of()
        assert list(spec.variants) == ["streaming", "half and half", "sequential"]
        assert spec.seeds == 4
        assert spec.data == DataSpec(kind="digits", limit=60, test_limit=30)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"sead": 3}, ["sead: unknown key", "did you mean 'seeds'?"]),
            ({"data__limt": 3}, ["data.limt: unknown key", "did you mean 'limit'?"]),
            (
                {"variants__streaming__rolout": "streaming"},
                ["variants.streaming.rolout: unknown key", "did you mean 'rollout'?"],
            ),
            ({"reduced__seads": 3}, ["reduced.seads: unknown key", "did you mean 'seeds'?"]),
            ({"title": None}, ["title: a key is missing"]),
            ({"data__kind": None}, ["data.kind: a key is missing"]),
            ({"variants__streaming__network": None}, ["variants.streaming.network: a key is"]),
            ({"variants": {}}, ["variants: value not allowed", "at least 1 item"]),
            ({"variants": None}, ["variants: a key is missing"]),
            ({"variants__streaming__rollout": "sideways"}, ["streaming.rollout", "sideways"]),
            ({"variants__streaming__published": {3: 1.2}}, ["streaming.published", "got 1.2"]),
            ({"variants__streaming__published": {"x": 0.2}}, ["streaming.published", "integer"]),
            ({"seeds": 0}, ["seeds: value not allowed", "got 0"]),
            ({"seeds": True}, ["seeds: value not allowed", "got True"]),
            ({"horizon_steps": 0}, ["horizon_steps: value not allowed"]),
            ({"data__limit": 2.5}, ["data.limit: value not allowed", "got 2.5"]),
            ({"data__test_share": 1}, ["data.test_share: value not allowed", "less than 1"]),
            ({"target_accuracy": 1}, ["target_accuracy: value not allowed"]),
        ],
    )  # fmt: skip
    def test_a_wrong_one_is_refused_by_file_and_place(self, write, changes, words):
        path = write(small(**changes))
        with pytest.raises(ParameterError) as error:
            read_experiment(path)
        line = str(error.value)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        for word in words:
            assert word in line

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"plan__stepz": 3}, ["variants.streaming.plan: stepz", "did you mean 'steps'?"]),
            ({"plan__learners": []}, ["variants.streaming.plan: learners: value not allowed"]),
            (
                {"variants__sequential__plan": {"batsh": 3}},
                ["variants.sequential.plan: batsh", "did you mean 'batch'?"],
            ),
            (
                {"variants__sequential__plan": {"horizon_steps": 9}},
                ["variants.sequential.plan", "'responses' and 'horizon_steps' exclude"],
            ),
            (
                {"variants__sequential__objective": {"combin": "last"}},
                ["variants.sequential.plan", "combin: unknown key", "did you mean 'combine'?"],
            ),
            (
                {"reduced__plan": {"steps": 0}},
                ["variants.streaming.plan, reduced: steps: value not allowed", "got 0"],
            ),
            ({"reduced__data": {"limt": 3}}, ["reduced.data: limt", "did you mean 'limit'?"]),
            ({"switch_step": 3}, ["variants.streaming.plan: 'switch_step' needs a plan"]),
        ],
    )
    def test_a_bad_plan_is_refused_by_the_variant_that_it_would_train(self, write, changes, words):
        path = write(small(**changes))
        with pytest.raises(ParameterError) as error:
            read_experiment(path)
        assert str(error.value).startswith(f"{path}: {words[0]}")
        for word in words:
            assert word in str(error.value)

    def test_what_is_no_mapping_is_no_experiment(self, tmp_path):
        (tmp_path / "list.yaml").write_text("[a, b]")
        with pytest.raises(NetworkFileError, match=r"list\.yaml"):
            read_experiment(tmp_path / "list.yaml")
        with pytest.raises(NetworkFileError, match=r"nowhere\.yaml"):
            read_experiment(tmp_path / "nowhere.yaml")


class TestProtocol:
    def test_the_full_one_is_what_the_file_says(self):
        spec = spec_of()
        full = protocol_of(spec, reduced=False)
        assert (full.is_reduced, full.seeds) == (False, 4)
        assert full.data == spec.data
        assert full.plan == spec.plan
        assert full.constants == {}

    def test_the_reduced_one_replaces_key_by_key(self):
        spec = spec_of()
        reduced = protocol_of(spec, reduced=True)
        assert (reduced.is_reduced, reduced.seeds) == (True, 2)
        assert reduced.data == DataSpec(kind="digits", limit=20, test_limit=30)
        assert reduced.plan == {**spec.plan, "steps": 2}
        assert reduced.constants == {"width2": 8}

    def test_where_nothing_is_reduced_the_full_one_is_done_and_says_so(self):
        spec = spec_of(reduced=None)
        assert protocol_of(spec, reduced=True) == protocol_of(spec, reduced=False)
        assert not protocol_of(spec, reduced=True).is_reduced

    def test_asked_for_seeds_win_over_reduced_ones_and_those_over_the_files(self):
        spec, no_seeds = spec_of(), spec_of(reduced__seeds=None)
        for reduced in (False, True):
            assert protocol_of(spec, reduced=reduced, seeds=9).seeds == 9
        assert protocol_of(no_seeds, reduced=True).seeds == 4

    def test_a_variants_keys_win_over_the_protocols_and_the_seed_is_the_runs(self):
        spec = spec_of()
        for reduced, own, others in ((False, 3, 6), (True, 3, 2)):
            protocol = protocol_of(spec, reduced=reduced)
            plans = {name: protocol.plan_of(v, seed=7) for name, v in spec.variants.items()}
            steps = {name: plan.steps for name, plan in plans.items()}
            assert steps == {"streaming": others, "half and half": own, "sequential": others}
            assert {plan.seed for plan in plans.values()} == {7}
            assert {plan.batch for plan in plans.values()} == {4}

    def test_a_variants_objective_changes_every_objective_of_the_plan(self):
        late = spec_of(variants__sequential__objective={"combine": "last", "weight": 2.0})
        plan = protocol_of(late, reduced=False).plan_of(late.variants["sequential"], seed=0)
        (objective,) = plan.learners[0].objectives
        assert (objective.of, objective.combine, objective.weight) == ("class", "last", 2.0)
        untouched = protocol_of(late, reduced=False).plan_of(late.variants["streaming"], seed=0)
        assert untouched.learners[0].objectives[0].combine == "sum"


def run(spec, name, folder, *, seed=1, watching=None, reduced=False):
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    return run_variant(
        spec,
        protocol_of(spec, reduced=reduced),
        name,
        seed,
        network_file=find_network(spec.variants[name].network),
        data=None,
        device="cpu",
        folder=folder,
        watching=watching or Watching(),
    )


def same_numbers(one, other):
    return {**one.to_json(), "seconds": 0} == {**other.to_json(), "seconds": 0}


class TestRun:
    @pytest.mark.parametrize("name", SMALL["variants"])
    def test_it_answers_from_the_first_step_on_once_in_a_period(self, name, tmp_path):
        spec = spec_of()
        result = run(spec, name, tmp_path)
        variant = spec.variants[name]
        times = response_times(network_of(variant.rollout, variant.network).rollout)["class"]
        steps = [times.first_step + k * times.period_steps for k in range(3)]
        assert result.steps == steps
        assert len(result.accuracy) == 3
        assert np.shape(result.confusion) == (3, 10, 10)
        assert len(result.losses) == variant.plan.get("steps", 6)
        # The newest answer holds up to the horizon, after chance.
        newest = [max((k for k in range(3) if steps[k] <= u), default=None) for u in range(1, 8)]
        hold = [0.1 if k is None else result.accuracy[k] for k in newest]
        assert result.hold == hold
        assert result.hold_mean == pytest.approx(sum(hold) / 7)
        assert result.switched == []
        best = max(result.accuracy)
        assert result.step_at(best) == steps[result.accuracy.index(best)]
        assert result.step_at(best + 0.01) is None

    def test_weights_stay_and_the_checkpoint_until_the_result_is_kept(self, tmp_path):
        """Whoever keeps the result removes it: a judging that dies costs no training."""
        run(spec_of(), "half and half", tmp_path, seed=3)
        checkpoint = checkpoint_of(tmp_path, "half and half", 3)
        left = {tmp_path / "half_and_half-3.safetensors", checkpoint}
        assert set(tmp_path.iterdir()) == left

    def test_its_numbers_are_what_the_weights_answer_to_the_test_part_as_it_is(self, tmp_path):
        spec = spec_of(plan__augmentation={"noise": 0.2, "shift": 3, "contrast": 0.5})
        result = run(spec, "sequential", tmp_path)
        network = network_of("sequential", seed=99)
        load_weights(network, tmp_path / "sequential-1.safetensors")
        (given_image,) = network.spec.inputs.values()
        _, test = read_parts(spec.data, None, given_image)
        calm = parse_plan({"learners": [LEARNER], "responses": 3, "augmentation": {"noise": 0.2}})
        shown = sequences_of(calm, test, network, to_judge=True)
        output, times = class_output(network)
        answers = record_answers(network, output, times, shown, batch=64)
        assert result.accuracy == answers.accuracy.tolist()
        assert result.confusion == answers.confusion().round(4).tolist()

    def test_weights_begin_as_the_seed_draws_them(self, tmp_path):
        still = {**LEARNER, "optimizer": {"SGD": {"lr": 1e-12}}}
        run(spec_of(plan__learners=[still], plan__steps=1), "streaming", tmp_path, seed=5)
        left = load_file(tmp_path / "streaming-5.safetensors")
        drawn = dict(network_of("streaming", seed=5).groups.state_dict())
        assert left.keys() == drawn.keys()
        for name, tensor in left.items():
            assert torch.allclose(tensor, drawn[name], atol=1e-6), name

    def test_it_depends_on_its_seed_alone(self, tmp_path):
        results = {}
        for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
            (tmp_path / folder).mkdir()
            results[folder] = run(spec_of(), "streaming", tmp_path / folder, seed=seed)
        assert same_numbers(results["one"], results["again"])
        assert results["one"].losses != results["other"].losses

    def test_what_was_interrupted_goes_on_where_it_was(self, tmp_path):
        whole, halves = tmp_path / "whole", tmp_path / "halves"
        whole.mkdir()
        halves.mkdir()
        in_one_go = run(spec_of(), "streaming", whole)

        done = []
        stopping = Watching(
            on_step=lambda step: done.append(step.number), should_stop=lambda: done[-1] == 3
        )
        with pytest.raises(KeyboardInterrupt):
            run(spec_of(), "streaming", halves, watching=stopping)
        assert [path.name for path in halves.iterdir()] == ["streaming-1.checkpoint.safetensors"]
        telling = Watching(on_step=lambda step: done.append(step.number))
        resumed = run(spec_of(), "streaming", halves, watching=telling)
        assert done == [1, 2, 3, 4, 5, 6]

        assert same_numbers(resumed, in_one_go)
        one, other = (load_file(f / "streaming-1.safetensors") for f in (whole, halves))
        assert one.keys() == other.keys()
        for tensor_name, tensor in one.items():
            assert torch.equal(tensor, other[tensor_name]), tensor_name

    @pytest.mark.parametrize("name", ["streaming", "sequential"])
    def test_until_the_stimulus_switches_answers_are_those_of_one_that_does_not(
        self, name, tmp_path
    ):
        spec = spec_of(plan__responses=None, plan__horizon_steps=12, horizon_steps=12,
                       reduced=None, switch_step=7, plan__steps=30,
                       plan__learners=[{**LEARNER, "optimizer": {"RMSprop": {"lr": 3e-3}}}],
                       plan__batch=16, data__limit=300)  # fmt: skip
        result = run(spec, name, tmp_path)
        assert len(result.switched) == 12
        assert result.switched[:6] == result.hold[:6]
        # The old answer is wrong from the very step at which the world changes.
        assert result.hold[6] > 0.5
        assert result.switched[6] < 0.5 * result.hold[6]

    def test_a_switch_that_does_not_fit_is_told_before_training(self, tmp_path):
        spec = spec_of(plan__responses=None, plan__horizon_steps=6, reduced=None, switch_step=9)
        trained = Watching(on_step=lambda step: pytest.fail("it was trained"))
        with pytest.raises(ParameterError, match="no such pictures to switch at"):
            run(spec, "streaming", tmp_path, watching=trained)


def moving_clips(count=7, frames=40):
    """Pictures of chance, each with a class of chance: what is shown changes all the time."""
    rng = torch.Generator().manual_seed(5)
    pictures = count * frames
    first = torch.arange(0, pictures, frames)
    return Clips(
        torch.randint(0, 256, (pictures, 1, 8, 8), generator=rng, dtype=torch.uint8),
        {"class": torch.randint(0, 10, (pictures,), generator=rng)},
        torch.stack([first, first + frames], dim=1),
        classes={"class": tuple("0123456789")},
    )


@torch.inference_mode()
def by_hand(network, pictures, labels, horizon_frames, stride, factor):
    """One clip, one picture after the other: (answers, what is shown when each comes)."""
    times = response_times(network.rollout)["class"]
    state, answers, shown = network.init_state(), [], []
    for frame in range(horizon_frames):
        state, responses = network.step(state, {"image": pictures[frame * stride].unsqueeze(0)})
        if responses["class"] is not None:
            step = times.first_step + len(answers) * factor
            answers.append(int(responses["class"].argmax()))
            # A picture per update step, or a picture per frame that stays as long as a frame.
            shown.append(int(labels[step if stride == factor else step // factor]))
    return answers, shown


class TestRecordedAnswers:
    @pytest.mark.parametrize("rollout", ROLLOUTS)
    @pytest.mark.parametrize("length", [{"responses": 4}, {"horizon_steps": 10}])
    def test_they_are_those_of_a_loop_by_hand(self, rollout, length):
        name, choice = ROLLOUTS[rollout]
        network, clips = network_of(choice, name, seed=4), moving_clips()
        plan = parse_plan({"learners": [LEARNER], **length})
        sequences = sequences_of(plan, clips, network, to_judge=True)
        output, times = class_output(network)
        assert (output, times) == ("class", response_times(network.rollout)["class"])
        recorded = record_answers(network, output, times, sequences, batch=3)

        stride = 1 if "responses" in length else times.period_steps
        hands, worlds = [], []
        for begin, end in clips.bounds.tolist():
            pictures, labels = clips.images[begin:end], clips.targets["class"][begin:end]
            tile = (sequences.frames - 1) * stride + 1
            for at in range(0, end - begin - tile + 1, tile):
                # The world stands still when the clip has ended.
                held = torch.cat([labels[at:], labels[-1:].expand(tile)])
                answers, shown = by_hand(network, pictures[at:], held, sequences.frames, stride,
                                         times.period_steps)  # fmt: skip
                hands.append(answers)
                worlds.append(shown)
        assert recorded.answers.T.tolist() == hands
        right = np.equal(hands, worlds).mean(0)
        assert recorded.accuracy.tolist() == pytest.approx(right.tolist())
        assert 0 < right.sum() < len(right)
        assert recorded.classes == 10

    def test_noise_is_that_of_the_camera_and_nothing_else_changes(self):
        network, clips = network_of("streaming"), moving_clips()
        changes = {"shift": 2, "brightness": 0.4, "contrast": 0.4}
        calm = parse_plan({"learners": [LEARNER], "responses": 3})
        noisy = parse_plan({"learners": [LEARNER], "responses": 3,
                            "augmentation": {**changes, "noise": 0.3}})  # fmt: skip
        moved = parse_plan({"learners": [LEARNER], "responses": 3, "augmentation": changes})
        plain, as_noisy, as_moved = (
            next(sequences_of(plan, clips, network, to_judge=True).tiles(4)).images()
            for plan in (calm, noisy, moved)
        )
        assert torch.equal(plain, as_moved)
        assert not torch.equal(plain, as_noisy)


class TestHorizon:
    @settings(max_examples=40)
    @given(st.sampled_from(sorted(ROLLOUTS)), st.integers(1, 40))
    def test_answers_come_until_the_horizon_and_only_every_fth_picture_is_heard(
        self, rollout, horizon_steps
    ):
        name, choice = ROLLOUTS[rollout]
        spec = shipped_network(name)
        network = StreamingNetwork(spec, rollout_of(spec, choice), members=[])
        times = response_times(network.rollout)["class"]
        plan = parse_plan({"learners": [LEARNER], "horizon_steps": horizon_steps})
        clips = moving_clips(count=2, frames=60)
        sequences = sequences_of(plan, clips, network)
        factor = times.period_steps
        assert factor == {"streaming": 1, "hybrid": 2, "sequential": 3}[rollout]
        responses = sequences.frames - times.first_frames
        last_step = times.first_step + (responses - 1) * factor
        if horizon_steps < times.first_step:
            assert responses == 1
        else:
            assert horizon_steps - factor < last_step <= horizon_steps
        batch = next(sequences.tiles(1))
        heard = torch.arange(sequences.frames) * factor
        assert batch.rows[:, 0].tolist() == heard.tolist()
        assert torch.equal(batch.images()[:, 0], clips.images[heard])
        # The world goes on at least until the last answer comes.
        assert len(batch.world) > last_step

    @pytest.mark.parametrize("rollout", ROLLOUTS)
    def test_without_a_horizon_every_picture_is_heard(self, rollout):
        name, choice = ROLLOUTS[rollout]
        network = network_of(choice, name)
        plan = parse_plan({"learners": [LEARNER], "responses": 5})
        sequences = sequences_of(plan, moving_clips(), network)
        first = response_times(network.rollout)["class"].first_frames
        assert next(sequences.tiles(1)).rows[:, 0].tolist() == list(range(first + 5))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
class TestShipped:
    def test_its_protocols_parse_and_the_reduced_one_is_smaller(self, path):
        spec = read_experiment(path)
        assert spec.name == path.stem
        assert spec.data.kind in KINDS
        for variant in spec.variants.values():
            full = protocol_of(spec, reduced=False).plan_of(variant, seed=0)
            reduced = protocol_of(spec, reduced=True).plan_of(variant, seed=0)
            if spec.reduced is not None:
                assert reduced.steps < full.steps

    def test_networks_exist_and_take_the_rollouts_and_the_reduced_constants(self, path, tmp_path):
        spec = read_experiment(path)
        for variant in spec.variants.values():
            file = find_network(variant.network)
            full = shipped_network(variant.network)
            rollout = rollout_of(full, variant.rollout)
            if spec.reduced is None:
                continue  # the full protocol is small enough
            small = tmp_path / "small.yaml"
            constants = dict(spec.reduced.constants)
            small.write_text(yaml.safe_dump({"base": str(file), "constants": constants}))
            reduced = read_network_file(small)
            # Smaller layers, the same graph: the same answers at the same steps.
            assert rollout_of(reduced, variant.rollout).delays == rollout.delays
            weights = [
                sum(p.numel() for p in StreamingNetwork(s, members=["class", "h1"]).parameters())
                for s in (reduced, full)
            ]
            assert weights[0] < weights[1] if constants else weights[0] == weights[1]

    def test_published_figures_stand_at_steps_at_which_the_variant_answers(self, path):
        spec = read_experiment(path)
        for name, variant in spec.variants.items():
            network_spec = shipped_network(variant.network)
            rollout = rollout_of(network_spec, variant.rollout)
            network = StreamingNetwork(network_spec, rollout, members=[])
            _, times = class_output(network)
            assert "class" in network_spec.outputs
            (given_image,) = network_spec.inputs.values()
            clips = Clips.of_stills(
                torch.zeros(3, *given_image.shape, dtype=torch.uint8),
                torch.zeros(3, dtype=torch.int64), ["a", "b"], "black", "class",
            )  # fmt: skip
            plan = protocol_of(spec, reduced=False).plan_of(variant, seed=0)
            if spec.switch_step is not None:
                at = spec.switch_step
                sequences_of(plan.model_copy(update={"switch": (at, at)}), clips, network)
            responses = sequences_of(plan, clips, network).frames - times.first_frames
            answered = {times.first_step + k * times.period_steps for k in range(responses)}
            assert set(variant.published) <= answered, name


def test_parts_are_as_large_as_the_data_say_and_as_the_input_takes_them():
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    (given_image,) = shipped_network("digits_sr").inputs.values()
    learn, test = read_parts(DataSpec(kind="digits", limit=60, test_limit=30), None, given_image)
    assert (learn.images.shape, test.images.shape) == ((60, 1, 8, 8), (30, 1, 8, 8))
    whole, official = read_parts(DataSpec(kind="digits"), None, given_image)
    assert (len(whole), len(official)) == (1297, 500)
    rest, aside = read_parts(DataSpec(kind="digits", test_share=0.25), None, given_image)
    assert len(aside) == pytest.approx(0.25 * 1297, abs=10)
    assert len(rest) + len(aside) == 1297
    # Set aside of the training part: no picture is in both.
    assert not set(rest.bounds[:, 0].tolist()) & set(aside.bounds[:, 0].tolist())
