"""Sequences: rows of picture numbers that never leave their clip, one seed one draw."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError, ParameterError
from streaming_net_ros.training import Augmentation, Sequences
from training.toys import all_batches, noisy, numbered

lengths = st.lists(st.integers(1, 14), min_size=1, max_size=5)


def needed(frames, stride):
    """Pictures from a sequence's first frame to its last."""
    return (frames - 1) * stride + 1


def clip_of(clips, rows):
    """The clip of each picture number."""
    return torch.bucketize(rows, clips.bounds[:, 1].contiguous(), right=True)


class TestWindows:
    @given(lengths, st.integers(1, 6), st.integers(1, 3), st.booleans())
    def test_no_sequence_crosses_from_one_clip_to_the_next(self, lengths, frames, stride, hold):
        clips = numbered(*lengths)
        if not hold and max(lengths) < needed(frames, stride):
            return
        sequences = Sequences(clips, frames, hold=hold, stride=stride)
        for batch in all_batches(sequences):
            of = clip_of(clips, batch.world)
            assert (of == of[:1]).all()

    @given(lengths, st.integers(1, 6), st.integers(1, 3))
    def test_a_sequence_is_every_nth_picture_of_the_world(self, lengths, frames, stride):
        clips = numbered(*lengths)
        fitting = [n for n in lengths if n >= needed(frames, stride)]
        if not fitting:
            return
        sequences = Sequences(clips, frames, stride=stride)
        assert len(sequences) == sum(n - needed(frames, stride) + 1 for n in fitting)
        for batch in all_batches(sequences):
            assert batch.frames == frames and len(batch) == 3
            assert batch.world.shape == (frames * stride + 1, 3)
            assert torch.equal(batch.rows, batch.world[::stride][:frames])
            assert torch.equal(batch.rows, batch.rows[0] + stride * torch.arange(frames)[:, None])

    def test_without_a_stride_frames_are_consecutive_pictures(self):
        batch = Sequences(numbered(9), 4).batch(0, 6, seed=0)
        assert torch.equal(batch.rows - batch.rows[0], torch.arange(4)[:, None].expand(4, 6))

    def test_pictures_and_targets_are_those_of_the_rows(self):
        batch = Sequences(numbered(5, 9), 4).batch(2, 3, seed=7)
        assert torch.equal(batch.images()[:, :, 0, 0, 0].long(), batch.rows)
        assert torch.equal(batch.targets("drive")[..., 0].long(), batch.rows)
        assert torch.equal(batch.targets("class"), batch.rows % 2)

    def test_shapes_are_time_first(self):
        batch = Sequences(numbered(9), 4).batch(0, 3, seed=0)
        assert batch.images().shape == (4, 3, 1, 4, 4) and batch.images().dtype is torch.uint8
        assert batch.targets("drive").shape == (4, 3, 2)
        assert batch.targets("drive").dtype is torch.float32
        assert batch.targets("class").shape == (4, 3)


class TestStills:
    @given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 3))
    def test_a_still_is_one_number_repeated(self, count, frames, stride):
        sequences = Sequences(numbered(*[1] * count), frames, hold=True, stride=stride)
        assert len(sequences) == count
        for batch in all_batches(sequences):
            assert (batch.world == batch.world[0]).all()

    @given(lengths, st.integers(1, 9))
    def test_a_held_clip_goes_on_with_its_last_picture(self, lengths, frames):
        clips = numbered(*lengths)
        sequences = Sequences(clips, frames, hold=True)
        assert len(sequences) == sum(max(1, n - frames + 1) for n in lengths)
        for batch in all_batches(sequences):
            last = clips.bounds[clip_of(clips, batch.rows[0]), 1] - 1
            wanted = batch.rows[0] + torch.arange(frames)[:, None]
            assert torch.equal(batch.rows, torch.minimum(wanted, last))

    def test_without_hold_short_clips_are_left_out(self):
        clips = numbered(3, 1, 5)
        assert len(Sequences(clips, 4, hold=True)) == 4
        assert len(Sequences(clips, 4)) == 2


class TestDraw:
    @given(lengths, st.integers(1, 4), st.integers(1, 7), st.integers(0, 1000))
    def test_each_sequence_once_before_any_comes_twice(self, lengths, frames, size, seed):
        sequences = Sequences(numbered(*lengths), frames, hold=True)
        total = len(sequences)
        batches = [sequences.batch(k, size, seed) for k in range(-(-3 * total // size))]
        firsts = torch.cat([batch.rows[0] for batch in batches])[: 3 * total].tolist()
        for epoch in range(3):
            assert len(set(firsts[epoch * total : (epoch + 1) * total])) == total

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=6))
    def test_a_batch_depends_on_seed_and_number_alone(self, asked_before):
        how = Augmentation(mirror=True, shift=1, brightness=0.2, noise=0.1)
        used = Sequences(numbered(9, 7), 3, how, switch=(1, 3))
        for number, seed in asked_before:
            used.batch(number, 4, seed).images()
            next(used.tiles(4, seed))
        fresh = Sequences(numbered(9, 7), 3, how, switch=(1, 3))
        for number in (0, 5):
            one, other = used.batch(number, 4, seed=1), fresh.batch(number, 4, seed=1)
            assert torch.equal(one.world, other.world)
            assert torch.equal(one.images(), other.images())
            assert torch.equal(one.targets("drive"), other.targets("drive"))

    def test_seeds_and_numbers_differ(self):
        sequences = Sequences(numbered(40), 3, noisy())
        batches = [sequences.batch(k, 4, seed) for seed in (0, 1) for k in (0, 1)]
        rows = {tuple(batch.rows[0].tolist()) for batch in batches}
        noise = {tuple((b.images() - b.rows[..., None, None, None]).flatten().tolist())
                 for b in batches}  # fmt: skip
        assert len(rows) == len(noise) == 4

    def test_epochs_come_in_other_orders(self):
        sequences = Sequences(numbered(20), 1)
        first, second = (sequences.batch(k, 20, seed=0).rows[0].tolist() for k in (0, 1))
        assert sorted(first) == sorted(second) and first != second


class TestParts:
    @given(st.integers(0, 5), st.integers(1, 6))
    def test_parts_put_together_are_the_whole(self, first, length):
        batch = Sequences(numbered(9, 9), 7, Augmentation(mirror=True, shift=1)).batch(0, 3, 0)
        last = min(first + length, 7)
        parts = [(0, first), (first, last), (last, 7)]
        for ask in (batch.images, lambda b, e: batch.targets("drive", b, e)):
            assert torch.equal(torch.cat([ask(b, e) for b, e in parts]), ask(0, None))

    def test_a_part_has_the_same_noise_whenever_it_is_asked_for(self):
        batch = Sequences(numbered(9), 6, noisy(0.2)).batch(0, 3, seed=0)
        first = batch.images(2, 5)
        batch.images(0, 2)
        assert torch.equal(batch.images(2, 5), first)
        again = Sequences(numbered(9), 6, noisy(0.2)).batch(0, 3, seed=0)
        assert torch.equal(again.images(2, 5), first)

    def test_noise_does_not_repeat_from_part_to_part(self):
        batch = Sequences(numbered(1), 6, noisy(0.2), hold=True).batch(0, 3, seed=0)
        assert not torch.equal(batch.images(0, 3), batch.images(3, 6))


class TestTiles:
    @given(lengths, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
    def test_they_cover_what_fits_in_order_without_overlap(self, lengths, frames, stride, size):
        need = needed(frames, stride)
        if max(lengths) < need:
            return
        tiles = list(Sequences(numbered(*lengths), frames, stride=stride).tiles(size))
        assert all(len(tile) == size for tile in tiles[:-1]) and 1 <= len(tiles[-1]) <= size
        rows = torch.cat([tile.rows for tile in tiles], dim=1).T.flatten().tolist()
        expected, begin = [], 0
        for n in lengths:
            for tile in range(n // need):
                first = begin + tile * need
                expected += range(first, first + need, stride)
            begin += n
        assert rows == expected and len(set(rows)) == len(rows)

    def test_held_clips_are_one_tile_each(self):
        tiles = list(Sequences(numbered(1, 2, 1), 4, hold=True).tiles(8))
        assert tiles[0].rows.T.tolist() == [[0] * 4, [1, 2, 2, 2], [3] * 4]

    def test_their_noise_is_none_that_was_learnt_from(self):
        sequences = Sequences(numbered(1), 3, noisy(0.2), hold=True)
        learnt, judged = sequences.batch(0, 1, seed=0), next(sequences.tiles(1, seed=0))
        assert torch.equal(learnt.rows, judged.rows)
        assert not torch.equal(learnt.images(), judged.images())

    def test_their_noise_is_that_of_the_seed_alone(self):
        sequences = Sequences(numbered(12), 3, noisy(0.2))
        one, again = (next(sequences.tiles(4)).images() for _ in range(2))
        assert torch.equal(one, again)
        assert not torch.equal(one, next(sequences.tiles(4, seed=1)).images())


class TestSwitch:
    @given(st.integers(2, 12), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99), st.data())
    def test_stills_switch_once_inside_the_limits_to_another(
        self, count, frames, stride, seed, data
    ):
        first = data.draw(st.integers(1, frames * stride))
        last = data.draw(st.integers(first, frames * stride))
        clips = numbered(*[1] * count)
        sequences = Sequences(clips, frames, hold=True, stride=stride, switch=(first, last))
        batch = sequences.batch(0, 8, seed)
        is_first = batch.world == batch.world[0]
        at = is_first.sum(0)  # pictures before the switch
        assert ((at >= first) & (at <= last)).all()
        for k, where in enumerate(at.tolist()):
            assert is_first[:where, k].all() and not is_first[where:, k].any()
            assert (batch.world[where:, k] == batch.world[where, k]).all()

    def test_pictures_and_targets_switch_at_the_same_frame(self):
        batch = Sequences(numbered(9, 9), 8, switch=(2, 6)).batch(0, 12, seed=0)
        seen = batch.images()[:, :, 0, 0, 0].long()
        assert torch.equal(seen, batch.rows)
        assert torch.equal(batch.targets("drive")[..., 0].long(), seen)
        assert torch.equal(batch.targets("class"), seen % 2)
        jumps = (seen[1:] - seen[:-1] != 1).sum(0)
        assert (jumps == 1).all()

    def test_every_picture_of_the_limits_has_its_turn(self):
        sequences = Sequences(numbered(*[1] * 9), 6, hold=True, switch=(2, 5))
        world = torch.cat([batch.world for batch in (sequences.batch(k, 50, 0) for k in range(4))],
                          dim=1)  # fmt: skip
        assert set((world == world[0]).sum(0).tolist()) == {2, 3, 4, 5}

    def test_the_other_one_begins_with_its_first_picture(self):
        clips = numbered(5, 5)
        batch = Sequences(clips, 5, switch=(3, 3)).batch(0, 2, seed=0)
        assert sorted(batch.world.T.tolist()) == [[0, 1, 2, 5, 6, 7], [5, 6, 7, 0, 1, 2]]

    def test_with_one_sequence_alone_it_begins_anew(self):
        batch = Sequences(numbered(4), 4, switch=(2, 2)).batch(0, 1, seed=0)
        assert batch.world[:, 0].tolist() == [0, 1, 0, 1, 2]

    @given(st.lists(st.integers(6, 12), min_size=1, max_size=3), st.integers(0, 99))
    def test_what_comes_is_another_sequence_and_any_of_them_may(self, lengths, seed):
        sequences = Sequences(numbered(*lengths), 6, switch=(3, 3))
        world = sequences.batch(0, 8, seed).world
        if len(sequences) > 1:
            assert (world[3] != world[0]).all()
        many = sequences.batch(0, 400, seed).world
        assert len(set(many[3].tolist())) == len(sequences)

    @pytest.mark.parametrize("switch", [(0, 2), (3, 2), (1, 9), (9, 9)])
    def test_limits_that_cannot_be(self, switch):
        with pytest.raises(ParameterError, match="no such pictures to switch at") as error:
            Sequences(numbered(9), 4, stride=2, switch=switch)
        assert "between 1 and 8" in str(error.value)


class TestFaults:
    def test_sequences_that_fit_nowhere(self):
        with pytest.raises(DataError, match="no sequence fits") as error:
            Sequences(numbered(4, 3), 5)
        assert "at least 5 frames" in str(error.value) and "got 4" in str(error.value)

    @pytest.mark.parametrize("frames", [0, -1])
    def test_sequences_of_no_frame(self, frames):
        with pytest.raises(ParameterError, match="not a length"):
            Sequences(numbered(4), frames)
