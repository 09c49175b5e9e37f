"""Files become mono float32 at the model's rate; what cannot be read is named in one sentence."""

import io
import sys
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import soundfile
from helpers import encode, noise, sound_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AudioError, OptionError, load_audio
from aasp_features.audio.reading import Resampler, audio_info, resample_blocks, stream_audio

rates = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])


def sine(frequency: float, rate: int, duration: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * duration)) / rate)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 2**-15),
        ("a.wav", {"subtype": "PCM_U8"}, 2**-7),
        ("a.wav", {"subtype": "PCM_24"}, 2**-23),
        ("a.wav", {"subtype": "PCM_32"}, 2**-23),
        ("a.wav", {"subtype": "DOUBLE"}, 2**-23),
        ("a.flac", {"subtype": "PCM_24"}, 2**-23),
        ("a.aiff", {}, 2**-15),
        ("a.au", {}, 2**-15),
        ("a.w64", {}, 2**-15),
        ("a.ogg", {}, 0.1),
        ("a.mp3", {}, 0.1),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 0.1),
    ],
)
def test_formats(tmp_path: Path, name: str, options: dict, tolerance: float) -> None:
    sound = 0.5 * sine(440, 16000, 1.0)
    soundfile.write(tmp_path / name, sound, 16000, **options)
    read = load_audio(tmp_path / name)
    assert read.dtype == np.float32
    assert abs(len(read) - len(sound)) <= 2400  # lossy coders pad
    lag = np.correlate(read[:4000], sound[:2000]).argmax() if tolerance == 0.1 else 0
    length = min(len(read) - lag, len(sound)) - 2000
    assert np.abs(read[lag : lag + length] - sound[:length]).max() <= tolerance


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


def test_tone_table(capsys: pytest.CaptureFixture) -> None:
    """Levels after 44.1 -> 16 kHz: passed at 7 kHz, gone above 8 kHz. A plain FFT measures them."""
    levels = {}
    for frequency in (7000, 7800, 8500, 10000):
        tone = sine(frequency, 44100, 2.0).astype(np.float32)
        out = np.concatenate(list(resample_blocks([tone], Resampler(44100, 16000))))[4000:28000]
        size = np.abs(np.fft.rfft(out * np.hanning(len(out)))) / (len(out) / 4)
        levels[frequency] = 20 * np.log10(max(size.max(), 1e-12))
    with capsys.disabled():
        print("\n| tone | level after 44.1 -> 16 kHz |\n|---|---|")
        for frequency, level in levels.items():
            print(f"| {frequency / 1000:.1f} kHz | {level:.1f} dB |")
    assert abs(levels[7000]) < 0.1
    assert levels[8500] < -100
    assert levels[10000] < -100


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


def test_damaged_flac_is_an_error_not_a_short_sound(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(size=160000) * 0.1, 16000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"damaged|fewer samples"):
        load_audio(path)


def test_truncated_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(size=160000) * 0.1, 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"damaged|fewer samples"):
        load_audio(path)


@pytest.mark.parametrize("rate", [0, -16000, 0.5, True, None, "16000", float("nan")])
def test_wrong_rates(sounds: Path, rate: object) -> None:
    with pytest.raises(OptionError, match="positive whole number"):
        load_audio(sounds / "music" / "chord.wav", rate)


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


def test_av_reads_what_soundfile_does_not(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    sound = (0.5 * sine(440, 44100, 1.0)).astype(np.float32)
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=44100, layout="mono")
        for start in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    read = load_audio(path)
    assert len(read) == pytest.approx(16000, abs=2500)
    size = np.abs(np.fft.rfft(read[2000:14000]))
    assert np.fft.rfftfreq(12000, 1 / 16000)[size.argmax()] == pytest.approx(440, abs=2)
    (tmp_path / "text.m4a").write_text("not a film")
    with pytest.raises(AudioError, match="not a sound file"):
        load_audio(tmp_path / "text.m4a")


def test_real_clips(shared_audio: Path) -> None:
    paths = sorted(shared_audio.glob("tasks/*/audio/*.flac"))[::97]
    assert len(paths) >= 5
    for path in paths:
        sound = load_audio(path)
        expected, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000
        np.testing.assert_array_equal(sound, expected)


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
