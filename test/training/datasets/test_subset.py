"""Subsets: of each class alike, the same every time, and the smaller within the larger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.training.datasets.subset import balanced, set_aside

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=80)
SEEDS = st.integers(0, 2**32)


class TestLimit:
    @given(LABELS, st.integers(1, 90), SEEDS)
    def test_classes_are_alike_unless_one_has_no_more(self, labels, limit, seed):
        labels = np.array(labels)
        chosen = balanced(labels, limit, seed)
        assert len(chosen) == min(limit, len(labels))
        assert (np.diff(chosen) > 0).all()
        has, keeps = np.bincount(labels, minlength=7), np.bincount(labels[chosen], minlength=7)
        assert all(keeps[c] == has[c] or keeps[c] >= keeps.max() - 1 for c in range(7))

    @given(LABELS, st.integers(1, 40), st.integers(1, 40), SEEDS)
    def test_a_smaller_choice_is_part_of_a_larger_one(self, labels, one, other, seed):
        few, many = sorted((one, other))
        assert set(balanced(labels, few, seed)) <= set(balanced(labels, many, seed))

    def test_without_a_limit_all_are_kept(self):
        assert balanced([3, 1, 1], None).tolist() == balanced([3, 1, 1], 3).tolist() == [0, 1, 2]

    def test_the_choice_is_the_same_on_every_machine(self):
        labels = np.arange(100) % 4
        assert balanced(labels, 6).tolist() == [2, 11, 13, 20, 62, 92]
        assert balanced(labels, 6, seed=1).tolist() != [2, 11, 13, 20, 62, 92]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_that_keeps_nothing(self, limit):
        with pytest.raises(ParameterError, match="limit: nothing would be left: expected 1 or"):
            balanced([0, 1], limit)


class TestShare:
    @given(LABELS, st.floats(0, 1), SEEDS)
    def test_each_class_gives_its_share(self, labels, share, seed):
        labels = np.array(labels)
        aside = set_aside(labels, share, seed)
        assert aside.sum() == round(share * len(labels))
        gives, has = np.bincount(labels[aside], minlength=7), np.bincount(labels, minlength=7)
        assert (np.abs(gives - share * has) <= 1 + 1e-9).all()

    @given(LABELS, st.floats(0, 0.99), SEEDS)
    def test_a_class_is_emptied_only_if_no_other_can_give_one_more(self, labels, share, seed):
        labels = np.array(labels)
        aside = set_aside(labels, share, seed)
        gives, has = np.bincount(labels[aside], minlength=7), np.bincount(labels, minlength=7)
        least = np.floor(share * has)
        if ((gives == has) & (has > 0)).any():
            assert not ((gives == least) & (least + 1 < has)).any()

    def test_another_seed_sets_others_aside(self):
        labels = np.arange(60) % 3
        assert np.array_equal(set_aside(labels, 0.5, 4), set_aside(labels, 0.5, 4))
        assert not np.array_equal(set_aside(labels, 0.5, 4), set_aside(labels, 0.5, 5))
