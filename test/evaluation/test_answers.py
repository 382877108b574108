"""Accuracy while answers come: hand-made worlds, published figures, and the definition itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.evaluation import ClassAnswers, first_step_at

# Fischer, Koehler, Pfeil (NeurIPS 2018, arXiv 1806.04965): accuracies that were read off the
# authors' plots, by update step; the horizon; and the means over it that follow.
PUBLISHED = {
    "MNIST SR streaming": (
        range(2, 10), [0.441, 0.597, 0.694, 0.754, 0.794, 0.821, 0.839, 0.854], 9, 0.655
    ),
    "MNIST SR sequential": (
        range(3, 25, 3), [0.463, 0.622, 0.714, 0.769, 0.805, 0.830, 0.849, 0.861], 9, 0.463
    ),
    "CIFAR DSR2 streaming": (
        range(4, 12), [0.382, 0.459, 0.498, 0.517, 0.529, 0.538, 0.540, 0.546], 11, 0.392
    ),
    "CIFAR DSR2 sequential": (
        range(6, 49, 6), [0.427, 0.484, 0.518, 0.533, 0.544, 0.551, 0.553, 0.556], 11, 0.278
    ),
}  # fmt: skip


def made(steps, answers, shown, classes=3):
    return ClassAnswers(
        np.array(steps, np.int64), np.array(answers, np.int64), np.array(shown, np.int64), classes
    )


def as_right_as(accuracies, steps, sequences=1000):
    """Answers to stills of class 0 that are right in just so many of a thousand sequences."""
    answers = np.ones((len(accuracies), sequences), np.int64)
    for row, accuracy in zip(answers, accuracies, strict=True):
        row[: round(accuracy * sequences)] = 0
    return made(steps, answers, np.zeros((1, sequences)), classes=10)


@st.composite
def any_answers(draw):
    """Any world, any answers, at any rising update steps: the world may end before they do."""
    classes, sequences = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    steps = sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=5)))

    def rows(count):
        row = st.lists(st.integers(0, classes - 1), min_size=sequences, max_size=sequences)
        return draw(st.lists(row, min_size=count, max_size=count))

    return made(steps, rows(len(steps)), rows(draw(st.integers(1, 11))), classes)


def world_at(answers, step):
    """What is shown then; a world that has ended stands still."""
    return answers.shown[step] if step < len(answers.shown) else answers.shown[-1]


class TestPublishedFigures:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_hold_means_follow_from_published_accuracies(self, name):
        steps, accuracies, horizon_steps, hold_mean = PUBLISHED[name]
        answers = as_right_as(accuracies, steps)
        assert answers.accuracy.tolist() == accuracies
        assert round(answers.hold_accuracy(horizon_steps).mean(), 3) == hold_mean

    @pytest.mark.parametrize("network", ["MNIST SR", "CIFAR DSR2"])
    def test_streaming_is_behind_sequential_at_no_step(self, network):
        """The claim that the hold mean sums up: up to the horizon, held step by held step."""
        hold = {
            rollout: as_right_as(accuracies, steps).hold_accuracy(horizon_steps)
            for rollout in ("streaming", "sequential")
            for steps, accuracies, horizon_steps, _ in [PUBLISHED[f"{network} {rollout}"]]
        }
        assert (hold["streaming"] >= hold["sequential"]).all()


class TestHandMadeWorld:
    # Four sequences of stills; answers at update steps 2, 3 and 6.
    STILLS = made(
        steps=[2, 3, 6],
        answers=[[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 2, 0]],
        shown=[[0, 1, 2, 2]],
    )

    def test_accuracy_is_the_share_of_right_answers(self):
        assert self.STILLS.accuracy.tolist() == [0.25, 0.5, 0.75]

    def test_the_newest_answer_holds_and_before_the_first_there_is_chance(self):
        third = 1 / 3
        expected = [third, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75]
        assert self.STILLS.hold_accuracy(7).tolist() == expected

    def test_confusion_tells_what_is_called_what(self):
        first, _, last = self.STILLS.confusion()
        assert first.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
        assert last.tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]]

    def test_a_class_that_is_never_shown_has_no_confusion(self):
        confusion = made([1], [[2, 0]], [[0, 0]]).confusion()
        assert confusion.tolist() == [[[0.5, 0, 0.5], [0, 0, 0], [0, 0, 0]]]


class TestSwitchingWorld:
    # Class 0 until update step 4, class 1 from then on; every answer knows what was shown at its
    # step, and comes at steps 1, 3 and 5.
    SWITCH = made(steps=[1, 3, 5], answers=[[0], [0], [1]], shown=[[0], [0], [0], [0], [1], [1]])

    def test_an_old_answer_is_wrong_as_soon_as_the_world_has_changed(self):
        assert self.SWITCH.accuracy.tolist() == [1, 1, 1]
        assert self.SWITCH.hold_accuracy(6).tolist() == [1, 1, 1, 0, 1, 1]

    def test_an_answer_that_comes_after_the_switch_is_judged_by_the_new_world(self):
        late = made(steps=[4], answers=[[0]], shown=[[0], [0], [0], [0], [1]])
        assert late.accuracy.tolist() == [0]
        assert late.confusion()[0, 1].tolist() == [1, 0, 0]

    def test_a_world_that_ends_before_an_answer_is_held(self):
        beyond = made(steps=[9], answers=[[1, 0]], shown=[[0, 0], [1, 1]])
        assert beyond.accuracy.tolist() == [0.5]
        assert beyond.hold_accuracy(12)[8:].tolist() == [0.5] * 4


class TestDefinition:
    @given(any_answers())
    def test_accuracy_is_counted_answer_by_answer(self, answers):
        for number, step in enumerate(answers.steps):
            right = [a == s for a, s in zip(answers.answers[number], world_at(answers, step),
                                            strict=True)]  # fmt: skip
            assert answers.accuracy[number] == pytest.approx(sum(right) / len(right))

    @given(any_answers(), st.integers(1, 14))
    def test_hold_accuracy_is_counted_step_by_step(self, answers, horizon_steps):
        hold = answers.hold_accuracy(horizon_steps)
        assert len(hold) == horizon_steps
        newest = answers.answers[0] if answers.steps[0] == 0 else None
        by_step = dict(zip(answers.steps.tolist(), answers.answers, strict=True))
        for step in range(1, horizon_steps + 1):
            newest = by_step.get(step, newest)
            if newest is None:
                assert hold[step - 1] == 1 / answers.classes
            else:
                right = [a == s for a, s in zip(newest, world_at(answers, step), strict=True)]
                assert hold[step - 1] == pytest.approx(sum(right) / len(right))

    @given(any_answers())
    def test_confusion_is_counted_pair_by_pair(self, answers):
        confusion = answers.confusion()
        for number, step in enumerate(answers.steps):
            pairs = list(zip(world_at(answers, step), answers.answers[number], strict=True))
            for shown in range(answers.classes):
                of_class = [answer for true, answer in pairs if true == shown]
                for called in range(answers.classes):
                    share = of_class.count(called) / len(of_class) if of_class else 0
                    assert confusion[number, shown, called] == pytest.approx(share)

    @given(any_answers())
    def test_the_diagonal_of_confusion_is_accuracy_by_class(self, answers):
        """Weighted by how often each class is shown, what is called itself is what is right."""
        for number, step in enumerate(answers.steps):
            shares = np.bincount(world_at(answers, step), minlength=answers.classes)
            itself = np.diagonal(answers.confusion()[number])
            right = (itself * shares).sum() / shares.sum()
            assert right == pytest.approx(answers.accuracy[number])

    @given(any_answers(), st.integers(1, 8), st.integers(0, 6))
    def test_a_longer_horizon_changes_nothing_before_it(self, answers, horizon_steps, more):
        longer = answers.hold_accuracy(horizon_steps + more)
        assert longer[:horizon_steps].tolist() == answers.hold_accuracy(horizon_steps).tolist()


class TestFirstStepAt:
    STEPS, ACCURACY = np.array([3, 6, 9]), np.array([0.4, 0.7, 0.6])

    @pytest.mark.parametrize(
        ("target", "step"), [(0.1, 3), (0.4, 3), (0.5, 6), (0.7, 6), (0.71, None)]
    )
    def test_it_is_the_first_response_at_least_as_right(self, target, step):
        assert first_step_at(self.STEPS, self.ACCURACY, target) == step


class TestShapes:
    @pytest.mark.parametrize(
        ("steps", "answers", "shown"),
        [
            ([1, 2], [[0]], [[0]]),
            ([1], [[0], [0]], [[0]]),
            ([1], [[0, 0]], [[0]]),
            ([1], [0], [0]),
            ([1], [[[0]]], [[[0]]]),
            ([1], [[0]], np.zeros((0, 1))),
        ],
        ids=["an answer too few", "one too many", "another number of sequences", "no sequences",
             "an axis too many", "no world"],
    )  # fmt: skip
    def test_shapes_that_do_not_fit_are_refused(self, steps, answers, shown):
        with pytest.raises(ParameterError, match=r"shapes do not fit: expected answers \(resp"):
            made(steps, answers, shown)

    @pytest.mark.parametrize("steps", [[2, 2], [3, 2], [1, 3, 2]])
    def test_update_steps_that_do_not_rise_are_refused(self, steps):
        with pytest.raises(ParameterError, match=r"update steps must rise: got \["):
            made(steps, [[0]] * len(steps), [[0]])

    def test_no_responses_at_all_are_refused(self):
        with pytest.raises(ParameterError, match="update steps must rise"):
            made([], np.zeros((0, 1)), [[0]])
