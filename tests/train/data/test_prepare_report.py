"""Facts of sounds against numpy, on sounds made to have them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data import prepare_report
from aasp_features.train.data.prepare_report import MEASURED, corpus_report, corpus_statistics, measure, report_table

SECONDS = np.arange(3 * 16000) / 16000


def scene(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise whose level and colour wander, as no other seed's."""
    rng = np.random.default_rng(seed)
    samples = int(16000 * seconds)
    spectrum = np.fft.rfft(rng.normal(size=samples)) / (1 + np.fft.rfftfreq(samples, 1 / 16000) / 1000)
    level = np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, 12), rng.uniform(0.02, 1, 12))
    sound = level * np.fft.irfft(spectrum, samples)
    return 0.4 * sound / np.abs(sound).max()


def band_limited(sound: np.ndarray, hertz: float) -> np.ndarray:
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / 16000) > hertz] = 0
    return np.fft.irfft(spectrum, len(sound))


def as_mp3(sound: np.ndarray, path: Path) -> np.ndarray:
    soundfile.write(path, sound, 16000, format="MP3")
    return soundfile.read(path)[0]


def measured(folder: Path, *sounds: np.ndarray) -> np.ndarray:
    rows = []
    for sound in sounds:
        soundfile.write(folder / "sound.flac", sound, 16000, "PCM_16")
        rows.append(measure(folder / "sound.flac", 16000))
    return np.array(rows, MEASURED)


def clips(report: dict, name: str) -> list[int]:
    assert report[name]["clips"] == len(report[name]["first"])
    return report[name]["first"]


def test_every_kind_is_found_and_nothing_else(tmp_path: Path) -> None:
    plain = [scene(seed) for seed in range(8)]
    special = {
        "silent": np.zeros(16000),
        "clipped": np.clip(4 * plain[0], -1, 1),
        "narrow": band_limited(scene(20), 3500),
        "wider": band_limited(scene(21), 6500),
        "exact": plain[1],
        "louder": 2 * plain[2],
        "coded": as_mp3(plain[3], tmp_path / "coded.mp3"),
        "peak": plain[4] / np.abs(plain[4]).max(),
    }
    at = {name: len(plain) + number for number, name in enumerate(special)}
    report = corpus_report(measured(tmp_path, *plain, *special.values()), left_out=2)
    assert clips(report, "silent") == [at["silent"]]
    assert clips(report, "clipped") == [at["clipped"]]
    assert clips(report, "little_above_4_khz") == [at["narrow"]]
    assert clips(report, "little_above_7_khz") == [at["narrow"], at["wider"]]
    assert clips(report, "exact_duplicates") == [at["exact"]]
    assert set(clips(report, "near_duplicates")) - {at["clipped"]} == {at["louder"], at["coded"], at["peak"]}
    assert (report["clips"], report["left_out"]) == (16, 2)


def test_lengths_rates_and_statistics(tmp_path: Path) -> None:
    sounds = [scene(seed, seconds) for seed, seconds in enumerate((0.03, 0.5, 1.0, 2.0, 45.0))]
    rows = measured(tmp_path, *sounds)
    rows["rate"] = [8000, 8000, 44100, 48000, 48000]
    report = corpus_report(rows, 0)
    lengths = [len(sound) / 16000 for sound in sounds]
    assert report["hours"] == pytest.approx(sum(lengths) / 3600, abs=1e-4)
    assert report["seconds"] == {f"{at} %": round(float(np.percentile(lengths, at)), 3) for at in (0, 5, 50, 95, 100)}
    assert report["source_rates"] == {"8000": 2, "44100": 1, "48000": 2}
    stored = [np.rint(sound * 32768) / 32768 for sound in sounds]
    frontend = LogMel(AaSPConfig(mean=0.0, std=1.0))
    values = np.concatenate([frontend(torch.tensor(sound).float()).half().double().flatten() for sound in stored])
    statistics = corpus_statistics(rows)
    assert (statistics.mean, statistics.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert rows["peak"].tolist() == [int(np.abs(sound).max() * 32768) for sound in stored]


@pytest.mark.parametrize("hertz", [1000, 3900, 4500, 6800, 7600])
def test_bandwidth_is_that_of_the_spectrum(hertz: float, tmp_path: Path) -> None:
    """Also of a quiet sound, whose upper bands hold the noise of 16 bits alone."""
    for gain in (1.0, 0.01):
        (above,) = measured(tmp_path, gain * band_limited(scene(1), hertz))["above"]
        assert (above < 1e-4).tolist() == [hertz < 4000, hertz < 7000]


def test_the_length_of_a_block_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(tmp_path, scene(0))
    monkeypatch.setattr(prepare_report, "BLOCK", 1000)
    pieces = measured(tmp_path, scene(0))
    for name in MEASURED.names:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-6)  # a last bit may round to another float16


def test_steady_and_short_sounds_are_no_duplicates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [0.1 * rng.normal(size=32000) for _ in range(20)]
    short = [0.1 * rng.normal(size=3000) for _ in range(20)]
    tones = [0.3 * np.sin(2 * np.pi * 440 * 2 ** (step / 12) * SECONDS) for step in range(12)]
    assert clips(corpus_report(measured(tmp_path, *noise, *short, *tones), 0), "near_duplicates") == []


def test_the_table_names_all(tmp_path: Path) -> None:
    rows = measured(tmp_path, scene(0), scene(0), np.zeros(800))
    text = report_table({"report": corpus_report(rows, 3), "mean": -6.0, "std": 4.0})
    assert "| exact duplicates    |     1 |  33.3 % | 000000001 |" in text
    assert "| left out            |     3 |         |           |" in text
    assert "Log-mel: mean -6.0000, standard deviation 4.0000." in text
