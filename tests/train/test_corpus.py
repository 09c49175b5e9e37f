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
from aasp_features.train.augmentation import change_gain, mix
from aasp_features.train.corpus import load_corpus
from aasp_features.train.crops import CropSampler
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
    stage = Stage(columns=4, clips=4)
    for step in (5, 0, 5, 2):
        a, generator_a = one.batch(step, stage)
        b, generator_b = other.batch(step, stage)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert torch.equal(torch.rand(3, generator=generator_a), torch.rand(3, generator=generator_b))


def test_every_second_is_drawn_equally_often() -> None:
    lengths = [64, 640, 320, 64, 1280]  # 1, 10, 5, 1 and 20 crops of 4 columns
    sampler = CropSampler(random_corpus(lengths), tiny_recipe())
    counts = np.zeros(5)
    for step in range(37):  # one epoch of 37 places, one clip a step
        batch, _ = sampler.batch(step, Stage(columns=4, clips=1))
        counts[batch.clip[0]] += 1
    assert counts.tolist() == [1, 10, 5, 1, 20]


def test_crops_are_pieces_of_their_recording() -> None:
    recipe = tiny_recipe(mix_probability=0.0, gain_db=0.0)
    corpus = random_corpus([30, 100, 64, 200])
    batch, _ = CropSampler(corpus, recipe).batch(0, Stage(columns=4, clips=4))
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
