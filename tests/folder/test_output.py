"""The place of the results: refused early, claimed by one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_settings import run_settings

from aasp_features.folder.output import (
    OutputError,
    check_apart,
    check_writable,
    claimed,
    finished_record,
    partial_folder,
)
from aasp_features.folder.plan import make_plan
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
    with claimed(out) as folder:
        assert folder == partial_folder(out)
        (folder / "work").touch()
    assert sorted(os.listdir(folder)) == ["lock", "work"]
    os.unlink(folder / "work")
    with claimed(out):
        pass
    assert os.listdir(tmp_path) == []


def test_results_that_are_there_already(tmp_path: Path) -> None:
    out, plan = tmp_path / "emb.npy", make_plan([Sound(Path("a.wav"))], run_settings(pooling="mean"))
    assert finished_record(out, plan) is None
    np.save(out, np.zeros(3))
    with pytest.raises(OutputError, match=r"has no record .emb.json.; choose another --out, or give --overwrite"):
        finished_record(out, plan)
    (tmp_path / "emb.json").write_text(json.dumps({"rows": 1, **plan.identity()}))
    assert finished_record(out, plan)["rows"] == 1
    with pytest.raises(OutputError, match="pooling was mean, now cls"):
        finished_record(out, make_plan([Sound(Path("a.wav"))], run_settings(pooling="cls")))


def test_tables_of_other_outputs_are_not_replaced(tmp_path: Path) -> None:
    """``emb.npy`` and ``emb.npz`` would have one table."""
    plan, other = (make_plan([Sound(Path(name))], run_settings()) for name in ("a.wav", "b.wav"))
    (tmp_path / "emb.csv").write_text("the user's own")
    with pytest.raises(OutputError, match=r"emb.csv exists and has no record"):
        finished_record(tmp_path / "emb.npy", plan)
    (tmp_path / "emb.json").write_text(json.dumps(plan.identity()))
    assert finished_record(tmp_path / "emb.npy", plan) is None  # the same table
    with pytest.raises(OutputError, match=r"emb.csv holds the results of another run"):
        finished_record(tmp_path / "emb.npy", other)


def test_lists_are_not_replaced_by_tables(tmp_path: Path) -> None:
    check_apart(tmp_path / "emb.npy", tmp_path / "parts.csv")
    for source in ("parts.csv", "parts.json", "parts.npz", "folder/../parts.csv"):
        with pytest.raises(OutputError, match=r"would replace .* which this run reads"):
            check_apart(tmp_path / "parts.npz", tmp_path / source)
