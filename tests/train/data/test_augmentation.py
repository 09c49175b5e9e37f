"""Changes to log-mels follow their formulas, and leave what is past a clip's end alone."""

import math

import numpy as np
import pytest
import torch
from train_helpers import random_batch

from aasp_features import AaSPConfig, LogMel
from aasp_features.model.log_mel import ENERGY_FLOOR
from aasp_features.train.data.augmentation import change_gain, change_pitch, equalise, mix, partners
from aasp_features.train.data.batch import Batch

MEAN, STD = -6.0, 4.0


def natural(log_mel: torch.Tensor) -> np.ndarray:
    return log_mel.double().numpy() * STD + MEAN


def test_mixing_adds_powers() -> None:
    batch = random_batch([64, 64, 40, 64], 4)._replace(sound=torch.arange(4))
    mixed = mix(batch, partners(batch.sound.tolist(), 1), MEAN, STD, 1.0, 0.4, torch.Generator().manual_seed(0))
    share = 0.4 * torch.rand(4, generator=torch.Generator().manual_seed(0)).double().numpy()
    own, partner = np.exp(natural(batch.log_mel)), np.exp(natural(batch.log_mel.roll(1, dims=0)))
    for row, frames in enumerate([64, 64, 40, 64]):
        both = min(frames, [64, 64, 64, 40][row])  # past the partner's end it is silent
        power = (1 - share[row]) * own[row]
        power[:both] += share[row] * partner[row, :both]
        expected = np.log(np.maximum(power[:frames], ENERGY_FLOOR))
        np.testing.assert_allclose(natural(mixed.log_mel[row, :frames]), expected, atol=1e-4)
        assert mixed.log_mel[row, frames:].abs().sum() == 0


def test_some_crops_stay_unmixed() -> None:
    batch = random_batch([64] * 200, 4)
    batch = batch._replace(log_mel=batch.log_mel.clamp(min=-2), sound=torch.arange(200))  # above the floor
    mixed = mix(batch, partners(batch.sound.tolist(), 1), MEAN, STD, 0.5, 0.4, torch.Generator().manual_seed(0))
    unchanged = [torch.allclose(a, b, atol=1e-5) for a, b in zip(batch.log_mel, mixed.log_mel, strict=True)]
    assert 70 < sum(unchanged) < 130


@pytest.mark.parametrize("crops", [1, 2])
@pytest.mark.parametrize("count", [*range(1, 9), 48])
def test_crops_of_one_sound_have_different_partners(count: int, crops: int) -> None:
    sound = [index // crops for index in range(count * crops)]
    found = partners(sound, crops).tolist()
    for row, partner in enumerate(found):
        own = [found[other] for other in range(len(sound)) if sound[other] == sound[row] and found[other] != other]
        assert len({sound[other] for other in own}) == len(own) == min(crops, count - 1)
        assert partner == row or sound[partner] != sound[row]
    if count > crops:
        assert sorted(found) == list(range(len(sound)))  # each crop is heard under one other


def test_a_sound_that_stands_twice_in_a_batch_is_one_sound() -> None:
    sound = [3, 3, 1, 1, 3, 3, 2, 2, 4, 4, 5, 5]
    found = partners(sound, 2).tolist()
    assert sorted(sound[partner] for partner, own in zip(found, sound, strict=True) if own == 3) == [1, 2, 4, 5]
    assert partners([7] * 6, 2).tolist() == list(range(6))


def test_a_crop_without_a_partner_stays_as_it_is() -> None:
    """Of two sounds' crops, one of each sound is mixed; of a single sound's, none."""
    batch = random_batch([64] * 4, 4)
    batch = batch._replace(log_mel=batch.log_mel.clamp(min=-2))  # above the floor
    for rows, changed in ((slice(0, 4), [True, False] * 2), (slice(0, 2), [False] * 2)):
        part = batch.rows(rows)
        mixed = mix(
            part, partners(part.sound.tolist(), 2), MEAN, STD, 1.0, 0.4, torch.Generator().manual_seed(0)
        ).log_mel
        assert [not torch.allclose(a, b, atol=1e-5) for a, b in zip(part.log_mel, mixed, strict=True)] == changed


def test_gain_is_in_decibels() -> None:
    batch = random_batch([64, 40, 64], 4)
    changed = change_gain(batch, MEAN, STD, 6.0, torch.Generator().manual_seed(0))
    decibels = 6.0 * (2 * torch.rand(3, generator=torch.Generator().manual_seed(0)).double().numpy() - 1)
    for row, frames in enumerate([64, 40, 64]):
        expected = natural(batch.log_mel[row, :frames]) + decibels[row] * math.log(10) / 10
        clipped = np.maximum(expected, math.log(ENERGY_FLOOR))
        np.testing.assert_allclose(natural(changed.log_mel[row, :frames]), clipped, atol=1e-4)
        assert changed.log_mel[row, frames:].abs().sum() == 0


def harmonics(fundamental: float) -> torch.Tensor:
    """The log-mel of one second of a tone with nine harmonics, and faint noise between them."""
    time = torch.arange(16000) / 16000
    noise = 1e-2 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    sound = sum(torch.sin(2 * math.pi * fundamental * k * time) / k for k in range(1, 10))
    return LogMel(AaSPConfig.tiny(mean=0.0, std=1.0))(0.1 * sound + noise)


def rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_a_transposed_crop_is_the_transposed_sound() -> None:
    original = harmonics(440.0)
    batch = Batch(original.expand(8, -1, -1), torch.full((8,), len(original)), torch.zeros(8), torch.arange(8))
    changed = change_pitch(batch, 3.0, torch.Generator().manual_seed(0)).log_mel
    factor = 2 ** (3 / 12 * (2 * torch.rand(8, 1, generator=torch.Generator().manual_seed(0)) - 1))
    assert (factor.log2() * 12).abs().max() <= 3
    for row in range(8):
        wanted = harmonics(440.0 * float(factor[row]))
        missed, moved = rms(changed[row] - wanted), rms(original - wanted)
        assert missed < max(0.4 * moved, 0.4)  # what is left is where the pitch falls between the bands


def test_equalising_is_one_smooth_gain_over_the_bands() -> None:
    batch = random_batch([64, 40] * 200, 4)
    batch = batch._replace(log_mel=batch.log_mel.clamp(min=-1) + 2)  # well above the floor
    batch = batch._replace(log_mel=batch.log_mel * (torch.arange(64) < batch.frame_lengths[:, None])[..., None])
    changed = equalise(batch, MEAN, STD, 3.0, torch.Generator().manual_seed(0))
    assert changed.log_mel[1, 40:].abs().sum() == 0
    gain = 10 / math.log(10) * (natural(changed.log_mel) - natural(batch.log_mel))[:, :40]  # decibels
    np.testing.assert_allclose(gain, gain[:, :1].repeat(40, axis=1), atol=1e-4)
    assert np.abs(np.diff(gain[:, 0], axis=1)).max() < 1.5  # from band to band
    np.testing.assert_allclose(gain[:, 0].std(), 3.0, rtol=0.1)
