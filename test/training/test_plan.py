"""Plans: what a file may say, and one line for what it may not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from streaming_net_ros.errors import NetworkFileError, ParameterError
from streaming_net_ros.training import HebbianSpec, ObjectiveSpec, TrainingPlan, parse_plan
from streaming_net_ros.training.plan import read_plan

OBJECTIVE = {"of": "drive", "target": "drive"}


def plan_with(*, objective=None, learner=None, **more):
    one = {"objectives": [{**OBJECTIVE, **(objective or {})}], **(learner or {})}
    return parse_plan({"learners": [one], **more})


class TestWhatItSays:
    def test_names_stand_alone_or_with_arguments(self):
        plan = plan_with(
            objective={"loss": {"SmoothL1Loss": {"beta": 0.5}}},
            learner={"optimizer": "Adam", "scheduler": {"OneCycleLR": None}},
        )
        (one,) = plan.learners
        assert (one.objectives[0].loss.name, one.objectives[0].loss.args) == (
            "SmoothL1Loss",
            {"beta": 0.5},
        )
        assert (one.optimizer.name, one.optimizer.args) == ("Adam", {})
        assert (one.scheduler.name, one.scheduler.args) == ("OneCycleLR", {})

    def test_a_readout_is_made_of_layers(self):
        plan = plan_with(objective={"readout": ["Flatten", {"Linear": {"out_features": 2}}]})
        assert [layer.name for layer in plan.learners[0].objectives[0].readout] == [
            "Flatten",
            "Linear",
        ]

    def test_what_is_left_out_has_its_default(self):
        plan = plan_with()
        (one,) = plan.learners
        assert (one.name, one.parameters, one.every, one.scheduler) == ("main", ("*",), 1, None)
        only = one.objectives[0]
        assert (only.combine, only.responses, only.response_weights) == ("mean", (0, None), (1.0,))
        assert (plan.truncate, plan.accumulate, plan.average, plan.patience) == (
            None,
            1,
            None,
            None,
        )
        assert plan.precision == "float32" and not plan.compile

    def test_it_never_changes(self):
        with pytest.raises(ValidationError, match="frozen"):
            plan_with().steps = 3

    def test_a_file_is_read_and_not_yet_checked(self, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_text("steps: 5\nnonsense: [1, 2]\n")
        assert read_plan(path) == {"steps": 5, "nonsense": [1, 2]}

    @pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", ""])
    def test_a_file_that_is_no_mapping(self, tmp_path, text):
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        with pytest.raises(NetworkFileError, match=r"plan\.yaml"):
            read_plan(path)
        with pytest.raises(NetworkFileError, match="nothing"):
            read_plan(tmp_path / "nothing.yaml")


class TestWhatItMayNotSay:
    @pytest.mark.parametrize(
        "content, words",
        [
            ({}, ["learners", "a key is missing"]),
            ({"learners": []}, ["learners"]),
            ({"learners": [{}]}, ["'main' needs either 'objectives' or 'hebbian'"]),
            (
                {"learners": [{"objectives": [OBJECTIVE], "hebbian": {"edge": "a -> b"}}]},
                ["'main' needs either 'objectives' or 'hebbian'"],
            ),
            ({"learners": [{"hebbian": {}}]}, ["learners[0].hebbian.edge", "missing"]),
            ({"learners": [{"objectives": [{"of": "a"}]}]}, ["objectives[0].target", "missing"]),
            (
                {"learners": [{"objectives": [OBJECTIVE]}, {"objectives": [OBJECTIVE]}]},
                ["two learners have one name", "main"],
            ),
        ],
    )
    def test_learners(self, content, words):
        with pytest.raises(ParameterError) as error:
            parse_plan(content, "my.yaml")
        for word in ["my.yaml", *words]:
            assert word in str(error.value)

    @pytest.mark.parametrize(
        "more, words",
        [
            ({"responses": 3, "horizon_steps": 9}, ["'responses' and 'horizon_steps'"]),
            ({"truncate": 3, "accumulate": 2}, ["'truncate'", "'accumulate'"]),
            ({"learner": {"optimiser": "Adam"}}, ["optimiser", "did you mean 'optimizer'"]),
            ({"objective": {"reponses": [0, 1]}}, ["reponses", "did you mean 'responses'"]),
            ({"batches": 3}, ["batches", "did you mean 'batch'"]),
            ({"augmentation": {"mirrored": True}}, ["mirrored", "did you mean 'mirror'"]),
            ({"objective": {"loss": {"A": {}, "B": {}}}}, ["loss", "expected a name"]),
            ({"objective": {"loss": 3}}, ["loss", "expected a name"]),
            ({"objective": {"readout": [3]}}, ["readout[0]", "expected a layer"]),
            ({"learner": {"optimizer": {"Adam": [1]}}}, ["optimizer", "expected a name"]),
            ({"objective": {"combine": "median"}}, ["combine", "median"]),
            ({"objective": {"td_lambda": 1.1}}, ["td_lambda"]),
            ({"objective": {"weight": 0}}, ["weight"]),
            ({"objective": {"ahead": -1}}, ["ahead"]),
            ({"objective": {"responses": [-1, None]}}, ["responses"]),
            ({"objective": {"responses": [0]}}, ["responses"]),
            ({"objective": {"combine": "last", "responses": [0, 3]}}, ["'last'", "responses"]),
            ({"objective": {"response_weights": []}}, ["response_weights"]),
            ({"objective": {"response_weights": [1, -1]}}, ["response_weights"]),
            ({"learner": {"every": 0}}, ["every"]),
            ({"learner": {"gradient_limit": 0}}, ["gradient_limit"]),
            ({"precision": "float8"}, ["precision", "float8"]),
            ({"average": 1.0}, ["average"]),
            ({"average": -0.1}, ["average"]),
            ({"seed": -1}, ["seed"]),
            ({"switch": [0, 3]}, ["switch"]),
            ({"switch": 3}, ["switch"]),
        ],
    )
    def test_keys_and_values(self, more, words):
        with pytest.raises(ParameterError) as error:
            plan_with(**more)
        for word in words:
            assert word in str(error.value)

    @pytest.mark.parametrize(
        "name",
        ["steps", "batch", "responses", "horizon_steps", "truncate", "accumulate",
         "validate_every", "patience"],
    )  # fmt: skip
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", float("inf"), float("nan")])
    def test_counts_are_whole_numbers_from_1_on(self, name, value):
        with pytest.raises(ParameterError, match=name):
            plan_with(**{name: value})

    @pytest.mark.parametrize("name", ["rate", "limit"])
    @pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
    def test_sizes_are_above_0(self, name, value):
        with pytest.raises(ParameterError, match=rf"hebbian\.{name}"):
            parse_plan({"learners": [{"hebbian": {"edge": "a -> b", name: value}}]})
        with pytest.raises(ValidationError):
            HebbianSpec(edge="a -> b", **{name: value})

    def test_parts_check_themselves_when_they_are_made_by_hand(self):
        with pytest.raises(ValidationError, match="weight"):
            ObjectiveSpec(of="a", target="b", weight=-1)
        with pytest.raises(ValidationError, match="learners"):
            TrainingPlan(learners=())
