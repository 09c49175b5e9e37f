"""The place of the results: refused early, claimed by one."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_runs import run_settings

from aasp_features.folder.formats import RowTable
from aasp_features.folder.ledger import STATE, Ledger, Outcome
from aasp_features.folder.output import (
    READY,
    OutputError,
    check_apart,
    check_writable,
    claimed,
    clear,
    finished_record,
    make_results,
    move_results,
    partial_folder,
)
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.state import BatchResult, RunRows, RunState
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
    folder = partial_folder(out)
    with claimed(out):
        (folder / "work").touch()
    assert sorted(os.listdir(folder)) == ["lock", "work"]
    os.unlink(folder / "work")
    with claimed(out):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_deleted_meanwhile_is_noticed(tmp_path: Path) -> None:
    for lock in (True, False):
        with claimed(tmp_path / "emb.npy", lock) as lost:
            assert not lost()
            shutil.rmtree(tmp_path / "emb.npy.partial")
            assert lost()
            (tmp_path / "emb.npy.partial").mkdir()  # by another process
            assert lost() == lock


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    sentence = r"its file system has no locks .No locks available.; give --no-lock"
    with pytest.raises(OutputError, match=sentence), claimed(tmp_path / "emb.npy"):
        pass
    assert os.listdir(tmp_path) == []
    with claimed(tmp_path / "emb.npy", lock=False):
        assert (tmp_path / "emb.npy.partial").is_dir()
    assert os.listdir(tmp_path) == []


ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def ready_run(folder: Path, plan: Plan, out: Path, failed: int = 0) -> RunState:
    """A run whose results are made, and not moved; the last sounds have failed."""
    folder.mkdir(exist_ok=True)
    state, good = RunState(folder, plan), len(plan.sounds) - failed
    outcomes = [Outcome(1, sha256=sound.content().sha256) for sound in plan.sounds[:good]]
    state.begin("overwrite")
    every = list(range(len(plan.sounds)))
    state.commit(every, BatchResult([*outcomes, *[Outcome(error="broken")] * failed], iter([ROWS[:good]])))
    ledger = Ledger(plan)
    ledger.take(state.done_sounds(), STATE)
    make_results(RunRows(ledger, state), RowTable(plan.sounds, ledger.outcomes), out, {})
    return state


def finish(out: Path, plan: Plan, failed: int = 0) -> None:
    """Results as a run leaves them."""
    ready_run(partial_folder(out), plan, out, failed)
    assert move_results(partial_folder(out), out)
    partial_folder(out).rmdir()


def test_results_that_are_there_already(tmp_path: Path) -> None:
    out, sounds = tmp_path / "emb.npy", [Sound(Path("a.wav")), Sound(Path("b.wav"))]
    plan = make_plan(sounds, run_settings(pooling="mean"))
    assert finished_record(out, plan) is None
    np.save(out, np.zeros(3))
    with pytest.raises(OutputError, match=r"has no record .emb.json.; choose another --out, or give --overwrite"):
        finished_record(out, plan)
    for failed in (1, 0):
        finish(out, plan, failed)
        assert (finished_record(out, plan)["rows"], finished_record(out, plan)["failures"]) == (2 - failed, failed)
    with pytest.raises(OutputError, match="pooling was mean, now cls"):
        finished_record(out, make_plan(sounds, run_settings(pooling="cls")))
    out.unlink()
    assert finished_record(out, plan) is None  # what is left is this run's own


@pytest.mark.parametrize("name", ["emb.npy", "emb.csv", "emb.sounds.jsonl", "emb.errors.csv", "emb.json"])
def test_results_that_were_changed_are_not_called_done(tmp_path: Path, name: str) -> None:
    out, plan = tmp_path / "emb.npy", make_plan([Sound(Path("a.wav")), Sound(Path("b.wav"))], run_settings())
    finish(out, plan, failed=1)
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
    with pytest.raises(OutputError, match=r"of another run: the sounds are others, or in another order; give --update"):
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
    assert "give the sounds by these names, give --update to keep the rows of unchanged sounds, choose another" in str(
        raised.value
    )
    path.write_bytes(b"other")
    with pytest.raises(OutputError, match=r"of another run: a sound was changed or removed; give --update"):
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


def test_a_move_may_be_cut_off_after_any_file(tmp_path: Path) -> None:
    plan = make_plan([Sound(Path(name)) for name in ("a.wav", "b.wav", "c.wav")], run_settings())
    for moved in range(5):
        place, out = tmp_path / str(moved), tmp_path / str(moved) / "emb.npy"
        folder = place / "emb.npy.partial"
        folder.mkdir(parents=True)
        assert not move_results(folder, out)  # nothing is ready
        state = ready_run(folder, plan, out, failed=1)
        for path in sorted((folder / READY).iterdir(), key=lambda path: path.name == "emb.json")[:moved]:
            path.replace(place / path.name)  # as far as a process came that died
        if not (folder / READY / "emb.json").exists():
            state.rows_path.replace(out)  # it had moved the rows before
        assert move_results(folder, out)
        names = sorted(path.name for path in place.iterdir() if path.is_file())
        assert names == ["emb.csv", "emb.errors.csv", "emb.json", "emb.npy", "emb.sounds.jsonl"]
        np.testing.assert_array_equal(np.load(out), ROWS)
        assert finished_record(out, plan)["failures"] == 1
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["rows.bin", "ready/emb.csv", "ready/emb.sounds.jsonl", "ready/emb.errors.csv", "ready/emb.json"]
)
def test_results_that_were_damaged_before_they_were_moved_are_made_again(tmp_path: Path, name: str) -> None:
    out, folder = tmp_path / "emb.npy", tmp_path / "emb.npy.partial"
    ready_run(folder, make_plan([Sound(Path("a.wav")), Sound(Path("b.wav"))], run_settings()), out, failed=1)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert not move_results(folder, out)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not (folder / READY).exists()
    (folder / "lock").touch()
    clear(folder)
    assert [path.name for path in folder.iterdir()] == ["lock"]
