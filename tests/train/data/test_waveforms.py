"""A corpus on disk as samples: what was decoded, once, and nothing else's."""

import logging
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import load_audio
from aasp_features.sounds.discovery import NothingFoundError
from aasp_features.train.data import waveforms
from aasp_features.train.data.waveforms import INDEX_FILE, SAMPLES_FILE, check_samples, load_waveforms


@pytest.fixture
def corpus(sound_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_folder, tmp_path / "sounds"))


def test_samples_are_the_files(corpus: Path, tmp_path: Path) -> None:
    found = load_waveforms(corpus, tmp_path / "cache")
    files = sorted(corpus.rglob("*.wav"))
    assert len(found.length) == len(files)
    for number, path in enumerate(files):
        sound = load_audio(path)
        assert found.length[number] == len(sound)
        cut = found.cut(number, 100, 10**9)
        assert cut.dtype == np.float32
        assert np.abs(cut - sound[100:]).max() <= 0.5 / 32767 + 1e-7
        assert len(found.cut(number, 5, 50)) == 50


def test_decoded_once_and_alike_from_shards(corpus: Path, tmp_path: Path) -> None:
    first = load_waveforms(corpus, tmp_path / "cache")
    made = (tmp_path / "cache" / SAMPLES_FILE).stat().st_mtime_ns
    again = load_waveforms(corpus, tmp_path / "cache")
    assert again.sha256 == first.sha256
    assert (tmp_path / "cache" / SAMPLES_FILE).stat().st_mtime_ns == made
    with tarfile.open(tmp_path / "all.tar", "w") as shard:
        for path in sorted(corpus.rglob("*.wav")):
            shard.add(path, path.name)
    assert load_waveforms(tmp_path / "all.tar", tmp_path / "other").sha256 == first.sha256


def test_loud_samples_are_clipped_and_short_sounds_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "loud.wav", np.full(800, 1.7, np.float32), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "in" / "short.wav", np.zeros(399), 16000)
    (tmp_path / "in" / "text.wav").write_text("no sound")
    with caplog.at_level(logging.WARNING):
        found = load_waveforms(tmp_path / "in", tmp_path / "cache")
    assert found.length.tolist() == [800]
    assert (found.cut(0, 0, 800) == 1.0).all()
    assert "short.wav: 399 samples" in caplog.text
    assert "text.wav" in caplog.text


def test_another_corpus_or_a_cut_file_is_refused(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    load_waveforms(corpus, cache)
    with (cache / SAMPLES_FILE).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match="missing or truncated"):
        load_waveforms(corpus, cache)
    (cache / INDEX_FILE).unlink()
    load_waveforms(corpus, cache)
    (corpus / "labels.csv").write_text("file,label\n")  # is not read, so it does not matter
    load_waveforms(corpus, cache)
    soundfile.write(corpus / "new.wav", np.ones(800) * 0.1, 16000)
    with pytest.raises(ValueError, match="holds other decoded sounds"):
        load_waveforms(corpus, cache)


def test_sounds_are_known_by_what_they_hold(corpus: Path, tmp_path: Path) -> None:
    """Copies at other times go on; others of the same size and name do not, nor those that were exchanged."""
    cache, files = tmp_path / "cache", sorted(corpus.rglob("*.wav"))
    first = load_waveforms(corpus, cache)
    index = (cache / INDEX_FILE).read_bytes()
    made = (cache / SAMPLES_FILE).stat().st_mtime_ns
    files[0].chmod(0o600)
    files[1].touch()
    assert load_waveforms(corpus, cache).sha256 == first.sha256
    renewed = (cache / INDEX_FILE).read_bytes()
    assert renewed != index
    load_waveforms(shutil.copytree(corpus, tmp_path / "copy", copy_function=shutil.copy), cache)
    assert (cache / SAMPLES_FILE).stat().st_mtime_ns == made
    kept = files[0].read_bytes()
    soundfile.write(files[0], 0.5 * load_audio(files[0])[::-1], 16000, soundfile.info(files[0]).subtype)
    assert files[0].stat().st_size == len(kept)
    with pytest.raises(ValueError, match="holds other decoded sounds"):
        load_waveforms(corpus, cache)
    files[0].write_bytes(kept)
    load_waveforms(corpus, cache)
    for here, there in ((files[0], "x"), (files[1], files[0]), (corpus / "x", files[1])):
        here.rename(corpus / there)
    with pytest.raises(ValueError, match="holds other decoded sounds"):
        load_waveforms(corpus, cache)


def test_a_sound_that_changes_while_it_is_decoded(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = waveforms.read_corpus

    def read_and_change(*arguments: object) -> Iterator[np.ndarray]:
        yield from read(*arguments)
        next(corpus.rglob("*.wav")).write_bytes(b"RIFF")

    monkeypatch.setattr(waveforms, "read_corpus", read_and_change)
    with pytest.raises(ValueError, match="changed while they were decoded; run the same command again"):
        load_waveforms(corpus, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", ["gone", "empty"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingFoundError, match=f"{name}: no such file|no sound found in .*{name}"):
        load_waveforms(tmp_path / name, tmp_path / "cache")
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(NothingFoundError, match="no sound found"):
        load_waveforms(tmp_path / "empty", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"fingerprint": "a"}', '{"fingerprint": "a", "sha256": "b", "length": [1]}']
)
def test_a_damaged_index_is_named(sound_folder: Path, tmp_path: Path, text: str) -> None:
    load_waveforms(sound_folder, tmp_path)
    (tmp_path / INDEX_FILE).write_text(text)
    with pytest.raises(
        ValueError, match=r"sounds.json is damaged or has another format; delete it to decode the sounds again"
    ):
        load_waveforms(sound_folder, tmp_path)


def test_a_flipped_sample_is_found(sound_folder: Path, tmp_path: Path) -> None:
    check_samples(load_waveforms(sound_folder, tmp_path), tmp_path)
    samples = bytearray((tmp_path / SAMPLES_FILE).read_bytes())
    samples[len(samples) // 3] ^= 1
    (tmp_path / SAMPLES_FILE).write_bytes(samples)
    sounds = load_waveforms(sound_folder, tmp_path)
    with pytest.raises(ValueError, match=r"samples.i16 is damaged"):
        check_samples(sounds, tmp_path)


def test_a_flipped_index_is_found(sound_folder: Path, tmp_path: Path) -> None:
    load_waveforms(sound_folder, tmp_path)
    text = (tmp_path / INDEX_FILE).read_text()
    place = text.index('"length": [') + 11
    digit = "1" if text[place] != "1" else "2"
    (tmp_path / INDEX_FILE).write_text(text[:place] + digit + text[place + 1 :])
    with pytest.raises(ValueError, match=r"sounds.json is damaged"):
        load_waveforms(sound_folder, tmp_path)
