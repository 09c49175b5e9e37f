"""The place of the results: refused early, claimed by one."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aasp_features.folder.seal import fingerprint, seal
from run_settings import run_settings

from aasp_features.folder.output import (
    OutputError,
    check_apart,
    check_writable,
    claimed,
    finished_record,
    partial_folder,
    side_file,
)
from aasp_features.folder.plan import Plan, contents_digest, make_plan
from aasp_features.sounds.sound import Sound


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    for path, sentence in [
        (tmp_path / "folder.npy", "is a folder"),
        (tmp_path / "gone" / "emb.npy", "does not exist; make it first"),
    ]:
        with pytest.raises(OutputError, match=sentence):
            check_writable(path)
    check_writable(tmp_path / "emb.npy")
    assert os.listdir(tmp_path) == ["folder.npy"]


def test_one_process_at_a_time_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    out = tmp_path / "emb.npy"
    code = (
        "import sys, pathlib\nfrom aasp_features.folder.output import claimed\n"
        f"with claimed(pathlib.Path({str(out)!r})): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another process is writing it"), claimed(out):
        pass
    holder.kill()
    holder.communicate()
    with claimed(out) as claim:
        folder = claim.folder
        assert folder == partial_folder(out)
        (folder / "work").touch()
    assert sorted(os.listdir(folder)) == ["lock", "work"]
    os.unlink(folder / "work")
    with claimed(out):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_deleted_meanwhile_is_noticed(tmp_path: Path) -> None:
    for lock in (True, False):
        with claimed(tmp_path / "emb.npy", lock) as claim:
            assert not claim.lost
            shutil.rmtree(claim.folder)
            assert claim.lost
            claim.folder.mkdir()  # by another process
            assert claim.lost == lock


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    sentence = r"its file system has no locks .No locks available.; give --no-lock"
    with pytest.raises(OutputError, match=sentence), claimed(tmp_path / "emb.npy"):
        pass
    assert os.listdir(tmp_path) == []
    with claimed(tmp_path / "emb.npy", lock=False) as claim:
        assert claim.folder.is_dir()
    assert os.listdir(tmp_path) == []


def finish(out: Path, plan: Plan, failures: int = 0) -> None:
    """Results as a run leaves them."""
    np.save(out, np.zeros(3))
    side_file(out, ".csv").write_text("row,path\n")
    endings = [".csv", *([".errors.csv"] if failures else [])]
    if failures:
        side_file(out, ".errors.csv").write_text("path,error\n")
    files = {path.name: fingerprint(path) for path in (out, *(side_file(out, ending) for ending in endings))}
    record = {"rows": 1, "failures": failures, "output": out.name, **plan.identity(), "files": files}
    record["contents_sha256"] = contents_digest(sound.content().sha256 for sound in plan.sounds)
    side_file(out, ".json").write_text(seal(record))


def test_results_that_are_there_already(tmp_path: Path) -> None:
    out, plan = tmp_path / "emb.npy", make_plan([Sound(Path("a.wav"))], run_settings(pooling="mean"))
    assert finished_record(out, plan) is None
    np.save(out, np.zeros(3))
    with pytest.raises(OutputError, match=r"has no record .emb.json.; choose another --out, or give --overwrite"):
        finished_record(out, plan)
    for failures in (0, 2):
        finish(out, plan, failures)
        assert finished_record(out, plan)["rows"] == 1
    with pytest.raises(OutputError, match="pooling was mean, now cls"):
        finished_record(out, make_plan([Sound(Path("a.wav"))], run_settings(pooling="cls")))
    out.unlink()
    assert finished_record(out, plan) is None  # what is left is this run's own


@pytest.mark.parametrize("name", ["emb.npy", "emb.csv", "emb.errors.csv", "emb.json"])
def test_results_that_were_changed_are_not_called_done(tmp_path: Path, name: str) -> None:
    out, plan = tmp_path / "emb.npy", make_plan([Sound(Path("a.wav"))], run_settings())
    finish(out, plan, failures=1)
    content = bytearray((tmp_path / name).read_bytes())
    for changed in (content[:-3], content + b"x", content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]):
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(OutputError, match=r"is not as the run left it|a record that is damaged"):
            finished_record(out, plan)


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    """``emb.npy`` and ``emb.npz`` would have one table."""
    (tmp_path / "b").write_bytes(b"b")
    sounds = Sound(tmp_path / "a"), Sound(tmp_path / "b")
    out, (plan, other) = tmp_path / "emb.npy", (make_plan([sound], run_settings()) for sound in sounds)
    for name in ("emb.csv", "emb.errors.csv"):
        (tmp_path / name).write_text("the user's own")
        with pytest.raises(OutputError, match=rf"{name} exists and has no record"):
            finished_record(out, plan)
        (tmp_path / name).unlink()
    finish(out, plan)
    with pytest.raises(OutputError, match=r"emb.json and its table belong to emb.npy; choose another --out"):
        finished_record(tmp_path / "emb.npz", plan)
    with pytest.raises(OutputError, match=r"of another run: the sounds are others, or in another order; choose"):
        finished_record(out, other)
    (tmp_path / "emb.errors.csv").write_text("the user's own")
    with pytest.raises(OutputError, match=r"emb.errors.csv is not as the run left it"):
        finished_record(out, plan)


def test_results_are_known_by_contents_and_their_table_by_names(tmp_path: Path) -> None:
    out, path = tmp_path / "emb.npy", tmp_path / "a.wav"
    path.write_bytes(b"sound")
    finish(out, make_plan([Sound(path)], run_settings()))
    os.utime(path, (1, 1))
    assert finished_record(out, make_plan([Sound(path)], run_settings()))["rows"] == 1
    (tmp_path / "b.wav").symlink_to(path)
    with pytest.raises(OutputError, match="these very vectors, but its table has other names") as raised:
        finished_record(out, make_plan([Sound(tmp_path / "b.wav")], run_settings()))
    assert "give the sounds by these names, choose another --out, or give --overwrite" in str(raised.value)
    path.write_bytes(b"other")
    with pytest.raises(OutputError, match=r"of another run: a sound was changed or removed; choose another"):
        finished_record(out, make_plan([Sound(path)], run_settings()))


def test_what_is_read_is_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "parts.npz"
    for name in ("parts.csv", "parts.json", "parts.npz", "parts.errors.csv", "map.html"):
        source = tmp_path / name
        check_apart(out, [source], [tmp_path / "map.html"])  # there is nothing yet
        source.touch()
        (tmp_path / "link").symlink_to(source)
        check_apart(tmp_path / "emb.npy", [source])
        for spelt in (source, tmp_path / "folder" / ".." / name, tmp_path / "link"):
            (tmp_path / "folder").mkdir(exist_ok=True)
            with pytest.raises(OutputError, match=r"would replace .*, which is read"):
                check_apart(out, [tmp_path / "other", spelt], [tmp_path / "map.html"])
        (tmp_path / "link").unlink()
        source.unlink()
    partial_folder(out).mkdir()
    (partial_folder(out) / "a.wav").touch()
    with pytest.raises(OutputError, match=r"would replace .*a.wav"):
        check_apart(out, [partial_folder(out) / "a.wav"])
