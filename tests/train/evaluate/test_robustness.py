"""Changes of test sounds against plain formulas, and tests of classifiers on changed clips."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.audio.reading import load_audio
from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.methods import Method, log_mel_statistics
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.robustness import (
    CONDITIONS,
    WHOLE,
    amplified,
    as_json,
    cut,
    measure,
    noise_of,
    robustness_report,
    telephone,
    through_opus,
    under,
    with_noise,
)
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_tasks
from aasp_features.train.evaluate.vector_cache import task_vectors

pytestmark = pytest.mark.usefixtures("one_penalty")

RATE = 16000
SEEDED = np.random.default_rng(0)


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """Noise under a tone."""
    noise = np.random.default_rng(seed).normal(size=samples) * 0.05
    return (noise + 0.3 * np.sin(2 * np.pi * 800 / RATE * np.arange(samples))).astype(np.float32)


@given(samples=st.integers(1, 40_000), rate=st.sampled_from([8000, 16000, 32000, 44100, 192_000]))
def test_every_condition_gives_a_sound(samples: int, rate: int) -> None:
    given_sound = sound(samples)
    before = given_sound.copy()
    for condition in CONDITIONS:
        if "Opus" in condition.name and samples > 2000:  # its own test
            continue
        first, again = (condition.change(given_sound, rate, np.random.default_rng(3)) for _ in range(2))
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert 1 <= len(first) <= samples
        assert len(first) == samples or condition.name.startswith("cut to")
        np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(given_sound, before)
    assert len({condition.name for condition in CONDITIONS}) == len(CONDITIONS)


def test_the_middle_is_kept() -> None:
    ramp = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(cut(ramp, 100, SEEDED, seconds=0.2), np.arange(40, 60))
    np.testing.assert_array_equal(cut(ramp, 100, SEEDED, seconds=3.0), ramp)
    assert len(cut(ramp, 100, SEEDED, seconds=1e-9)) == 1


@pytest.mark.parametrize("seconds", [1, 10])
@pytest.mark.parametrize("decibels", [20, 10, 0])
def test_noise_is_pink_and_so_far_under_the_sound_where_it_is_heard(decibels: float, seconds: int) -> None:
    clean = sound(seconds * RATE)
    noise = (with_noise(clean, RATE, np.random.default_rng(1), decibels=decibels) - clean).astype(np.float64)
    ratio = np.mean(clean.astype(np.float64) ** 2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(decibels, abs=0.01)
    power, frequencies = np.abs(np.fft.rfft(noise)) ** 2, np.fft.rfftfreq(len(noise), 1 / RATE)
    assert power[frequencies < 20].sum() < 1e-6 * power.sum()
    octaves = [power[(frequencies >= low) & (frequencies < 2 * low)].sum() for low in (125, 250, 500, 1000, 2000, 4000)]
    assert max(octaves) / min(octaves) < 1.5  # each octave has as much power as the others
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(with_noise(silence, RATE, np.random.default_rng(1), decibels=decibels), silence)


def test_a_telephone_lets_its_band_through() -> None:
    time = np.arange(RATE) / RATE
    for hertz in (100, 299, 301, 1000, 3399, 3401, 6000):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        heard = telephone(tone, RATE, SEEDED)
        np.testing.assert_allclose(heard, tone if 300 < hertz < 3400 else np.zeros_like(tone), atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_codec_keeps_place_length_and_level(rate: int) -> None:
    time = np.arange(2 * rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)
    heard = through_opus(tone, rate, SEEDED)
    assert heard.shape == tone.shape
    assert np.corrcoef(heard, tone)[0, 1] > 0.98  # a shift of a quarter of a period, 9 samples at 16 kHz, would give 0
    assert np.std(heard) == pytest.approx(np.std(tone), rel=0.1)
    assert not np.array_equal(heard, tone)


@pytest.mark.parametrize("decibels", [20, -20])
def test_gain(decibels: float) -> None:
    quiet = sound(100)
    np.testing.assert_allclose(
        amplified(quiet, RATE, SEEDED, decibels=decibels), quiet * 10 ** (decibels / 20), rtol=1e-6
    )


NAMED = {condition.name: condition for condition in CONDITIONS}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """High and low tones in noise; only a telephone cannot tell them."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for number in range(60):
        name, hertz = (("low", 5000), ("high", 7000))[number % 2]
        tone = 0.2 * np.sin(2 * np.pi * hertz * np.arange(12_000) / 16000) + rng.normal(size=12_000) * 0.01
        (folder / name).mkdir(exist_ok=True)
        soundfile.write(folder / name / f"{number}.wav", tone, 16000, subtype="FLOAT")
    (found,) = read_tasks([str(folder)])
    return found


def vectors(method: Method, task: Task, files: Sequence[Path]) -> np.ndarray:
    return task_vectors(method, files, None)


@pytest.mark.parametrize("name", ["cut to 0.25 s", "noise at 0 dB SNR", "Opus, 16 kbit/s", "+20 dB"])
@pytest.mark.parametrize("any_rate", [False, True])
def test_changed_on_the_way_is_changed_on_disk(name: str, any_rate: bool, task: Task, tmp_path: Path) -> None:
    method = log_mel_statistics(1024)
    method = replace(method, sample_rate=None) if any_rate else method
    files = []
    for file in task.files[::10]:
        changed = NAMED[name].change(load_audio(file), 16000, noise_of(file))
        files.append(tmp_path / file.name)
        soundfile.write(files[-1], changed, 16000, subtype="FLOAT")
    heard = under(method, NAMED[name]).embed_files(task.files[::10])
    np.testing.assert_allclose(heard, log_mel_statistics(1024).embed_files(files), atol=1e-5)


def test_a_probe_that_learnt_from_clean_clips_is_tested_on_changed_ones(task: Task) -> None:
    method, wanted = log_mel_statistics(1024), [NAMED["telephone band"], NAMED["cut to 0.5 s"]]
    results = measure(method, [task], logistic_regression, vectors, wanted=wanted)
    assert list(results) == [WHOLE, "telephone band", "cut to 0.5 s"]
    clean = probe(vectors(method, task, task.files), task, logistic_regression)
    np.testing.assert_array_equal(results[WHOLE][task.name].scores, clean.scores)
    assert clean.value == 100
    assert results["cut to 0.5 s"][task.name].value == 100
    assert 30 < results["telephone band"][task.name].value < 70
    text = robustness_report([task], {"a": results}, "Logistic regression", selection=False)
    assert "| telephone band | " in text
    numbers = as_json([task], {"a": results}, "Logistic regression", selection=False)
    assert numbers["methods"]["a"][WHOLE][task.name]["value"] == 100
    assert numbers["evaluation"] == "Logistic regression"


def test_only_test_clips_are_changed_and_none_that_are_opened_once(task: Task) -> None:
    heard: list[Path] = []

    def counted(method: Method, task: Task, files: Sequence[Path]) -> np.ndarray:
        heard.extend(files if "telephone" in method.name else [])
        return vectors(method, task, files)

    measure(log_mel_statistics(1024), [task], logistic_regression, counted, True, [NAMED["telephone band"]])
    tested = [place for split in task.splits(selection=True) for place in split.test]
    assert sorted(heard) == sorted(task.files[place] for place in tested)
    assert len(heard) < len(task.files)


def test_vectors_of_each_condition_are_kept_apart(task: Task) -> None:
    method = log_mel_statistics(1024)
    identities = {under(method, condition).identity for condition in CONDITIONS}
    assert len(identities | {method.identity}) == len(CONDITIONS) + 1


def test_few_clips_and_exact_intervals_are_told(task: Task) -> None:
    few = replace(task, files=task.files[:4], labels=task.labels[:4], groups=task.groups[:4]).draw_folds()
    results = {"a": measure(log_mel_statistics(1024), [few], logistic_regression, vectors, wanted=[])}
    text = robustness_report([few], results, "Logistic regression", selection=False)
    assert "Intervals are Clopper and Pearson's" in text
    assert "C is 0.1 in" in text
    assert "C is 0.1 in" not in robustness_report([few], results, "k-nearest neighbours (k = 20)", selection=False)
