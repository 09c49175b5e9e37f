"""A run's state: whole or the old one, and a sentence for what is damaged, foreign or in use."""

import json
from pathlib import Path

import pytest
from loop_helpers import start

from aasp_features.train.pretrain import run_folder
from aasp_features.train.pretrain.run_folder import METRICS_FILE, STATE_FILE, lock_run, read_record, write_metrics


def test_a_failed_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)
    run.step()
    run.save()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    run.step()
    monkeypatch.setattr(run_folder.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        run.save()
    monkeypatch.undo()
    assert start(tmp_path).progress.step == 1


def test_damaged_and_foreign_states_are_named(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.save()
    with pytest.raises(ValueError, match="belongs to another recipe"):
        start(tmp_path, objective={"contrast_dim": 9})
    state = tmp_path / STATE_FILE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        start(tmp_path)
    with pytest.raises(ValueError, match="is damaged"):
        read_record(tmp_path)
    with pytest.raises(ValueError, match="holds no run"):
        read_record(tmp_path / "gone")


def test_the_record_is_read_without_the_tensors(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.step()
    run.save()
    progress, record = read_record(tmp_path)
    assert progress == run.progress
    assert record["recipe"] == json.loads(json.dumps(run.recipe.to_dict()))
    assert record["sounds"] == len(run.crops.corpus.frame_lengths)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = lock_run(tmp_path / "run")
    with pytest.raises(ValueError, match="another process trains in"):
        lock_run(tmp_path / "run")
    lock.release()
    lock_run(tmp_path / "run").release()


def test_metrics_are_lines(tmp_path: Path) -> None:
    for step in (1, 2):
        write_metrics(tmp_path, {"step": step, "loss": 1 / 3})
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.333333}, {"step": 2, "loss": 0.333333}]
