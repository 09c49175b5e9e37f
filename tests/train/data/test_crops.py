"""Crops from a corpus in memory: pieces of their sounds, as often as they should be, functions of the step."""

import math

import numpy as np
import torch
from train_helpers import at_its_start, random_corpus, tiny_recipe

from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.recipe import Stage


def test_batches_are_functions_of_the_step() -> None:
    corpus = random_corpus([30, 100, 64, 200, 77, 150])
    one, other = CropSampler(corpus, tiny_recipe()), CropSampler(corpus, tiny_recipe())
    for step in (5, 0, 5, 2):
        a, generator_a = one.batch(step, at_its_start)
        b, generator_b = other.batch(step, at_its_start)
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        assert torch.equal(torch.rand(3, generator=generator_a), torch.rand(3, generator=generator_b))


def test_augmented_batches_are_functions_of_the_step() -> None:
    corpus = random_corpus([30, 100, 64, 200, 77, 150])
    recipe = tiny_recipe(data={"stretch": 0.2, "pitch": 2.0, "equalise_db": 3.0})
    one, other = CropSampler(corpus, recipe), CropSampler(corpus, recipe)
    for step in (5, 0, 2):
        a, _ = one.batch(step, at_its_start)
        b, _ = other.batch(step, at_its_start)
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_every_second_is_drawn_equally_often() -> None:
    lengths = [64, 640, 320, 64, 1280]  # 1, 10, 5, 1 and 20 crops of 4 columns
    recipe = tiny_recipe(data={"stages": [Stage(until=1.0, columns=4, sounds=1)]})
    sampler = CropSampler(random_corpus(lengths), recipe)
    counts = np.zeros(5)
    for step in range(37):  # one epoch of 37 places, one sound a step
        batch, _ = sampler.batch(step, at_its_start)
        counts[batch.sound[0]] += 1
    assert counts.tolist() == [1, 10, 5, 1, 20]


def test_crops_are_pieces_of_their_sound() -> None:
    recipe = tiny_recipe(data={"mix_probability": 0.0, "gain_db": 0.0})
    corpus = random_corpus([30, 100, 64, 200])
    batch, _ = CropSampler(corpus, recipe).batch(0, at_its_start)
    assert batch.sound.tolist()[::2] == batch.sound.tolist()[1::2]
    for row, sound in enumerate(batch.sound.tolist()):
        whole = corpus.log_mel[corpus.start[sound] : corpus.start[sound] + corpus.frame_lengths[sound]].float()
        frames = int(batch.frame_lengths[row])
        assert frames == min(64, len(whole))
        crop = batch.log_mel[row, :frames]
        assert any(torch.equal(crop, whole[first : first + frames]) for first in range(len(whole) - frames + 1))
        assert batch.log_mel[row, frames:].abs().sum() == 0
        assert 0 <= batch.first_column[row] <= 60


def test_tempo_reads_between_frames_of_its_own_sound_only() -> None:
    lengths = [30, 100, 64, 200, 1]
    frames = torch.tensor(lengths)
    ramps = torch.cat([1000 * index + torch.arange(n) for index, n in enumerate(lengths)])  # value = sound and frame
    corpus = CachedCorpus(ramps[:, None].expand(-1, 128).float(), frames.cumsum(0) - frames, frames, 0.0, 1.0)
    recipe = tiny_recipe(data={"mix_probability": 0.0, "gain_db": 0.0, "stretch": 0.2})
    sampler = CropSampler(corpus, recipe)
    seen = []
    for step in range(50):
        batch, _ = sampler.batch(step, at_its_start)
        for row, sound in enumerate(batch.sound.tolist()):
            count = int(batch.frame_lengths[row])
            assert count >= 1
            place = batch.log_mel[row, :count, 0].double() - 1000 * sound
            assert place.min() >= 0
            assert place.max() <= lengths[sound] - 1
            if lengths[sound] == 1:
                continue
            inner = place.diff()[:-1]  # the last step may end at the recording's last frame
            np.testing.assert_allclose(inner, np.full(len(inner), inner[0]), atol=1e-3)
            assert count >= min(64, int(lengths[sound] / math.exp(0.2)))
            assert batch.log_mel[row, count:].abs().sum() == 0
            seen.append(float(inner[0]))
    assert math.exp(-0.2) <= min(seen) < 0.85
    assert 1.17 < max(seen) <= math.exp(0.2) + 1e-3
