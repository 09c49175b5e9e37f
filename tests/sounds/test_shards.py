"""Tar shards, against Python's own reader."""

import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile
from helpers import noise

from aasp_features.sounds.shards import ShardReader


def test_members_are_read_from_their_place(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for number, name in enumerate(["b.wav", "a.flac", "deep/c.wav", "notes.txt"]):
            content = io.BytesIO()
            soundfile.write(content, noise(800 + number, number), 16000, format="FLAC" if "flac" in name else "WAV")
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            content.seek(0)
            shard.addfile(member, content)
    members = ShardReader(tmp_path / "shard.tar").sounds
    assert [sound.member for sound in members] == ["b.wav", "a.flac", "deep/c.wav"]
    for sound in members:
        with tarfile.open(tmp_path / "shard.tar") as shard:
            expected, _ = soundfile.read(io.BytesIO(shard.extractfile(sound.member).read()), dtype="float32")
        np.testing.assert_array_equal(np.concatenate(list(sound.stream(16000))), expected)


def test_what_is_no_shard_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("a letter, not a tape archive")
    for name in ("text.tar", "gone.tar"):
        shard = ShardReader(tmp_path / name)
        assert not shard.sounds
