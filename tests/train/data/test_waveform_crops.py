"""Crops by number: the same number is the same sound, and each change follows its formula."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPConfig, LogMel
from aasp_features.train.data.waveform_crops import (
    PIECE,
    Cropper,
    crop_samples,
    filter_smoothly,
    fit_length,
    level,
    mix,
    play,
)
from aasp_features.train.data.waveforms import Waveforms
from aasp_features.train.distillation_settings import CropLength, CropSettings

RATE = 16000
PLAIN = CropSettings(
    lengths=[CropLength(4, 1.0)],
    speed_probability=0,
    placed_probability=0,
    mix_probability=0,
    filter_probability=0,
    gain_db=0,
)


def noise_corpus(seconds: list[float], silent: int = 0) -> Waveforms:
    rng = np.random.default_rng(0)
    length = np.array([int(RATE * s) for s in seconds])
    samples = (3000 * rng.normal(size=length.sum())).clip(-32767, 32767).astype(np.int16)
    samples[:silent] = 0
    return Waveforms(samples, np.cumsum(length) - length, length, "0" * 64)


CORPUS = noise_corpus([0.1, 0.5, 1.0, 3.0, 7.0, 12.0])


@given(number=st.integers(0, 10**7), seed=st.integers(0, 2**31))
def test_a_number_is_a_sound(number: int, seed: int) -> None:
    one, other = Cropper(CORPUS, CropSettings(), seed), Cropper(CORPUS, CropSettings(), seed)
    other.crop(number + 1)
    crop, again = one.crop(number), other.crop(number)
    assert np.array_equal(crop.waveform, again.waveform)
    assert crop.sound == again.sound
    assert crop.waveform.dtype == np.float32
    assert np.isfinite(crop.waveform).all()
    assert np.abs(crop.waveform).max() <= 1.0
    assert 400 <= len(crop.waveform) <= crop_samples(one.columns(number // PIECE))
    assert not np.array_equal(crop.waveform, one.crop(number + 1).waveform)


def test_without_changes_a_crop_is_a_cut() -> None:
    cropper = Cropper(CORPUS, PLAIN, 1)
    for number in range(200):
        waveform, sound = cropper.crop(number)
        begin = CORPUS.start[sound]
        whole = CORPUS.samples[begin : begin + CORPUS.length[sound]]
        cut = np.rint(waveform * 32767).astype(np.int16)
        assert len(cut) == min(len(whole), crop_samples(4))
        places = np.flatnonzero(whole[: len(whole) - len(cut) + 1] == cut[0])
        assert any(np.array_equal(whole[place : place + len(cut)], cut) for place in places)


@pytest.mark.parametrize("by_duration", [1.0, 0.5, 0.0])
def test_seconds_or_sounds_are_drawn_equally_often(by_duration: float) -> None:
    cropper = Cropper(CORPUS, replace(PLAIN, by_duration=by_duration), 2)
    drawn = np.bincount([cropper.crop(number).sound for number in range(4000)], minlength=6) / 4000
    expected = np.maximum(1, np.round(CORPUS.length / crop_samples(4))) ** by_duration
    np.testing.assert_allclose(drawn, expected / expected.sum(), atol=0.03)


@given(pieces=st.integers(20, 2000))
def test_lengths_have_their_shares_in_any_run_of_pieces(pieces: int) -> None:
    cropper = Cropper(CORPUS, CropSettings(), 0)
    columns = [cropper.columns(piece) for piece in range(pieces)]
    for length in cropper.settings.lengths:
        assert abs(columns.count(length.columns) / pieces - length.share) < 3 / pieces + 0.02


@pytest.mark.parametrize("columns", [1, 12, 64])
def test_crops_fill_whole_columns(columns: int) -> None:
    import torch

    sound = torch.zeros(crop_samples(columns))
    assert len(LogMel(AaSPConfig())(sound)) == 16 * columns


def test_silence_is_drawn_again() -> None:
    corpus = noise_corpus([5.0, 5.0], silent=5 * RATE)
    assert {Cropper(corpus, PLAIN, 0).crop(number).sound for number in range(100)} == {1}


@given(decibels=st.floats(-30, 40), loud=st.floats(0.01, 0.5), quiet=st.floats(0.01, 0.5))
def test_mix_by_level(decibels: float, loud: float, quiet: float) -> None:
    rng = np.random.default_rng(0)
    own, other = (a * rng.normal(size=4000).astype(np.float32) for a in (np.float32(loud), np.float32(quiet)))
    added = mix(own, other, decibels) - own
    assert 20 * np.log10(level(own) / level(added)) == pytest.approx(decibels, abs=0.05)
    assert np.array_equal(mix(own, np.zeros(4000, np.float32), decibels), own)


@pytest.mark.parametrize("speed", [0.82, 1.0, 1.2])
def test_faster_is_shorter_and_higher(speed: float) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    played = play(tone, speed)
    assert len(played) == pytest.approx(RATE / speed, abs=1)
    peak = np.abs(np.fft.rfft(played * np.hanning(len(played)))).argmax() * RATE / len(played)
    assert peak == pytest.approx(1000 * speed, abs=2)


def test_filter_is_a_smooth_gain() -> None:
    impulse = np.zeros(8000, np.float32)
    impulse[4000] = 1.0
    gains = []
    for seed in range(300):
        response = np.abs(np.fft.rfft(filter_smoothly(impulse, 4.0, np.random.default_rng(seed))))
        gains.append(20 * np.log10(response))
    assert np.std(gains) == pytest.approx(4.0, rel=0.1)
    assert max(np.abs(np.diff(gain)).max() for gain in gains) < 1.0  # dB between bins 2 Hz apart
    assert np.array_equal(filter_smoothly(impulse, 0.0, np.random.default_rng(0)).round(5), impulse)


def test_place_keeps_the_sound() -> None:
    sound = np.arange(1, 51, dtype=np.float32)
    starts = set()
    for seed in range(50):
        placed = fit_length(sound, 80, np.random.default_rng(seed))
        start = int(np.flatnonzero(placed)[0])
        starts.add(start)
        assert np.array_equal(placed[start : start + 50], sound)
        assert placed.sum() == sound.sum()
        assert len(placed) == 80
    assert len(starts) > 10
    assert np.array_equal(fit_length(sound, 20, np.random.default_rng(0)), sound[:20])


def test_gain_spans_its_range_and_never_clips() -> None:
    cropper = Cropper(CORPUS, replace(PLAIN, gain_db=12.0), 0)
    plain = Cropper(CORPUS, PLAIN, 0)
    gains = [20 * np.log10(level(cropper.crop(n).waveform) / level(plain.crop(n).waveform)) for n in range(300)]
    assert min(gains) == pytest.approx(-12, abs=0.5)
    assert max(gains) < 12
    assert np.mean(gains) == pytest.approx(0, abs=1.5)
