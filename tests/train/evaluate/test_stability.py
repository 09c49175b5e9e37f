"""Changes of vectors and readings of modulations, by encoders whose answer is known, and reports of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from aasp_features import AaSPEncoder, load_audio
from aasp_features.inference import FrameEmbeddings
from aasp_features.sounds.discovery import find_sounds
from aasp_features.train.evaluate.methods import encoder_method, one_by_one
from aasp_features.train.evaluate.stability import (
    COLUMN_RATE,
    FRAME,
    RATES,
    SHIFTS,
    SPEEDS,
    Change,
    Changes,
    ModulationReading,
    Stability,
    as_json,
    change,
    changes,
    draw,
    frame_change,
    modulated_noise,
    played,
    read_modulation,
    read_recordings,
    stability_report,
)

RATE = 16000


@pytest.fixture
def recordings() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(RATE).astype(np.float32) for _ in range(6)]


def test_distances_are_shares_of_those_between_recordings() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.standard_normal((2, 7, 5))
    found = change(before, after)
    apart = [np.linalg.norm(before[i] - before[j]) for i in range(7) for j in range(i)]
    assert found.distance == pytest.approx(np.linalg.norm(before - after, axis=1).mean() / np.mean(apart))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(before, after, strict=True)]
    assert found.cosine == pytest.approx(np.mean(cosines))
    assert found.interval[0] < found.distance < found.interval[1]
    assert change(before, before)[:2] == pytest.approx((1.0, 0.0))
    with pytest.raises(ValueError, match="the same"):
        change(np.ones((3, 2)), np.ones((3, 2)))


def test_crops_are_cut_from_the_recording(recordings: list[np.ndarray]) -> None:
    """What lies under the crop, never rolled or padded: an encoder that gives samples back shows them."""
    heard = []

    def samples(waveform: np.ndarray, rate: int) -> np.ndarray:
        heard.append(waveform)
        return waveform[:2]

    changes(one_by_one("samples", "", samples), recordings, RATE, 0.5)
    assert {len(waveform) for waveform in heard} == {8000}
    count = len(recordings)
    for place, shift in enumerate([0, *SHIFTS]):
        for recording, waveform in zip(recordings, heard[place * count :], strict=False):
            assert np.array_equal(waveform, recording[160 * shift :][:8000])


def test_frames_are_compared_with_the_nearest_in_time() -> None:
    """Vectors that are the times they stand for differ by no more than half a step, whatever the shift."""
    step = 0.16
    times = (np.arange(6) + 0.5) * step
    still = [FrameEmbeddings(np.stack([times + k, np.full(6, k)], 1), times) for k in range(4)]
    usual = np.mean([np.hypot(i - j, i - j) for i in range(4) for j in range(i)])
    for shift in SHIFTS:
        moved = [FrameEmbeddings(np.stack([times + shift * FRAME + k, np.full(6, k)], 1), times) for k in range(4)]
        expected = min(shift, 16 - shift) * FRAME / usual
        assert frame_change(still, moved, shift * FRAME).distance == pytest.approx(expected, abs=1e-9)


def test_the_grid_is_what_moves_an_encoder(small_encoder: AaSPEncoder, recordings: list[np.ndarray]) -> None:
    found = changes(encoder_method(small_encoder, "small", "mean", 1), recordings, RATE, 0.8)
    assert found.frames[16].distance < found.frames[8].distance
    assert set(found.clips) == set(SHIFTS)
    assert set(found.speeds) == set(SPEEDS)


@pytest.mark.parametrize("speed", SPEEDS)
def test_speed_moves_a_tone(speed: float) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    faster = played(tone, RATE, speed, 12000)
    assert len(faster) == 12000
    expected = np.sin(2 * np.pi * 1000 * speed * np.arange(12000) / RATE)
    np.testing.assert_allclose(faster[500:-500], expected[500:-500], atol=2e-3)


def test_recordings(tmp_path: Path) -> None:
    for index in range(4):
        soundfile.write(tmp_path / f"{index}.wav", np.full(20000, index / 10), RATE)
    soundfile.write(tmp_path / "short.wav", np.zeros(100), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    found = read_recordings(find_sounds(tmp_path).sounds, RATE, 1.0, 200)
    assert (len(found.waveforms), found.too_short, list(found.unreadable)) == (4, 1, [str(tmp_path / "broken.wav")])
    needed = len(found.waveforms[0])
    assert all(np.array_equal(one, load_audio(tmp_path / f"{k}.wav")[:needed]) for k, one in enumerate(found.waveforms))
    assert needed >= 1.02 * RATE + 160 * 16
    with pytest.raises(ValueError, match=r"only 0 readable sounds last 5.26 s"):
        read_recordings(find_sounds(tmp_path).sounds, RATE, 5.0, 200)


LOW_RATE = 2000


def spectra(step: int) -> Callable[[Sequence[np.ndarray], int], np.ndarray]:
    """Spectrum of the loudness, of which every ``step``-th hundredth of a second is kept."""

    def hear(waveforms: Sequence[np.ndarray], rate: int) -> np.ndarray:
        loudness = np.stack([(one.reshape(100, -1) ** 2).mean(axis=1) for one in waveforms])
        kept = (loudness / loudness.mean(axis=1, keepdims=True))[:, ::step]
        return np.abs(np.fft.rfft(kept)).astype(np.float32)

    return hear


def test_rates_and_their_aliases() -> None:
    assert min(RATES) == 3.0
    assert max(RATES) <= 49.0
    assert sum(f + COLUMN_RATE in RATES for f in RATES) == len(RATES) - 6


def test_the_noise_is_modulated_as_asked() -> None:
    generator = np.random.default_rng(0)
    for f in (3.0, 28.0, 45.5):
        loudness = sum(
            np.abs(np.fft.rfft((modulated_noise(f, LOW_RATE, generator).reshape(200, -1) ** 2).mean(axis=1)))
            for _ in range(40)
        )
        assert abs(int(loudness[2:].argmax()) + 2 - f) <= 1  # bins of 1 Hz


def test_who_samples_each_patch_reads_the_alias_alone() -> None:
    fine, coarse = (read_modulation(spectra(step), LOW_RATE, 24, 24) for step in (1, 16))
    assert fine.explained > 0.5 > coarse.explained + 0.3
    assert fine.told_apart_mean > 80
    assert coarse.told_apart_mean == pytest.approx(50, abs=5)
    assert fine.interval[0] < fine.told_apart_mean < fine.interval[1]
    assert set(fine.told_apart) == {f for f in RATES if f + COLUMN_RATE in RATES}
    assert read_modulation(spectra(16), LOW_RATE, 24, 24) == coarse


def made(scale: float, frames: bool) -> Stability:
    """A distance of ``scale`` % a frame."""
    clips = {k: Change(1 - k / 100, scale * k / 100, (scale * k / 200, scale * k / 50)) for k in SHIFTS}
    changes = Changes(clips, clips if frames else {}, {speed: Change(0.9, 0.2, (0.1, 0.3)) for speed in SPEEDS})
    return Stability(changes, ModulationReading(0.5, {3.0: 60.0, 4.0: 80.0}, 70.0, (65.0, 75.0)))


def test_the_table_has_means_over_shifts() -> None:
    text = stability_report({"ours": made(1.0, True), "peer": made(2.0, False)}, 7, 4.0)
    assert "7 recordings, crops of 4 s" in text
    mean = np.mean(range(1, 16))
    moved = f"{mean:.1f} % ({mean / 2:.1f}–{2 * mean:.1f}), {1 - mean / 100:.4f}"
    patch = "16.0 % (8.0–32.0), 0.8400"
    assert f"| ours | {moved} | {patch} | {moved} | {patch} | 20.0 % (10.0–30.0), 0.9000 |" in text
    assert f"| peer | {2 * mean:.1f} %" in text
    assert "| – | – |" in text
    assert "| ours | 0.50 | 70.0 (65.0–75.0) |" in text


def test_numbers_survive_json_and_a_picture_is_drawn(tmp_path: Path) -> None:
    results = {"ours": made(1.0, True), "peer": made(2.0, False)}
    numbers = json.loads(json.dumps(as_json(results, 7, 4.0)))
    assert numbers["methods"]["ours"]["changes"]["clips"]["16"]["distance"] == 0.16
    assert numbers["methods"]["peer"]["modulation"]["told_apart"] == {"3.0": 60.0, "4.0": 80.0}
    draw(results, tmp_path / "three.png")
    draw({"only": Stability(None, results["ours"].modulation)}, tmp_path / "one.png")
    assert Image.open(tmp_path / "three.png").width > 2 * Image.open(tmp_path / "one.png").width
