"""The shipped clips are what their script makes, and sound like their names."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

MIN_BIT = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "FLOAT": 2**-23}


@pytest.fixture(scope="module")
def script(sounds: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthesize", sounds / "synthesize.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spectrum(sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(len(sound), 1 / rate), np.abs(np.fft.rfft(sound * np.hanning(len(sound))))


def test_script_makes_the_shipped_clips(script: ModuleType, sounds: Path, tmp_path: Path) -> None:
    script.synthesize(tmp_path)
    for clip in script.CLIPS:
        shipped, rate = soundfile.read(sounds / clip.path, always_2d=True)
        made, _ = soundfile.read(tmp_path / clip.path, always_2d=True)
        assert rate == clip.rate
        assert soundfile.info(str(sounds / clip.path)).subtype == clip.subtype
        assert np.abs(shipped - made).max() <= MIN_BIT[clip.subtype] * 1.001
    shipped_files = {path for path in sounds.rglob("*") if path.suffix in {".wav", ".flac", ".aiff"}}
    assert shipped_files == {sounds / clip.path for clip in script.CLIPS}
    assert sum(path.stat().st_size for path in shipped_files) <= 1_000_000


def test_readme_tells_the_truth(script: ModuleType, sounds: Path) -> None:
    rows = [line.split("|") for line in (sounds / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
    told = {row[1].strip(): (int(row[3].replace(",", "")), int(row[5])) for row in rows}
    for clip in script.CLIPS:
        info = soundfile.info(str(sounds / clip.path))
        assert told[clip.path] == (info.samplerate, info.channels)


def test_no_clip_starts_or_ends_with_a_click(script: ModuleType, sounds: Path) -> None:
    for clip in script.CLIPS:
        sound, _ = soundfile.read(sounds / clip.path, always_2d=True)
        assert np.abs(sound[[0, -1]]).max() < 0.02
        assert 0.2 < np.abs(sound).max() < 1


def test_noise_is_modulated_at_12_hertz(sounds: Path) -> None:
    sound, rate = soundfile.read(sounds / "effects/modulated_noise.flac")
    envelope = np.abs(sound).reshape(-1, 160).mean(axis=1)
    frequencies, size = spectrum(envelope - envelope.mean(), rate // 160)
    assert frequencies[size.argmax()] == pytest.approx(12, abs=0.7)


def test_chord_holds_its_notes(sounds: Path) -> None:
    sound, rate = soundfile.read(sounds / "music/chord.wav")
    frequencies, size = spectrum(sound.mean(axis=1), rate)
    for note in (261.63, 329.63, 392.0, 523.25):
        assert size[np.abs(frequencies - note) < 2].max() > 50 * np.median(size)


def test_siren_sweeps(sounds: Path) -> None:
    sound, rate = soundfile.read(sounds / "effects/siren.wav")
    peaks = []
    for start in range(0, len(sound) - 800, 800):
        frequencies, size = spectrum(sound[start : start + 800], rate)
        peaks.append(frequencies[size.argmax()])
    assert min(peaks) < 600
    assert max(peaks) > 1100


def test_string_is_at_220_hertz(sounds: Path) -> None:
    sound, rate = soundfile.read(sounds / "music/plucked_string.wav")
    frequencies, size = spectrum(sound[rate // 4 :], rate)
    assert frequencies[size.argmax()] % 220 == pytest.approx(0, abs=3) or frequencies[size.argmax()] % 220 > 217
