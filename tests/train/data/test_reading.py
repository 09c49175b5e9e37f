"""Sounds are read in order and few ahead; what cannot be used is named."""

import logging
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features.train.data.reading import Sound, decode, find_sounds, in_order


def test_files_and_members_in_sorted_order(sound_folder: Path, tmp_path: Path) -> None:
    files = sorted(sound_folder.rglob("*.wav"))
    (tmp_path / "b.wav").write_bytes(files[0].read_bytes())
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        shard.add(files[1], "x.wav")
        shard.add(files[2], "notes.txt")
    found = list(find_sounds(tmp_path))
    assert [sound.name for sound in found] == [f"{tmp_path}/a.tar/x.wav", str(tmp_path / "b.wav")]
    assert found[0].source == files[1].read_bytes()
    np.testing.assert_array_equal(decode(found[0]), soundfile.read(files[1], dtype="float32")[0])


def test_few_are_read_ahead() -> None:
    read = 0

    def items() -> object:
        nonlocal read
        for number in range(500):
            read += 1
            yield Sound(str(number), b"")

    with ThreadPoolExecutor(3) as pool:
        for done, name in enumerate(in_order(pool, lambda sound: sound.name, items())):
            assert name == str(done)
            assert read - done <= 66


def test_what_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(399), 16000)
    with caplog.at_level(logging.WARNING):
        assert decode(Sound("short.wav", tmp_path / "short.wav")) is None
        assert decode(Sound("text.wav", b"dear all")) is None
    assert "short.wav: 399 samples, under 25 ms" in caplog.text
    assert "left out: text.wav" in caplog.text
