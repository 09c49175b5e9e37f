"""Tar shards, against Python's own reader."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.sounds.shards import ShardReader
from aasp_features.sounds.sound import Sound


def wav(samples: int) -> bytes:
    return sound_bytes(noise(samples), 16000, "WAV", "PCM_16")


def add(shard: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    shard.addfile(member, io.BytesIO(content))


def decode(sound: Sound) -> np.ndarray:
    return np.concatenate(list(sound.stream(16000)))


def by_python(path: Path, name: str) -> np.ndarray:
    with tarfile.open(path) as shard:
        return load_audio(io.BytesIO(shard.extractfile(name).read()))


def test_members_are_read_from_their_place(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as shard:
        for number, name in enumerate(["b.wav", "a.flac", "deep/c.wav", "notes.txt"]):
            add(shard, name, sound_bytes(noise(800 + number), 16000, "FLAC" if "flac" in name else "WAV", "PCM_16"))
    found = ShardReader(path)
    assert [sound.member for sound in found.sounds] == ["b.wav", "a.flac", "deep/c.wav"]
    assert found.passed_over == ["notes.txt"]
    for sound in found.sounds:
        np.testing.assert_array_equal(decode(sound), by_python(path, sound.member))


def test_links_are_sounds(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as shard:
        add(shard, "a/later.wav", type=tarfile.SYMTYPE, linkname="../b.wav")
        add(shard, "b.wav", wav(900))
        add(shard, "a/hard.wav", type=tarfile.LNKTYPE, linkname="b.wav")
        add(shard, "twice.wav", type=tarfile.SYMTYPE, linkname="a/hard.wav")
        add(shard, "b.wav", wav(901))  # tar appends what has changed
        add(shard, "hard.wav", type=tarfile.LNKTYPE, linkname="b.wav")
        add(shard, "gone.wav", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(shard, "circle.wav", type=tarfile.SYMTYPE, linkname="circle.wav")
    found = ShardReader(path)
    lengths = {sound.member: len(decode(sound)) for sound in found.sounds}
    assert lengths == {"a/later.wav": 901, "b.wav": 901, "a/hard.wav": 900, "twice.wav": 900, "hard.wav": 901}
    assert [sound.member for sound in found.sounds].count("b.wav") == 2
    for name in set(lengths) - {"b.wav", "twice.wav"}:
        assert len(by_python(path, name)) == lengths[name]
    assert set(found.problems) == {f"{path}/gone.wav", f"{path}/circle.wav"}
    assert "a link to /etc/passwd, which is no file of this shard." in found.problems.values()


def gnu_sparse(name: str, content: bytes, holes: list[tuple[int, int]]) -> bytes:
    """A member in the old GNU format, of which up to four parts are stored; tarfile reads it, but writes none."""
    kept = [(start, content[start : start + length]) for start, length in holes]
    head = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"%011o\0" % sum(len(piece) for _, piece in kept)
    head[156:157] = tarfile.GNUTYPE_SPARSE
    for number, (start, piece) in enumerate(kept):
        head[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (start, len(piece))
    head[483:495] = b"%011o\0" % len(content)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    data = b"".join(piece for _, piece in kept)
    return bytes(head) + data + bytes(-len(data) % 512)


def is_gnu_tar() -> bool:
    try:
        return "GNU tar" in subprocess.run(["tar", "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False


@pytest.mark.skipif(not is_gnu_tar(), reason="needs GNU tar")
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax 0.0", "pax 0.1", "pax 1.0"])
def test_sparse_members_by_gnu_tar_itself(tmp_path: Path, form: str) -> None:
    """Of one to seven parts, with a hole at the end or without."""
    content = sound_bytes(np.zeros(200_000), 16000, "WAV", "PCM_16")
    for parts in range(7):
        for tail in (False, True):
            with (tmp_path / f"{parts}{tail}.wav").open("wb") as file:
                file.write(content[:4096])
                for number in range(parts):
                    file.seek(16384 * (3 * number + 2))
                    file.write(wav(4000)[44:])
                file.truncate(len(content))
                if tail:
                    file.seek(-3000, io.SEEK_END)
                    file.write(wav(1500)[-3000:])
    name, *version = form.split()
    options = [f"--format={name}", *(f"--sparse-version={number}" for number in version)]
    names = sorted(os.listdir(tmp_path))
    subprocess.run(["tar", "-C", tmp_path, "-S", *options, "-cf", tmp_path / "shard.tar", *names], check=True)
    sounds = ShardReader(tmp_path / "shard.tar").sounds
    assert sum(sound.sparse is not None for sound in sounds) >= len(names) - 2  # where the file system keeps holes
    for sound, name in zip(sounds, names, strict=True):
        np.testing.assert_array_equal(decode(sound), load_audio(tmp_path / name))


def test_a_map_that_lies_is_a_sentence(tmp_path: Path) -> None:
    content, path = wav(9000), tmp_path / "shard.tar"
    path.write_bytes(gnu_sparse("holes.wav", content, [(4096, 512), (0, 512)]) + bytes(1024))
    (sound,) = ShardReader(path).sounds
    assert sound.sparse == ((4096, 512), (0, 512))
    for parts in (sound.sparse, ((0, 512), (2**32, 512)), ((0, 10**7),)):
        with pytest.raises(AudioError, match="damaged or cut off"):
            decode(replace(sound, sparse=parts))


def test_what_is_no_shard_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("a letter, not a tape archive")
    os.mkfifo(tmp_path / "pipe.tar")
    sentences = {
        "text.tar": "not a tar shard that can be read",
        "gone.tar": "no such file",
        "pipe.tar": "a pipe, socket",
    }
    for name, sentence in sentences.items():
        shard = ShardReader(tmp_path / name)
        assert shard.sounds == []
        assert sentence in shard.problems[str(tmp_path / name)]


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", list(PACKERS))
def test_packed_shards_are_refused_by_what_packed_them(tmp_path: Path, packer: str) -> None:
    with tarfile.open(tmp_path / "plain.tar", "w") as shard:
        add(shard, "a.wav", wav(900))
    path = tmp_path / "packed.tar"
    path.write_bytes(PACKERS[packer]((tmp_path / "plain.tar").read_bytes()))
    found = ShardReader(path)
    assert found.sounds == []
    assert found.problems[str(path)].startswith(f"packed by {packer}")


def test_headers_that_lie_cost_no_other_sound(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as shard:
        add(shard, "a.wav", wav(900))
        add(shard, "n" * 100_000 + ".wav", wav(901))
        add(shard, "nul.wav", wav(902), pax_headers={"path": "nul\0.wav"})
        add(shard, "b.wav", wav(903))
    content = path.read_bytes()
    found = ShardReader(path)
    assert [(sound.member, len(decode(sound))) for sound in found.sounds] == [("a.wav", 900), ("b.wav", 903)]
    assert list(found.problems) == [f"{path}, member 2", f"{path}, member 3"]
    assert all(len(reason) < 200 for reason in found.problems.values())
    last = content.rindex(b"b.wav\0")
    for size in (b"77777777777\0", b"\x80" + bytes(3) + b"\x7f" + bytes(7), b"\xff" * 12, b"-0000001000\0"):
        head = bytearray(content[last : last + 512])
        head[124:136] = size
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        path.write_bytes(content[:last] + head + content[last + 512 :])
        found = ShardReader(path)
        assert found.sounds[0].member == "a.wav"
        assert len(decode(found.sounds[0])) == 900
        assert str(path) in found.problems
        for sound in found.sounds[1:]:
            with pytest.raises(AudioError, match="damaged or cut off"):
                decode(sound)


@pytest.mark.parametrize("size", [2**62 + 1, 2**63, 10**20 - 1, 10**400])
def test_a_size_that_no_file_has_is_a_sentence(tmp_path: Path, size: int) -> None:
    """A pax header may state any number."""
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as shard:
        add(shard, "good.wav", wav(800))
        add(shard, "large.wav", wav(800), pax_headers={"size": str(size)})
    reader = ShardReader(tmp_path / "s.tar")
    assert [sound.member for sound in reader.sounds] == ["good.wav"]
    assert [sound.stamp()[0] for sound in reader.sounds] == [len(wav(800))]
    (reason,) = reader.problems.values()
    assert reason.endswith(".")
