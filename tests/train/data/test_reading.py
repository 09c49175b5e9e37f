"""A corpus is read in order; what cannot be used is named."""

import logging
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from aasp_features import load_audio
from aasp_features.sounds.discovery import NothingFoundError, find_sounds
from aasp_features.train.data.reading import contents, read_corpus


def test_what_aasp_embed_finds_in_its_order(sound_folder: Path, tmp_path: Path) -> None:
    files = sorted(sound_folder.rglob("*.wav"))
    (tmp_path / "b.wav").write_bytes(files[0].read_bytes())
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        shard.add(files[1], "x.wav")
        shard.add(files[2], "notes.txt")
    read = list(read_corpus(tmp_path, lambda waveform: waveform))
    assert [sound.name for sound in find_sounds([tmp_path]).sounds] == [f"{tmp_path}/a.tar/x.wav", f"{tmp_path}/b.wav"]
    for waveform, path in zip(read, (files[1], files[0]), strict=True):
        np.testing.assert_array_equal(waveform, load_audio(path))


def test_files_that_ffmpeg_reads_are_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "tone.m4a"), "w") as container:
        track = container.add_stream("aac", rate=16000, layout="mono")
        tone = (0.3 * np.sin(np.arange(16000) / 8)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    assert [len(waveform) >= 16000 for waveform in read_corpus(tmp_path, lambda waveform: waveform)] == [True]


def test_what_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "good.wav", np.zeros(400), 16000)
    soundfile.write(tmp_path / "short.wav", np.zeros(399), 16000)
    (tmp_path / "text.wav").write_text("dear all")
    (tmp_path / "cut.tar").write_bytes(b"no tape archive")
    with caplog.at_level(logging.WARNING):
        assert list(read_corpus(tmp_path, len)) == [400]
    assert "short.wav: 399 samples, under 25 ms" in caplog.text
    for name in ("text.wav", "cut.tar"):
        assert f"left out: {tmp_path / name}: not a" in caplog.text


def test_nothing_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match="no sound found in"):
        list(read_corpus(tmp_path, len))
    with pytest.raises(NothingFoundError, match="no such file or folder"):
        list(read_corpus(tmp_path / "gone", len))


def test_contents_are_names_and_bytes_wherever_they_lie(sound_folder: Path, tmp_path: Path) -> None:
    first = contents(sound_folder)
    shutil.copytree(sound_folder, tmp_path / "moved")
    assert contents(tmp_path / "moved") == first
    one, *_, last = sorted((tmp_path / "moved").rglob("*.wav"))
    kept = one.read_bytes()
    one.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert contents(tmp_path / "moved") != first
    one.write_bytes(kept)
    last.rename(last.with_name("renamed.wav"))
    assert contents(tmp_path / "moved") != first
    last.with_name("renamed.wav").unlink()
    assert contents(tmp_path / "moved") != first
