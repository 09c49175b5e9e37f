"""Fixtures of folder runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features.folder import Discovery, find_sounds, plan


@pytest.fixture
def mixed(sounds: Path, tmp_path: Path) -> Discovery:
    """Good files, a long one, and broken ones between them."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "text.wav").write_text("not a sound")
    soundfile.write(folder / "none.wav", np.empty(0), 16000)
    soundfile.write(folder / "nan.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.random.default_rng(0).normal(size=16000 * 31) * 0.1, 16000)
    good = [sound.path for sound in find_sounds([sounds]).sounds]
    paths = [folder / "text.wav", *good[:5], folder / "nan.wav", folder / "long.wav", *good[5:], folder / "none.wav"]
    return find_sounds(paths)


@pytest.fixture
def corpus(sounds: Path, tmp_path: Path) -> list[Path]:
    """A broken file and good ones."""
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    return [tmp_path / "broken.wav", sounds]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sounds each at most, so that there are many; longer sounds have one of their own."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", 2)
    monkeypatch.setattr(plan, "BATCH_BYTES", 10**6)


@pytest.fixture
def long_sounds(tmp_path: Path) -> Discovery:
    """At a rate that is resampled, with short ones between; one fails at its end, after 25 s."""
    folder, rng = tmp_path / "long", np.random.default_rng(0)
    folder.mkdir()
    for name, seconds in {"a": 34, "b": 0.5, "c": 23, "d": 5, "e": 21.3}.items():
        soundfile.write(folder / f"{name}.wav", rng.normal(size=int(22050 * seconds)) * 0.1, 22050)
    failing = np.append(rng.normal(size=22050 * 25) * 0.1, np.nan)
    soundfile.write(folder / "c_failing.wav", failing, 22050, subtype="FLOAT")
    return find_sounds([folder])


@pytest.fixture
def growing(sounds: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "growing"
    folder.mkdir()
    for name, source in zip("abcd", sorted(sounds.rglob("*.wav")), strict=False):
        shutil.copy(source, folder / f"{name}.wav")
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder
