"""Changes to clips, against their formulas and counts."""

import math

import numpy as np
import pytest
import torch

from aasp_features import AaSPConfig
from aasp_features.model.log_mel import ENERGY_FLOOR, LogMel
from aasp_features.train.data.batch import Batch
from aasp_features.train.evaluate.finetune.augmentation import (
    augment,
    change_amplitude,
    cut_clips,
    draw_shares,
    mask_bands_and_frames,
    mix_up,
    roll,
    stretch,
)
from aasp_features.train.evaluate.finetune.recipe import AugmentationSettings

MEAN, STD = -6.0, 4.0


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(lengths: list[int], seed: int = 0) -> Batch:
    return cut_clips([torch.randn(n, 128, generator=seeded(seed + n)) for n in lengths], 100, seeded())


def test_long_sounds_are_cut_anywhere_short_ones_stay() -> None:
    ramp = torch.arange(10.0)[:, None].expand(10, 128)
    firsts = []
    for seed in range(300):
        batch = cut_clips([ramp, ramp[:3]], 4, seeded(seed))
        assert batch.frame_lengths.tolist() == [4, 3]
        assert batch.log_mel[1, :, 0].tolist() == [0, 1, 2, 0]
        firsts.append(int(batch.log_mel[0, 0, 0]))
        assert batch.log_mel[0, :, 0].tolist() == [firsts[-1] + step for step in range(4)]
    counts = np.bincount(firsts)
    assert len(counts) == 7  # 0…6
    assert np.abs(counts - 300 / 7).max() < 4 * (300 / 7) ** 0.5


def test_a_turn_keeps_every_frame() -> None:
    batch = batch_of([50, 30])
    turned = roll(batch, seeded(3))
    for row, length in enumerate((50, 30)):
        whole, new = batch.log_mel[row, :length], turned.log_mel[row, :length]
        shifts = [shift for shift in range(length) if torch.equal(new, whole.roll(shift, 0))]
        assert len(shifts) == 1
    assert not turned.log_mel[1, 30:].any()


def test_a_gain_is_that_of_the_samples() -> None:
    front_end = LogMel(AaSPConfig(mean=MEAN, std=STD))
    sound = torch.randn(8000, generator=seeded())
    batch = cut_clips([front_end(sound)] * 2, 100, seeded())
    louder = change_amplitude(batch, MEAN, STD, seeded(1))
    for row in range(2):
        factor = float(((louder.log_mel[row] - batch.log_mel[row]).mean() * STD / 2).exp())
        assert 0.5 < factor < 1.5
        torch.testing.assert_close(louder.log_mel[row], front_end(factor * sound), atol=1e-4, rtol=0)
    silence = cut_clips([front_end(torch.zeros(8000))], 100, seeded())
    floor = (math.log(ENERGY_FLOOR) - MEAN) / STD
    assert float(change_amplitude(silence, MEAN, STD, seeded(2)).log_mel.min()) >= floor - 1e-6


def test_mixing_is_linear_in_sound_and_label() -> None:
    batch, targets = batch_of([40, 20, 40]), torch.eye(3)
    shares = torch.tensor([0.7, 0.7, 1.0])
    mixed, labels = mix_up(batch, targets, shares)
    torch.testing.assert_close(mixed.log_mel[0], 0.7 * batch.log_mel[0] + 0.3 * batch.log_mel[2])
    torch.testing.assert_close(mixed.log_mel[1], batch.log_mel[1])  # the middle is its own partner
    torch.testing.assert_close(mixed.log_mel[2], batch.log_mel[2])
    torch.testing.assert_close(labels, torch.tensor([[0.7, 0, 0.3], [0, 1, 0], [0, 0, 1]]))
    assert mixed.frame_lengths.tolist() == [40, 20, 40]
    longer, _ = mix_up(batch_of([20, 40]), torch.eye(2), torch.tensor([0.5, 1.0]))
    assert longer.frame_lengths.tolist() == [40, 40]


@pytest.mark.parametrize("per", ["batch", "clip"])
def test_shares(per: str) -> None:
    settings = AugmentationSettings(mixup=0.8, mixup_probability=0.9, mixup_per=per)
    drawn = torch.stack([draw_shares(4, settings, seeded(seed)) for seed in range(500)])
    assert torch.equal(drawn[:, 0], drawn[:, 3]) == (per == "batch")
    first = drawn[:, 0].numpy()
    assert abs(np.mean(first == 1) - 0.1) < 4 * (0.09 / 500) ** 0.5
    mixed = first[first < 1]
    assert abs(mixed.mean() - 0.5) < 0.07
    assert abs(mixed.var() - 1 / (4 * (2 * 0.8 + 1))) < 0.02  # of Beta(a, a)


def test_masks_are_as_wide_as_asked_for_and_hold_the_mean() -> None:
    sizes = torch.full((5000,), 100)
    masks = stretch(sizes, 0.2, 128, seeded())
    widths = masks.sum(dim=1).numpy()
    assert not masks[:, 100:].any()
    counts = np.bincount(widths, minlength=21)
    assert len(counts) == 21  # 0…20, all alike
    assert np.abs(counts - 5000 / 21).max() < 4.5 * (5000 / 21) ** 0.5
    starts = masks.int().argmax(dim=1).numpy()[widths == 20]
    assert starts.min() <= 10
    assert starts.max() >= 70
    assert (masks.int().diff(dim=1).abs().sum(dim=1) <= 2).all()  # one stretch each
    batch = batch_of([80, 40])
    masked = mask_bands_and_frames(batch, 0.5, 0.5, seeded(4)).log_mel
    changed = masked != batch.log_mel
    assert changed.any()
    assert not masked[changed].any()
    untouched = mask_bands_and_frames(batch, 0.0, 0.0, seeded(4))
    assert torch.equal(untouched.log_mel, batch.log_mel)


def test_everything_together_is_a_function_of_the_seed() -> None:
    settings = AugmentationSettings(roll=True, gain=True, mixup=0.5, mask_bands=0.2, mask_frames=0.2)
    batch, targets = batch_of([50, 30]), torch.eye(2)
    results = [augment(batch, targets, settings, MEAN, STD, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0][0].log_mel, results[1][0].log_mel)
    assert not torch.equal(results[0][0].log_mel, results[2][0].log_mel)
    torch.testing.assert_close(results[0][1].sum(dim=1), torch.ones(2))
    plain, same = augment(batch, targets, AugmentationSettings(), MEAN, STD, seeded())
    assert torch.equal(plain.log_mel, batch.log_mel)
    assert same is targets
