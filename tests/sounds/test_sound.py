"""One thing to read: a file, a part of one, a member of a shard."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import noise

from aasp_features import AudioError
from aasp_features.sounds import sound as module
from aasp_features.sounds.shards import ShardReader
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


def test_content_is_the_bytes_whatever_the_times(path: Path, tmp_path: Path) -> None:
    before = Sound(path).content()
    assert before.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    os.link(path, tmp_path / "backup")
    path.chmod(0o600)
    os.utime(path, ns=(1, 1))
    after = Sound(path).content(before)
    assert (after.sha256, after.stamp[1]) == (before.sha256, 1)
    assert after.stamp != before.stamp
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))
    assert Sound(path).content(after).sha256 != before.sha256
    assert Sound(tmp_path / "gone").content().sha256 == ""
    assert Sound(tmp_path).content().sha256 == ""


def test_a_members_content_is_its_own_bytes(tmp_path: Path) -> None:
    """In another shard at another place, it is the same."""
    contents = {name: name.encode() * 500 for name in ("a.wav", "b.wav")}

    def shard(names: list[str]) -> dict[str, str]:
        with tarfile.open(tmp_path / "shard.tar", "w") as file:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(contents[name])
                file.addfile(member, io.BytesIO(contents[name]))
        return {sound.member: sound.content().sha256 for sound in ShardReader(tmp_path / "shard.tar").sounds}

    expected = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert shard(["a.wav", "b.wav"]) == shard(["b.wav", "a.wav"]) == expected
    plain = Sound(tmp_path / "shard.tar", member="a.wav", offset=512, size=2500)
    sparse = [Sound(plain.path, None, None, "a.wav", 512, 2500, pieces) for pieces in (((0, 99),), ((9, 99),))]
    assert len({sound.content().sha256 for sound in (plain, *sparse)}) == 3
    assert Sound(plain.path, member="a.wav", offset=2**70, size=5).content().sha256 == ""


def test_parts_of_a_file_read_it_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_path = [], module.open_path
    monkeypatch.setattr(module, "open_path", lambda *names: opened.append(names) or open_path(*names))
    parts = [Sound(path, start, start + 0.1) for start in (0.0, 0.2, 0.4)]
    assert {part.content().sha256 for part in parts} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(opened) == 1
    os.utime(path, ns=(1, 1))
    assert parts[0].content().sha256 == parts[1].content().sha256
    assert len(opened) == 2


def test_a_file_that_claims_to_be_endless_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "hole.wav").open("wb") as file:
        try:
            file.truncate(2**43)
        except OSError:
            pytest.skip("the file system has no such files")
    before = Sound(tmp_path / "hole.wav").content()
    os.utime(tmp_path / "hole.wav", ns=(1, 1))
    assert Sound(tmp_path / "hole.wav").content().sha256 != before.sha256
