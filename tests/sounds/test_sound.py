"""One thing to read: a file, a part of one, a member of a shard."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import noise

from aasp_features import AudioError
from aasp_features.sounds.sound import Sound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "Noise.WAV", noise(16000), 16000, subtype="FLOAT", format="WAV")
    return tmp_path / "Noise.WAV"


def test_a_part_is_the_samples_between_its_ends(path: Path) -> None:
    whole = np.concatenate(list(Sound(path).stream(16000)))
    np.testing.assert_array_equal(whole, noise(16000))
    part = np.concatenate(list(Sound(path, 0.25, 0.5).stream(16000)))
    np.testing.assert_array_equal(part, whole[4000:8000])


def test_what_tables_call_it(path: Path) -> None:
    assert Sound(path).name == str(path)
    assert Sound(path).suffix == ".wav"
    member = Sound(path.with_name("shard.tar"), member="deep/a.OGG", offset=512, size=99)
    assert member.name == f"{path.with_name('shard.tar')}/deep/a.OGG"
    assert member.suffix == ".ogg"


def test_the_stamp_tells_a_changed_file(path: Path) -> None:
    before = Sound(path).stamp()
    assert before == (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ctime_ns)
    os.utime(path, ns=(1, 1))
    assert Sound(path).stamp() == (before[0], 1, path.stat().st_ctime_ns)
    assert Sound(path.with_name("gone.wav")).stamp() == (0, 0, 0)
    assert Sound(path, member="a.wav", size=7).stamp()[:2] == (7, 1)


def test_a_missing_file_is_said_when_it_is_read(path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        Sound(path.with_name("gone.wav")).stream(16000)
