"""A prepared corpus holds the sounds of its source, however often its making was killed."""

import io
import json
import logging
import os
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import run_command
from warm_process import CONTEXT

from aasp_features import AaSPConfig, load_audio
from aasp_features.folder.lock import FileLock, LockedError
from aasp_features.folder.state import read_sealed
from aasp_features.train.cli import app
from aasp_features.train.data.cached import load_corpus
from aasp_features.train.data.prepare import BEGUN_FILE, CORPUS_FILE, INDEX_FILE, LOCK_FILE, prepare
from aasp_features.train.data.sources import open_source

SHARD_SECONDS = 4.0


@pytest.fixture(scope="module")
def corpus(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sounds, prepared by one process."""
    out = tmp_path_factory.mktemp("prepared")
    make(sound_folder, out)
    return out


def make(source: Path, out: Path, workers: int = 1) -> dict:
    return prepare(open_source(str(source)), out, SHARD_SECONDS, workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def members(corpus: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(corpus.glob("*.tar")):
        with tarfile.open(path) as shard:
            found |= {member.name: shard.extractfile(member).read() for member in shard}
    return found


def test_sounds_are_those_of_the_source(sound_folder: Path, corpus: Path) -> None:
    files, found = sorted(sound_folder.rglob("*.wav")), members(corpus)
    facts, index = read_sealed(corpus / CORPUS_FILE), np.load(corpus / INDEX_FILE, mmap_mode="r")
    assert set(contents(corpus)) == {CORPUS_FILE, INDEX_FILE, *(shard["file"] for shard in facts["shards"])}
    assert list(found) == [f"{number:09}.{end}" for number in range(12) for end in ("flac", "json")]
    for number, (path, row) in enumerate(zip(files, index, strict=True)):
        expected, rate = soundfile.read(path, dtype="int16")
        samples, stored_rate = soundfile.read(io.BytesIO(found[f"{number:09}.flac"]), dtype="int16")
        assert rate == stored_rate == 16000
        np.testing.assert_array_equal(samples, expected)
        with (corpus / facts["shards"][row["shard"]]["file"]).open("rb") as shard:
            shard.seek(row["offset"])
            assert shard.read(row["size"]) == found[f"{number:09}.flac"]
        assert row["samples"] == len(expected)
        said = {"name": path.relative_to(sound_folder).as_posix(), "rate": 16000, "channels": 1}
        assert json.loads(found[f"{number:09}.json"]) == {**said, "seconds": round(len(expected) / 16000, 6)}
    seconds = [soundfile.info(path).duration for path in files]
    assert facts["hours"] == pytest.approx(sum(seconds) / 3600, abs=1e-4)
    assert sum(shard["sounds"] for shard in facts["shards"]) == facts["sounds"] == 12
    ends = np.cumsum([shard["sounds"] for shard in facts["shards"]])
    lengths = [sum(part) for part in np.split(seconds, ends[:-1])]
    assert min(lengths[:-1]) >= SHARD_SECONDS > max(lengths) - 3


def test_the_statistics_are_those_of_a_corpus_in_memory(sound_folder: Path, corpus: Path) -> None:
    facts, cached = read_sealed(corpus / CORPUS_FILE), load_corpus(sound_folder, AaSPConfig.tiny())
    assert (facts["mean"], facts["std"]) == pytest.approx((cached.mean, cached.std), rel=1e-6)
    again = load_corpus(corpus, AaSPConfig.tiny())
    assert again.frame_lengths.tolist() == cached.frame_lengths.tolist()


def test_any_source_becomes_mono_at_16_khz(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "source"
    source.mkdir()
    stereo = np.random.default_rng(0).uniform(-1, 1, (44100, 2))
    soundfile.write(source / "a.flac", stereo, 44100, "PCM_24")
    soundfile.write(source / "b.wav", np.zeros(399), 16000)
    (source / "c.wav").write_text("dear all")
    soundfile.write(source / "d.wav", np.full(4000, 1.5), 8000, "FLOAT")
    (source / "e.txt").write_text("notes")
    with caplog.at_level(logging.INFO):
        facts = make(source, tmp_path / "out")
    found = members(tmp_path / "out")
    assert set(found) == {f"{number:09}.{end}" for number in range(2) for end in ("flac", "json")}
    samples, _ = soundfile.read(io.BytesIO(found["000000000.flac"]))
    assert np.abs(samples - load_audio(source / "a.flac")).max() <= 0.5 / 32768
    assert json.loads(found["000000000.json"]) == {"name": "a.flac", "rate": 44100, "channels": 2, "seconds": 1.0}
    assert facts["report"]["left_out"] == 2
    assert facts["report"]["source_rates"] == {"8000": 1, "44100": 1}
    assert facts["report"]["clipped"] == {"clips": 1, "first": [1]}
    assert "left out: b.wav: 399 samples, under 25 ms." in caplog.text
    assert "left out: c.wav: not a" in caplog.text
    assert "passed over: 1 .txt" in caplog.text


def test_processes_write_the_same_bytes(sound_folder: Path, corpus: Path, tmp_path: Path) -> None:
    make(sound_folder, tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(corpus)


def killed(source: Path, out: Path, kill_at: int) -> None:
    """Prepare in a process that kills itself before it changes the disk for the ``kill_at``-th time."""
    steps, done = iter(range(1, 10**6)), {name: getattr(os, name) for name in ("replace", "unlink", "fsync")}

    def step(name: str) -> object:
        def call(*arguments: object, **options: object) -> object:
            if next(steps) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done[name](*arguments, **options)

        return call

    for name in done:
        setattr(os, name, step(name))
    make(source, out)


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes by POSIX signals")
def test_killed_anywhere_the_result_is_the_same(sound_folder: Path, corpus: Path, tmp_path: Path) -> None:
    made = []
    for kill_at in (1, 3, 9, 17, 30, 45, 49, 53):
        out = tmp_path / str(kill_at)
        process = CONTEXT.Process(target=killed, args=(sound_folder, out, kill_at), daemon=True)
        process.start()
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        shards = {path: path.stat().st_mtime_ns for path in out.glob("*.tar") if path.with_suffix(".npz").exists()}
        finished = (out / CORPUS_FILE).exists()
        make(sound_folder, out)
        assert contents(out) == contents(corpus)
        assert all(path.stat().st_mtime_ns == stamp for path, stamp in shards.items())  # not made again
        made.append((process.exitcode, len(shards), finished))
    assert len({shards for code, shards, finished in made if code and not finished}) >= 3
    assert any(finished for code, shards, finished in made)


def test_a_damaged_shard_is_made_again(sound_folder: Path, corpus: Path, tmp_path: Path) -> None:
    stop = begun(sound_folder, tmp_path)
    with (tmp_path / "shard-00000.tar").open("ab") as file:
        file.write(b"x")
    assert stop == 1
    make(sound_folder, tmp_path)
    assert contents(tmp_path) == contents(corpus)


def begun(source: Path, out: Path) -> int:
    """Begin a corpus that ends with the first shard; return the number of shards."""

    def rows(first: int) -> object:
        yield from (row for number, row in enumerate(open_source(str(source)).rows(first), first) if number < 5)
        raise OSError("the disk was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        prepare(open_source(str(source))._replace(rows=rows), out, SHARD_SECONDS, 1)
    return len(list(out.glob("*.npz")))


def test_another_source_or_folder_is_refused(sound_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for path in sound_folder.rglob("*.wav"):
        (source / path.name).write_bytes(path.read_bytes())
    begun(source, out)
    kept = contents(out)
    soundfile.write(source / "new.wav", np.zeros(500), 16000)
    with pytest.raises(ValueError, match="was begun from another source, from other files in it, or with another"):
        make(source, out)
    (source / "new.wav").unlink()
    with pytest.raises(ValueError, match=r"another --shard-hours; give a new folder, or delete this one\.$"):
        prepare(open_source(str(source)), out, 2 * SHARD_SECONDS, 1)
    assert contents(out) == kept
    with pytest.raises(ValueError, match="source holds other files; give a new or empty folder"):
        make(sound_folder, source)
    lock = FileLock(out / LOCK_FILE)
    lock.acquire()
    with pytest.raises(LockedError, match="is locked by another process"):
        make(source, out)
    lock.release()
    make(source, out)
    soundfile.write(source / "new.wav", np.zeros(500), 16000)
    with pytest.raises(ValueError, match="was begun from another source"):
        make(source, out)
    assert not (out / BEGUN_FILE).exists()


def test_a_source_that_changes_meanwhile(sound_folder: Path, tmp_path: Path) -> None:
    identities = iter(["before", "after"])
    source = open_source(str(sound_folder))._replace(identity=lambda: next(identities))
    with pytest.raises(ValueError, match=r"changed while it was prepared; delete .*, then run the same command again"):
        prepare(source, tmp_path / "out", SHARD_SECONDS, 1)
    assert not (tmp_path / "out" / CORPUS_FILE).exists()


def test_nothing_to_prepare(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.wav").write_text("dear all")
    with pytest.raises(ValueError, match="none of the sounds can be used; see the log for the reasons"):
        make(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out" / CORPUS_FILE).exists()


def test_the_command(sound_folder: Path, tmp_path: Path) -> None:
    base = ["prepare", sound_folder, "--out", tmp_path / "out", "--workers", "1"]
    done = run_command(app, *base)
    assert done.returncode == 0, done.stderr
    assert "| all                 |    12 |" in done.stdout
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    for again in (base, ["prepare", tmp_path / "out"]):
        assert run_command(app, *again).stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == stamps
    for wrong, sentence in [
        ([sound_folder], "is no finished corpus; name the folder of a new one with --out"),
        ([sound_folder, "--out", tmp_path / "o", "--shard-hours", "0"], "--shard-hours must be above 0, got 0.0"),
        ([sound_folder, "--out", sound_folder / "o"], "--out must be outside SOURCE"),
        ([sound_folder / "gone", "--out", tmp_path / "o"], "no such file or folder"),
    ]:
        done = run_command(app, "prepare", *wrong)
        assert done.returncode == 2
        assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "o").exists()
