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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", "has no rows, or lacks columns"),
        (lambda text: text.splitlines()[0], "has no rows, or lacks columns"),
        (lambda text: text.replace(",", ";"), r"lacks columns \['file', 'group', 'label'\]"),
        (lambda text: text.encode("utf-16"), "is no CSV in UTF-8"),
        (lambda text: bytes(range(256)), "is no CSV in UTF-8"),
        (lambda text: text.replace("high", "low"), "every clip has the label 'low'; a task needs two"),
        (lambda text: text.replace("3.wav,high", "3.wav,", 1), "row 4 has no label"),
        (lambda text: text + "audio/1.wav\n", "row 41 has no label"),
        (lambda text: text + "audio/1.wav,low\n", "row 41 has no group"),
        (lambda text: text + f"{'a' * 200_000},low,1\n", "is no CSV in UTF-8"),
        (lambda text: "\n".join(text.splitlines()[:5]), "1 groups cannot make 5 folds"),
        (lambda text: with_folds(text, lambda place: "x"), r"row 1 has fold 'x'; it is one of \(1, 2, 3, 4, 5\)"),
        (lambda text: with_folds(text, lambda place: "1.5"), "row 1 has fold '1.5'"),
        (lambda text: with_folds(text, lambda place: 1 + place // 4 % 4), "no clip is in fold 5"),
        (lambda text: with_folds(text, lambda place: 1 + place % 5), "group '0' lies in two folds"),
    ],
)
def test_a_table_that_is_wrong_is_a_sentence(task_folder: Path, change: object, sentence: str) -> None:
    table = task_folder / "labels.csv"
    changed = change(table.read_text())
    table.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(ValueError, match=sentence) as refused:
        read_tasks(task_folder)
    assert str(table) in str(refused.value)
    assert "\n" not in str(refused.value)


def with_folds(text: str, fold: object) -> str:
    header, *rows = text.splitlines()
    return "\n".join([f"{header},fold", *(f"{row},{fold(place)}" for place, row in enumerate(rows))])


def test_own_folds_are_taken(task_folder: Path) -> None:
    table = task_folder / "labels.csv"
    text = with_folds(table.read_text(), lambda place: 1 + place // 4 % 5)
    table.write_bytes(("\ufeff" + text).encode())  # as spreadsheets write it
    (task,) = read_tasks(task_folder)
    assert task.folds.tolist() == [1 + place // 4 % 5 for place in range(40)]


def test_too_few_of_each_label(task_folder: Path) -> None:
    table = task_folder / "labels.csv"
    header, *rows = table.read_text().splitlines()
    rows = [f"{row.split(',')[0]},label{place},{place}" for place, row in enumerate(rows)]
    table.write_text("\n".join([header, *rows]))
    with pytest.raises(ValueError, match="no folds can be made"):
        read_tasks(task_folder)
