"""Changes of pictures: one for all frames of a sequence, but noise anew in each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.training import Augmentation, Sequences, parse_plan
from streaming_net_ros.training.sequences import generator
from training.toys import learner, numbered

TIME, BATCH = 4, 5


def pictures(seed=0, time=TIME, batch=BATCH, height=6, width=8, value=None):
    if value is not None:
        return torch.full((time, batch, 3, height, width), value, dtype=torch.uint8)
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (time, batch, 3, height, width), generator=rng, dtype=torch.uint8)


def changed(images, seed=0, **how):
    change = Augmentation(**how).draw(images.shape[1], generator(seed))
    return change.apply(images, generator(seed, 1)), change


class TestMirror:
    @given(st.integers(0, 2**31))
    def test_twice_is_itself(self, seed):
        images = pictures(seed)
        once, change = changed(images, seed, mirror=True)
        assert torch.equal(change.apply(once, generator(0)), images)

    def test_it_exchanges_left_and_right_of_whole_sequences_about_half_of_them(self):
        images = pictures(batch=64)
        turned, change = changed(images, mirror=True)
        is_turned = (turned == images.flip(-1)).flatten(2).all(2).all(0)
        is_kept = (turned == images).flatten(2).all(2).all(0)
        assert (is_turned ^ is_kept).all() and torch.equal(is_turned, change.mirrored)
        assert 16 < int(is_turned.sum()) < 48

    def test_fields_that_have_a_side_turn_with_the_picture(self):
        clips = numbered(40)
        plain = Sequences(clips, 3).batch(0, 38, seed=1).targets("drive")
        batch = Sequences(clips, 3, Augmentation(mirror=True)).batch(0, 38, seed=1)
        changed = batch.targets("drive")
        assert torch.equal(changed.abs(), plain.abs())
        assert torch.equal(changed[..., 1], plain[..., 1])
        is_turned = changed[1:, :, 0] == -plain[1:, :, 0]  # number 0 is its own negative
        assert torch.equal(is_turned[0], is_turned[1]) and 8 < int(is_turned[0].sum()) < 30
        assert torch.equal(batch.targets("class"), batch.rows % 2)


class TestShift:
    @given(st.integers(0, 2**31), st.integers(1, 9))
    def test_it_moves_by_whole_pixels_and_repeats_the_edge(self, seed, limit):
        images = pictures(seed, time=2, batch=3)
        moved, change = changed(images, seed, shift=limit)
        assert int(change.moves.abs().max()) <= limit
        rows, columns = torch.arange(6), torch.arange(8)
        for k, (down, right) in enumerate(change.moves.tolist()):
            by_hand = images[:, k][..., (rows - down).clamp(0, 5), :]
            by_hand = by_hand[..., (columns - right).clamp(0, 7)]
            assert torch.equal(moved[:, k], by_hand)

    def test_every_move_up_to_the_limit_comes(self):
        moves = Augmentation(shift=1).draw(400, generator(0)).moves
        assert {tuple(move) for move in moves.tolist()} == {
            (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)
        }


class TestLight:
    def test_it_changes_alike_over_a_sequence_and_differs_between_sequences(self):
        after, _ = changed(pictures(batch=8, value=120), brightness=0.2, contrast=0.2)
        assert (after == after[:1, :, :1, :1, :1]).all()
        assert len(after[0, :, 0, 0, 0].unique()) > 4

    @given(st.integers(0, 2**31), st.floats(0, 0.9), st.floats(0, 0.9))
    def test_a_pixel_follows_the_formula_and_saturates(self, seed, contrast, brightness):
        images = pictures(seed, time=2, batch=3)
        after, change = changed(images, seed, contrast=contrast, brightness=brightness)
        factors, greys = (v.view(1, -1, 1, 1, 1) for v in (change.factors, change.greys))
        assert float((factors - 1).abs().max()) <= contrast + 1e-6
        assert float(greys.abs().max()) <= 255 * brightness + 1e-4
        by_hand = (128 + greys + factors * (images.double() - 128)).clamp(0, 255)
        assert float((after.double() - by_hand).abs().max()) <= 0.51

    def test_it_never_wraps(self):
        images = torch.cat([pictures(batch=8, time=1, value=v) for v in (0, 255)])
        after, _ = changed(images, brightness=0.4, contrast=0.4, noise=0.1)
        mean = after.double().mean(dim=(2, 3, 4))
        assert (mean[0] < mean[1]).all()


class TestNoise:
    @pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
    def test_it_has_the_stated_deviation_and_no_mean(self, noise):
        after, _ = changed(pictures(value=128, height=40, width=40), noise=noise)
        difference = after.double() - 128
        # Rounding to whole greys adds a twelfth of one to the variance.
        expected = ((255 * noise) ** 2 + 1 / 12) ** 0.5
        assert float(difference.std()) == pytest.approx(expected, rel=0.02)
        assert abs(float(difference.mean())) < 0.1

    def test_it_is_new_in_every_frame_sequence_and_channel(self):
        after, _ = changed(pictures(value=128), noise=0.1)
        seen = [tuple(plane.flatten().tolist()) for plane in after.flatten(0, 2)]
        assert len(set(seen)) == len(seen) == TIME * BATCH * 3

    def test_a_deviation_of_the_full_range_and_more_is_allowed(self):
        after, _ = changed(pictures(value=128, height=30), noise=1000)
        assert ((after == 0) | (after == 255)).double().mean() > 0.99

    def test_it_is_all_that_stays_when_a_network_is_judged(self):
        how = Augmentation(mirror=True, shift=3, brightness=0.1, contrast=0.2, noise=0.3)
        assert how.of_the_camera == Augmentation(noise=0.3)


class TestAll:
    @given(
        st.integers(0, 2**31),
        st.booleans(),
        st.integers(0, 4),
        st.sampled_from([0.0, 0.3]),
        st.sampled_from([0.0, 0.3]),
        st.sampled_from([0.0, 0.2]),
    )
    def test_pictures_stay_8_bit_and_of_their_size_and_the_given_ones_whole(
        self, seed, mirror, shift, brightness, contrast, noise
    ):
        images = pictures(seed)
        before = images.clone()
        after, _ = changed(images, seed, mirror=mirror, shift=shift, brightness=brightness,
                           contrast=contrast, noise=noise)  # fmt: skip
        assert after.dtype is torch.uint8 and after.shape == images.shape
        assert torch.equal(images, before)
        again, _ = changed(images, seed, mirror=mirror, shift=shift, brightness=brightness,
                           contrast=contrast, noise=noise)  # fmt: skip
        assert torch.equal(after, again)

    def test_nothing_asked_nothing_changed(self):
        images = pictures()
        after, change = changed(images)
        assert torch.equal(after, images)
        assert not change.mirrored.any() and not change.moves.any()
        assert (change.factors == 1).all() and (change.greys == 0).all()

    def test_every_change_alike_over_a_sequence_but_the_noise(self):
        images = pictures(time=1).expand(TIME, -1, -1, -1, -1)
        how = {"mirror": True, "shift": 2, "brightness": 0.2, "contrast": 0.3}
        after, _ = changed(images, **how)
        assert (after == after[:1]).all()
        noised, _ = changed(images, **how, noise=0.05)
        assert (noised[0] != noised[1]).any()

    def test_one_change_moves_with_nothing_else(self):
        """What one setting draws does not depend on how large another one is."""
        quiet = Augmentation(mirror=True, shift=2).draw(9, generator(3))
        loud = Augmentation(mirror=True, shift=2, brightness=0.5, noise=1).draw(9, generator(3))
        assert torch.equal(quiet.mirrored, loud.mirrored)
        assert torch.equal(quiet.moves, loud.moves)
        assert torch.equal(quiet.factors, loud.factors) and (loud.greys != 0).all()

    @pytest.mark.parametrize(
        "name, value",
        [
            ("mirror", "perhaps"),
            ("shift", -1),
            ("shift", 1.5),
            ("shift", 1025),
            ("brightness", -0.1),
            ("brightness", 1.0),
            ("contrast", -0.1),
            ("contrast", 1.0),
            ("noise", -0.1),
            ("noise", 1001),
            ("noise", float("nan")),
            ("blur", 1),
        ],
    )
    def test_sizes_out_of_range(self, name, value):
        with pytest.raises(ValidationError):
            Augmentation(**{name: value})
        with pytest.raises(ParameterError, match=f"augmentation.{name}"):
            parse_plan({"learners": [learner()], "augmentation": {name: value}})
