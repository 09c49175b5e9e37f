"""Which sounds a command line means."""

import glob
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import load_audio
from aasp_features.sounds.discovery import NothingFoundError, find_sounds, named_sounds
from aasp_features.sounds.sound import Sound


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "sub/deep/c.mp3", "sub/notes.txt", ".hidden/d.wav", ".e.wav", "ü, x\n.ogg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(root: Path, *paths: Path) -> list[str]:
    return [os.path.relpath(sound.name, root) for sound in find_sounds(paths).sounds]


def test_folders_are_searched_in_order(tree: Path) -> None:
    assert names(tree, tree) == ["a.FLAC", "b.wav", "ü, x\n.ogg", "sub/deep/c.mp3"]


def test_named_files_come_in_the_order_given_whatever_their_ending(tree: Path) -> None:
    found = names(tree, tree / "sub/notes.txt", tree / "b.wav", tree)
    assert found == ["sub/notes.txt", "b.wav", "a.FLAC", "b.wav", "ü, x\n.ogg", "sub/deep/c.mp3"]


def test_patterns(tree: Path) -> None:
    assert names(tree, tree / "**" / "*.[mw]*") == ["b.wav", "sub/deep/c.mp3"]
    with pytest.raises(NothingFoundError, match="no such file or folder"):
        find_sounds([tree / "*.aiff"])


@pytest.mark.parametrize(
    "pattern", ["**", "**/*.wav", "*", "*/**", "**/deep/**", "sub/../*.wav", "[ab].*", "**/s*/**/*.mp3"]
)
def test_patterns_mean_what_python_says(tree: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    for given in (tree / pattern, Path(pattern)):
        expected = sorted({str(Path(name)) for name in glob.glob(str(given), recursive=True) if os.path.isfile(name)})
        assert [sound.name for sound in find_sounds([given]).sounds] == expected


def test_links_that_loop_end(tree: Path) -> None:
    """Python's own ``**`` would follow two links back 2**40 ways."""
    for name in ("back", "again"):
        os.symlink(tree, tree / "sub" / name)
    assert len(find_sounds([tree]).sounds) == 4
    assert names(tree, tree / "**" / "*.wav") == ["b.wav"]
    assert names(tree, tree / "**" / "deep" / "**") == ["sub/deep/c.mp3"]
    (tree / "other").mkdir()
    os.symlink(tree / "other", tree / "sub" / "deep" / "other")
    os.symlink(tree / "sub" / "deep", tree / "other" / "back")
    assert names(tree, tree) == ["a.FLAC", "b.wav", "ü, x\n.ogg", "other/back/c.mp3", "sub/deep/c.mp3"]


def test_every_name_of_a_file_is_a_sound(tree: Path) -> None:
    """Else the rows would shift against the labels that somebody has for the names."""
    os.symlink(tree / "b.wav", tree / "sub" / "linked.wav")
    os.link(tree / "b.wav", tree / "hard.wav")
    os.symlink(tree / "sub", tree / "same")
    assert names(tree, tree) == [
        *("a.FLAC", "b.wav", "hard.wav", "ü, x\n.ogg", "same/linked.wav", "same/deep/c.mp3"),
        *("sub/linked.wav", "sub/deep/c.mp3"),
    ]


def test_what_is_passed_over_is_counted(tree: Path) -> None:
    for name in ("a.tar.gz", "sub/B.TAR.GZ", "c.tgz", "README", "d.sph", "e.nist"):
        (tree / name).touch()
    with tarfile.open(tree / "shard.tar", "w") as shard:
        shard.add(tree / "README", "x.json")
        shard.add(tree / "b.wav", "x.wav")
    found = find_sounds([tree])
    assert dict(found.passed_over) == {".tar.gz": 2, ".tgz": 1, ".txt": 1, "without ending": 1, ".json": 1}
    assert {sound.suffix for sound in found.sounds} == {".flac", ".wav", ".ogg", ".mp3", ".sph", ".nist"}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(raw, "wb") as file:
        soundfile.write(file, np.zeros(800), 16000, format="WAV")
    (sound,) = find_sounds([tmp_path]).sounds
    assert os.fsencode(sound.name) == raw
    assert sum(map(len, sound.stream(16000))) == 800


def test_folders_that_may_not_be_read_are_reported(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read every folder
    found = find_sounds([tree])
    assert len(found.sounds) == 3
    assert found.problems == {str(tree / "sub/deep"): "this folder may not be read (Permission denied)."}


def test_members_of_tar_shards(sounds: Path, tmp_path: Path) -> None:
    files = sorted(path for path in sounds.rglob("*") if path.suffix in (".wav", ".flac", ".aiff"))
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for path in files:
            shard.add(path, path.name)
        note = tarfile.TarInfo("notes.json")
        note.size = 2
        shard.addfile(note, io.BytesIO(b"{}"))
    found = find_sounds([tmp_path]).sounds
    assert [sound.name for sound in found] == [f"{tmp_path}/shard.tar/{path.name}" for path in files]
    for sound, path in zip(found, files, strict=True):
        np.testing.assert_array_equal(np.concatenate(list(sound.stream(16000))), load_audio(path))


def test_sounds_by_their_names(sounds: Path, tmp_path: Path) -> None:
    """Also members that tar names from ``./`` on, the last of two members of one name, and names of nothing."""
    bell, rain = sounds / "music" / "bell.flac", sounds / "nature" / "rain.flac"
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for path, name in ((bell, "./x.flac"), (bell, "y.flac"), (rain, "y.flac")):
            shard.add(path, name)
    found = find_sounds([tmp_path, bell]).sounds
    named = named_sounds([(sound.name, None, None) for sound in found] + [(bell, 0.25, 0.5), (tmp_path / "z", None, 1)])
    assert named[0] == found[0]
    assert named[1:3] == [found[2], found[2]]
    assert named[3:] == [found[3], Sound(bell, 0.25, 0.5), Sound(tmp_path / "z", None, 1)]


def test_a_broken_shard_is_a_problem_not_the_end(tree: Path) -> None:
    (tree / "broken.tar").write_bytes(b"not a tar")
    found = find_sounds([tree])
    assert len(found.sounds) == 4
    assert "not a tar shard" in found.problems[str(tree / "broken.tar")]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match=r"no sound found in .*known endings are"):
        find_sounds([tmp_path])
    with pytest.raises(NothingFoundError, match="no such file or folder"):
        find_sounds([tmp_path / "gone"])


def test_one_path_and_none(sounds: Path) -> None:
    one = [sound.path for sound in find_sounds([sounds / "voice"]).sounds]
    for path in (sounds / "voice", str(sounds / "voice"), [str(sounds / "voice")]):
        assert [sound.path for sound in find_sounds(path).sounds] == one
    with pytest.raises(NothingFoundError, match="no sound found in an empty list of paths"):
        find_sounds([])
