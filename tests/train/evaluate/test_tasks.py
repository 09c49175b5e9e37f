"""Tasks from folders; folds and resamples that keep groups whole."""

from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import made_task

from aasp_features.train.evaluate.metrics import Metric
from aasp_features.train.evaluate.tasks import Task, read_tasks


def test_folds_keep_groups_whole_and_labels_balanced() -> None:
    task = made_task()
    assert set(task.folds) == {1, 2, 3, 4, 5}
    for group in set(task.groups):
        assert len(set(task.folds[task.groups == group])) == 1
    for fold in range(1, 6):
        counts = np.unique(task.labels[task.folds == fold], return_counts=True)[1]
        assert counts.max() - counts.min() <= 6


def test_splits_hold_each_fold_out_and_leave_the_others_alone() -> None:
    task = made_task()
    for fold, (train, test) in zip((2, 3, 5), task.splits((2, 3, 5)), strict=True):
        assert set(task.folds[test]) == {fold}
        assert set(task.folds[train]) == {2, 3, 5} - {fold}
        assert len(train) + len(test) == np.isin(task.folds, (2, 3, 5)).sum()
        assert not set(task.groups[train]) & set(task.groups[test])


@pytest.mark.parametrize(("groups", "whole"), [(50, True), (10, False)])
def test_resamples_draw_groups_or_clips(groups: int, whole: bool) -> None:
    task = made_task(150, groups)
    places = np.arange(20, 140)
    draws = list(task.resamples(places))
    assert len(draws) == 1000
    for drawn, again in zip(draws[:20], task.resamples(places), strict=False):
        assert np.array_equal(drawn, again)
        times = np.bincount(drawn, minlength=len(places))
        same = [len(set(times[task.groups[places] == group])) == 1 for group in set(task.groups[places])]
        assert all(same) == whole
    assert np.mean([np.bincount(drawn, minlength=120) for drawn in draws]) == pytest.approx(1.0, abs=0.02)


def test_the_metric_is_the_tasks() -> None:
    made = made_task()
    count = Metric("letters right", lambda labels, predicted: float((labels == predicted).sum()))
    task = Task(made.name, made.files, made.labels, made.groups, made.folds, count)
    places = np.array([3, 0, 1])  # labels a, a, b
    assert task.score(places, np.array(["a", "b", "b"])) == 2.0
    assert made.score(places, np.array(["a", "b", "b"])) == 75.0


def test_tasks_that_are_wrong(task_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no task in"):
        read_tasks(tmp_path / "gone")
    (task_folder / "audio" / "3.wav").unlink()
    with pytest.raises(ValueError, match=r"1 files are missing, the first is .*3\.wav"):
        read_tasks(task_folder)
    (task_folder / "labels.csv").write_text("file,label\na.wav,x\n")
    with pytest.raises(ValueError, match=r"lacks columns \['group'\]"):
        read_tasks(task_folder)
