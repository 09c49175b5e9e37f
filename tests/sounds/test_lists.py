"""Lists: a path a line, or parts of files in a CSV."""

import contextlib
import io
import os
import sys
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aasp_features import AudioError, load_audio
from aasp_features.sounds.discovery import Discovery, NothingFoundError, find_sounds
from aasp_features.sounds.lists import read_list
from aasp_features.sounds.sound import Sound


def read(source: object) -> list[Sound]:
    found = Discovery()
    read_list(str(source), found)
    return found.sounds


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(size=44100) * 0.1, 22050)
    return tmp_path / "noise.wav"


def test_a_path_a_line(noise: Path, tmp_path: Path, sounds: Path) -> None:
    (tmp_path / "list.txt").write_bytes(f"\ufeff{noise}\r\n\n{sounds / 'music'}\n".encode())
    assert [sound.path.name for sound in read(tmp_path / "list.txt")][:2] == ["noise.wav", "bell.flac"]


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_missing_paths_are_sounds_that_fail(noise: Path, tmp_path: Path, ending: str) -> None:
    lines = [str(noise), "gone.wav", "gone/*.flac", f"{noise}  ", f"\t{noise}", str(noise)]
    path = tmp_path / f"list.{ending}"
    path.write_text("\n".join(["path", *lines] if ending == "csv" else lines))
    found = read(path)
    assert [str(sound.path) for sound in found] == [str(noise), "gone.wav", "gone/*.flac", *3 * [str(noise)]]
    for sound in found[1:3]:
        with pytest.raises(AudioError, match="no such file"):
            sound.stream(16000)


def test_names_with_blanks_at_their_ends(noise: Path, tmp_path: Path) -> None:
    named = noise.rename(tmp_path / "noise.wav ")
    (tmp_path / "list.txt").write_text(f"{named}\n")
    assert [sound.path for sound in read(tmp_path / "list.txt")] == [named]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(noise: Path, tmp_path: Path, encoding: str) -> None:
    other = noise.rename(tmp_path / "лес, 木.wav")
    (tmp_path / "list.txt").write_text(f"{other}\r\ngone.wav\r\n", encoding=encoding, newline="")
    (tmp_path / "list.csv").write_text(f'path,end\n"{other}",1\n', encoding=encoding)
    assert [sound.path for sound in read(tmp_path / "list.txt")] == [other, Path("gone.wav")]
    assert [(sound.path, sound.end) for sound in read(tmp_path / "list.csv")] == [(other, 1.0)]


def test_standard_input(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{noise}\n".encode())))
    assert [sound.path for sound in read("-")] == [noise]


def test_parts_equal_the_file_cut(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.csv").write_text(f"label,path,start,end\nx,{noise},0.5,1.25\ny,{noise},,0.1\nz,{noise},1.9,\n")
    parts = read(tmp_path / "parts.csv")
    whole, rate = soundfile.read(noise, dtype="float32")
    for part, (start, end) in zip(parts, [(0.5, 1.25), (0, 0.1), (1.9, 2)], strict=True):
        soundfile.write(tmp_path / "cut.wav", whole[round(start * rate) : round(end * rate)], rate, subtype="FLOAT")
        np.testing.assert_array_equal(np.concatenate(list(part.stream(16000))), load_audio(tmp_path / "cut.wav"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file\nx\n", "line 2: no path; a list has a column named path"),
        ("path,start\n{noise},soon\n", "line 2: start must be seconds from 0 on, .*, got 'soon'"),
        ("path,start\n{noise},-1\n", "got '-1'"),
        ("path,end\n{noise},nan\n", "got 'nan'"),
        ("path,start,end\n{noise},2,1\n", "the end .1.0 s. is not after the start"),
        (
            "path,start,end\n{noise},0,05\n",
            "line 2: end must be seconds .* decimals .0.5. and no leading zeros, got '05'",
        ),
        (
            "path,start,end\n\n\n{noise},0,5,1,5\n",
            "line 4: more values than the first line has columns; write decimals",
        ),
        ("path,start\n{noise},0,5\n", "line 2: more values than the first line has columns"),
        ('path,start\n{noise},"0,5"\n', "with a point for decimals .0.5. and no leading zeros, got '0,5'"),
    ],
)
def test_lines_that_cannot_be_understood(noise: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "parts.csv").write_text(text.replace("{noise}", str(noise)))
    with pytest.raises(NothingFoundError, match=sentence):
        read(tmp_path / "parts.csv")


def test_commas_at_the_end_of_a_line_are_no_values(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.csv").write_text(f"path,start,end\n{noise},0.5,1,,\n{noise},0,10\n")
    assert [(sound.start, sound.end) for sound in read(tmp_path / "parts.csv")] == [(0.5, 1), (0, 10)]


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_names_that_differ_in_normalisation_alone_are_found(
    noise: Path, tmp_path: Path, ending: str, listed: str
) -> None:
    """macOS writes é as two characters, Linux as one."""
    other = {"NFC": "NFD", "NFD": "NFC"}[listed]
    folder = tmp_path / unicodedata.normalize(listed, "Übung")
    folder.mkdir()
    file = noise.rename(folder / unicodedata.normalize(other, "Café 가.wav"))
    name = f"{tmp_path}/{unicodedata.normalize(other, 'Übung')}/{unicodedata.normalize(listed, file.name)}"
    lines = ["path"] * (ending == "csv") + [name]
    (tmp_path / f"list.{ending}").write_text("\n".join(lines), encoding="utf-8")
    (sound,) = read(tmp_path / f"list.{ending}")
    assert sound.path == file or sound.path.samefile(file)  # some file systems know one form only
    assert find_sounds(Path(name).with_name("*.wav")).sounds == find_sounds(name).sounds == [sound]
    np.testing.assert_array_equal(load_audio(name), load_audio(file))


def test_a_name_that_several_look_like_is_missing_and_the_sentence_says_why(noise: Path, tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "éé.wav")).write_bytes(noise.read_bytes())
    if len(list(tmp_path.glob("*.wav"))) < 3:
        pytest.skip("this file system takes both for one name")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/\u00e9e\u0301.wav\n{tmp_path}/\u00fc.wav\n", encoding="utf-8")
    mixed, gone = read(tmp_path / "list.txt")
    with pytest.raises(AudioError, match="no such file; several names look like it and differ in how their accents"):
        mixed.stream(16000)
    with pytest.raises(AudioError, match=r"no such file\.$"):
        gone.stream(16000)


def test_no_such_list(tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match="cannot be read"):
        read(tmp_path / "gone.txt")


def _without_ways_out(content: bytes) -> bytes:
    """Names below the working folder only: a list that says ``/`` means every sound of this machine."""
    return content.replace(b"/", b"").replace(b".", b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(content=st.binary(max_size=200).map(_without_ways_out), ending=st.sampled_from([".csv", ".txt"]))
def test_any_bytes_give_sounds_or_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"list{ending}"
    path.write_bytes(b"path,start,end\n" + content if ending == ".csv" else content)
    with contextlib.suppress(NothingFoundError):
        for sound in read(path):
            if sound.stamp() == (0, 0):
                with pytest.raises(AudioError):
                    sound.stream(16000)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
def test_a_list_without_end_is_a_sentence() -> None:
    with pytest.raises(
        NothingFoundError, match=r"list /dev/zero: cannot be read .more than 256 MiB, which no list has"
    ):
        read("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_list_may_come_through_a_pipe(noise: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{noise}\n{noise}\n",))
    writer.start()
    assert read(pipe) == [Sound(noise)] * 2
    writer.join()


def test_a_line_that_is_no_path_is_a_sound_that_fails(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x" * 5_000_000)
    (sound,) = read(tmp_path / "list.txt")
    with pytest.raises(AudioError):
        sound.stream(16000)
