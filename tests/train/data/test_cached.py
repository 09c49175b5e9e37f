"""Folders and shards become one corpus; crops and augmentation follow their formulas."""

import io
import logging
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import random_batch, random_corpus, tiny_recipe

from aasp_features import AaSPConfig, LogMel, load_audio
from aasp_features.log_mel import ENERGY_FLOOR
from aasp_features.train.data.augmentation import change_gain, change_pitch, equalise, mix
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.cached import Corpus, load_corpus
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.recipe import Stage

CONFIG = AaSPConfig.tiny()


def test_folder_and_shards_give_the_same_corpus(sound_folder: Path, tmp_path: Path) -> None:
    files = sorted(sound_folder.rglob("*.wav"))
    for number in range(2):
        with tarfile.open(tmp_path / f"shard-{number}.tar", "w") as shard:
            for path in files[6 * number : 6 * number + 6]:
                shard.add(path, f"{path.stem}.wav")
                label = tarfile.TarInfo(f"{path.stem}.json")
                label.size = 2
                shard.addfile(label, io.BytesIO(b"{}"))
    one, other = load_corpus(sound_folder, CONFIG), load_corpus(tmp_path, CONFIG)
    assert torch.equal(one.log_mel, other.log_mel)
    assert torch.equal(one.start, other.start)
    assert (one.mean, one.std) == (other.mean, other.std)


def test_statistics_and_content(sound_folder: Path) -> None:
    corpus = load_corpus(sound_folder, CONFIG)
    front_end = LogMel(CONFIG.replace(mean=0.0, std=1.0))
    log_mels = [front_end(torch.from_numpy(load_audio(path))).numpy() for path in sorted(sound_folder.rglob("*.wav"))]
    everything = np.concatenate(log_mels)
    assert corpus.mean == pytest.approx(everything.mean(), abs=1e-3)
    assert corpus.std == pytest.approx(everything.std(), abs=1e-3)
    assert corpus.frames.tolist() == [len(log_mel) for log_mel in log_mels]
    third = corpus.log_mel[corpus.start[3] : corpus.start[3] + corpus.frames[3]].float()
    np.testing.assert_allclose(third, (log_mels[3] - corpus.mean) / corpus.std, atol=5e-3)


def test_broken_files_are_left_out_and_named(
    sound_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "letter.wav").write_text("dear all")
    (tmp_path / "sound.wav").write_bytes(next(sound_folder.rglob("*.wav")).read_bytes())
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus(tmp_path, CONFIG).frames) == 1
    assert "letter.wav" in caplog.text
    with pytest.raises(ValueError, match=r"no audio found in .*empty"):
        load_corpus(tmp_path / "empty", CONFIG)


def test_batches_are_functions_of_the_step() -> None:
    corpus = random_corpus([30, 100, 64, 200, 77, 150])
    one, other = CropSampler(corpus, tiny_recipe()), CropSampler(corpus, tiny_recipe())
    for step in (5, 0, 5, 2):
        a, generator_a = one.batch(step, 0.0)
        b, generator_b = other.batch(step, 0.0)
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        assert torch.equal(torch.rand(3, generator=generator_a), torch.rand(3, generator=generator_b))


def test_every_second_is_drawn_equally_often() -> None:
    lengths = [64, 640, 320, 64, 1280]  # 1, 10, 5, 1 and 20 crops of 4 columns
    recipe = tiny_recipe(stages=[Stage(until=1.0, columns=4, clips=1)])
    sampler = CropSampler(random_corpus(lengths), recipe)
    counts = np.zeros(5)
    for step in range(37):  # one epoch of 37 places, one clip a step
        batch, _ = sampler.batch(step, 0.0)
        counts[batch.clip[0]] += 1
    assert counts.tolist() == [1, 10, 5, 1, 20]


def test_crops_are_pieces_of_their_recording() -> None:
    recipe = tiny_recipe(mix_probability=0.0, gain_db=0.0)
    corpus = random_corpus([30, 100, 64, 200])
    batch, _ = CropSampler(corpus, recipe).batch(0, 0.0)
    assert batch.clip.tolist()[::2] == batch.clip.tolist()[1::2]
    for row, clip in enumerate(batch.clip.tolist()):
        whole = corpus.log_mel[corpus.start[clip] : corpus.start[clip] + corpus.frames[clip]].float()
        frames = int(batch.frames[row])
        assert frames == min(64, len(whole))
        crop = batch.log_mel[row, :frames]
        assert any(torch.equal(crop, whole[first : first + frames]) for first in range(len(whole) - frames + 1))
        assert batch.log_mel[row, frames:].abs().sum() == 0
        assert 0 <= batch.first_column[row] <= 60


def natural(log_mel: torch.Tensor) -> np.ndarray:
    return log_mel.double().numpy() * 4.0 - 6.0


def test_mixing_adds_powers() -> None:
    batch, corpus = random_batch([64, 64, 40, 64], 4), random_corpus([64])
    mixed = mix(batch, corpus, 1.0, 0.4, 1, torch.Generator().manual_seed(0))
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
    batch = batch._replace(log_mel=batch.log_mel.clamp(min=-2))  # above the floor
    mixed = mix(batch, random_corpus([64]), 0.5, 0.4, 1, torch.Generator().manual_seed(0))
    unchanged = [torch.allclose(a, b, atol=1e-5) for a, b in zip(batch.log_mel, mixed.log_mel, strict=True)]
    assert 70 < sum(unchanged) < 130


def test_gain_is_in_decibels() -> None:
    batch = random_batch([64, 40, 64], 4)
    changed = change_gain(batch, random_corpus([64]), 6.0, torch.Generator().manual_seed(0))
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
    return LogMel(CONFIG.replace(mean=0.0, std=1.0))(0.1 * sound + noise)


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
    batch, corpus = random_batch([64, 40] * 200, 4), random_corpus([64])
    batch = batch._replace(log_mel=batch.log_mel.clamp(min=-1) + 2)  # well above the floor
    batch = batch._replace(log_mel=batch.log_mel * (torch.arange(64) < batch.frames[:, None])[..., None])
    changed = equalise(batch, corpus, 3.0, torch.Generator().manual_seed(0))
    assert changed.log_mel[1, 40:].abs().sum() == 0
    gain = 10 / math.log(10) * (natural(changed.log_mel) - natural(batch.log_mel))[:, :40]  # decibels
    np.testing.assert_allclose(gain, gain[:, :1].repeat(40, axis=1), atol=1e-4)
    assert np.abs(np.diff(gain[:, 0], axis=1)).max() < 1.5  # from band to band
    np.testing.assert_allclose(gain[:, 0].std(), 3.0, rtol=0.1)


def test_tempo_reads_between_frames_of_its_own_recording_only() -> None:
    lengths = [30, 100, 64, 200, 1]
    frames = torch.tensor(lengths)
    ramps = torch.cat([1000 * index + torch.arange(n) for index, n in enumerate(lengths)])  # value = clip and frame
    corpus = Corpus(ramps[:, None].expand(-1, 128).float(), frames.cumsum(0) - frames, frames, 0.0, 1.0)
    recipe = tiny_recipe(mix_probability=0.0, gain_db=0.0, stretch=0.2)
    sampler = CropSampler(corpus, recipe)
    seen = []
    for step in range(50):
        batch, _ = sampler.batch(step, 0.0)
        for row, clip in enumerate(batch.clip.tolist()):
            count = int(batch.frames[row])
            assert count >= 1
            place = batch.log_mel[row, :count, 0].double() - 1000 * clip
            assert place.min() >= 0
            assert place.max() <= lengths[clip] - 1
            if lengths[clip] == 1:
                continue
            inner = place.diff()[:-1]  # the last step may end at the recording's last frame
            np.testing.assert_allclose(inner, np.full(len(inner), inner[0]), atol=1e-3)
            assert count >= min(64, int(lengths[clip] / math.exp(0.2)))
            assert batch.log_mel[row, count:].abs().sum() == 0
            seen.append(float(inner[0]))
    assert math.exp(-0.2) <= min(seen) < 0.85
    assert 1.17 < max(seen) <= math.exp(0.2) + 1e-3


def test_augmented_batches_are_functions_of_the_step() -> None:
    corpus = random_corpus([30, 100, 64, 200, 77, 150])
    recipe = tiny_recipe(stretch=0.2, pitch=2.0, equalise_db=3.0)
    one, other = CropSampler(corpus, recipe), CropSampler(corpus, recipe)
    for step in (5, 0, 2):
        a, _ = one.batch(step, 0.0)
        b, _ = other.batch(step, 0.0)
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
