"""Files become mono float32 at the model's rate; what cannot be read is named in one sentence."""

import io
import os
import socket
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from helpers import encode, noise, sound_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AudioError, OptionError, load_audio
from aasp_features.audio.reading import audio_info, open_path, stream_audio

rates = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])


def test_channels_are_mixed_by_their_mean(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, (1000, 6)).astype(np.float32)
    soundfile.write(tmp_path / "surround.wav", sound, 16000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "surround.wav"), sound.mean(axis=1), atol=1e-7)
    assert audio_info(tmp_path / "surround.wav").channels == 6


@settings(max_examples=30, deadline=None)
@given(rates, st.integers(1, 40000), st.floats(0.01, 1.0))
def test_stream_equals_whole_bit_for_bit(rate: int, samples: int, block_seconds: float) -> None:
    sound = np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="FLOAT")
    file.seek(0)
    whole = load_audio(file)
    file.seek(0)
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(file, block_seconds=block_seconds))), whole)
    assert len(whole) >= 1
    assert abs(len(whole) - samples * 16000 / rate) <= 1


@pytest.mark.parametrize("rate", [8000, 48000, 192000, 1_000_000])
def test_a_single_sample_is_a_sound(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "one.wav", np.full(1, 0.25, np.float32), rate, subtype="FLOAT")
    read = load_audio(tmp_path / "one.wav")
    assert len(read) >= 1
    assert np.isfinite(read).all()


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is a letter, not a sound\n" * 50)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.empty(0, np.float32), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.1]), 16000, subtype="FLOAT")
    sentences = {
        "missing.wav": "no such file",
        ".": "a folder",
        "text.wav": "not a sound file",
        "empty.wav": "an empty file",
        "none.wav": "no samples",
        "nan.wav": "NaN",
    }
    for name, sentence in sentences.items():
        path = tmp_path / name
        with pytest.raises(AudioError, match=sentence) as caught:
            load_audio(path)
        assert str(path) in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory as Linux counts it")
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(30):
            file.write(np.zeros((44100 * 20, 2), np.int16))
    process = psutil.Process()
    stream = iter(stream_audio(path))
    next(stream)
    early = process.memory_info().rss
    seconds = sum(len(block) for block in stream) / 16000
    assert seconds == pytest.approx(580, abs=21)
    assert process.memory_info().rss - early < 60e6  # 10 minutes decoded are 106 MB


@pytest.mark.parametrize(("rate", "read"), [(1, False), (99, False), (100, True), (10**7, True), (10**7 + 1, False)])
def test_rates_are_bounded(rate: int, read: bool) -> None:
    file = io.BytesIO(sound_bytes(noise(1000), rate, "WAV", "PCM_16"))
    if read:
        assert len(load_audio(file)) == pytest.approx(1000 * 16000 / rate, abs=1)
    else:
        with pytest.raises(AudioError, match=f"its header says {rate} Hz, 1 channels, which cannot be"):
            load_audio(file)


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory as Linux counts it")
@pytest.mark.parametrize(("rate", "channels"), [(100, 1), (10_000_000, 1), (48000, 1000)])
def test_memory_is_bounded_at_any_rate(rate: int, channels: int) -> None:
    silence = np.zeros((10_000_000 // channels, channels), np.int16)
    file = io.BytesIO(sound_bytes(silence, rate, "WAV", "PCM_16"))
    process, stream = psutil.Process(), stream_audio(file)
    before = process.memory_info().rss
    for count, _ in enumerate(stream):
        assert process.memory_info().rss - before < 400e6
        if count == 40:
            break


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
def test_hours_are_bounded(kind: str) -> None:
    """A FLAC or MP3 of silence is small."""
    sound = np.zeros(3600 * 100)
    content = encode(sound, 8000, "mp3", "libmp3lame") if kind == "MP3" else sound_bytes(sound, 8000, kind, "PCM_16")
    hours = len(sound) / 8000 / 3600
    assert len(load_audio(io.BytesIO(content), 8000, max_hours=hours + 0.001)) == len(sound)
    with pytest.raises(AudioError, match=r"longer than 0\.01 hours; if it really is, allow more hours"):
        load_audio(io.BytesIO(content), 8000, max_hours=0.01)
    part = stream_audio(io.BytesIO(content), 8000, start=1.0, end=2.0, max_hours=0.01)
    assert sum(map(len, part)) == 8000
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(OptionError, match="must be above 0"):
            load_audio(io.BytesIO(content), max_hours=wrong)


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_flac_is_an_error_not_a_short_sound(cut: bool) -> None:
    content = sound_bytes(noise(160000), 16000, "FLAC", "PCM_16")
    half = len(content) // 2
    with pytest.raises(AudioError, match="damaged"):
        load_audio(io.BytesIO(content[:half] + (b"" if cut else bytes(2000) + content[half + 2000 :])))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.wav"))
        for name in ("pipe.wav", "socket.wav", "/dev/zero"):
            with pytest.raises(AudioError, match="a pipe, socket or device"):
                load_audio(tmp_path / name)
    for name in ("a\0b.wav", "a" * 300 + ".wav", "\ud800.wav"):
        with pytest.raises(AudioError, match="cannot be opened"):
            open_path(name, "odd name")
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="no such file"):
        load_audio(tmp_path / "file" / "a.wav")


def test_open_files_must_give_bytes_twice(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="must give bytes"):
        load_audio(io.StringIO("text"))
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as file, pytest.raises(AudioError, match="read again from its start"):
        load_audio(file)
    with pytest.raises(AudioError, match="read again from its start"):
        load_audio(12)


@pytest.mark.parametrize("owned", [False, True])
def test_files_are_closed_by_who_opened_them(tmp_path: Path, owned: bool) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound_bytes(noise(800), 16000, "WAV", "PCM_16"))
    opened = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    if owned:
        for _ in range(3):
            audio_info(path)
            load_audio(path)
        if opened:
            assert set(os.listdir("/proc/self/fd")) == opened
        return
    with path.open("rb") as file:
        assert len(load_audio(file)) == len(load_audio(file)) == 800
        assert not file.closed
