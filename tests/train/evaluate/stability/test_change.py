"""Distances of moved and stretched crops, by encoders whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import AaSPEncoder, load_audio
from aasp_features.inference import FrameEmbeddings
from aasp_features.sounds.discovery import find_sounds
from aasp_features.train.evaluate.methods import encoder_method, one_by_one
from aasp_features.train.evaluate.stability.change import (
    FRAME,
    SHIFTS,
    SPEEDS,
    change,
    changes,
    frame_change,
    played,
    read_recordings,
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
    with pytest.raises(ValueError, match=r"0 of the sounds can be read and last 5.26 s"):
        read_recordings(find_sounds(tmp_path).sounds, RATE, 5.0, 200)
