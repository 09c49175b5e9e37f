"""Splits and resamples that keep groups whole, what is left out for selections, and what is missing."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import made_task

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, MEAN_AVERAGE_PRECISION, Metric
from aasp_features.train.evaluate.task import Row, Task, build_task, make_folds

FIXED = ["train"] * 90 + ["validation"] * 30 + ["test"] * 30


def test_folds_keep_groups_whole_and_labels_balanced() -> None:
    task = made_task()
    assert task.folds == ["1", "2", "3", "4", "5"]
    for group in set(task.groups):
        assert len(set(task.parts[task.groups == group])) == 1
    for fold in task.folds:
        counts = np.unique(task.labels[task.parts == fold], return_counts=True)[1]
        assert counts.max() - counts.min() <= 6


@pytest.mark.parametrize(
    ("counts", "folds"),
    [
        ((2, 2), 4),
        ((1, 1), 2),
        ((3, 2, 1), 6),
        ((5, 2), 5),
        ((1, 11), 5),
        ((4,) * 4, 16),
        ((4,) * 6, 4),
        ((1,) * 30, 30),
    ],
)
def test_few_clips_make_folds(counts: tuple[int, ...], folds: int) -> None:
    """One out of each class's clips in a fold, or each clip alone; always each clip once, and every fold some."""
    labels = [place for place, count in enumerate(counts) for _ in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make_folds(labels, list(map(str, range(len(labels)))))
    assert set(found) == {str(fold) for fold in range(1, folds + 1)}
    for label in set(labels):
        own = [fold for fold, other in zip(found, labels, strict=True) if other == label]
        assert max(own.count(fold) for fold in own) <= -(-len(own) // folds)


def test_few_groups_are_held_out_one_by_one() -> None:
    assert make_folds("aabbab", list("ggghhi")) == ["1", "1", "1", "2", "2", "3"]
    with pytest.raises(TrainError, match="all its clips are of the group 'g'"):
        make_folds("ab", "gg")


def test_drawn_folds_hold_the_rarest_labels_of_clips_with_several(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / str(index)).touch()
    rows = [
        Row(tmp_path / str(index), ("all", "rare") if index < 5 else ("all",), str(index), "") for index in range(30)
    ]
    task = build_task("several", rows, MEAN_AVERAGE_PRECISION, multi_label=True)
    assert task.drawn
    assert sorted(task.parts[:5].tolist()) == task.folds == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("selection", [False, True])
def test_splits_hold_each_fold_out(selection: bool) -> None:
    task = made_task(parts=[str(1 + index % 11) for index in range(150)])
    folds = [str(fold) for fold in range(1, 11 if selection else 12)]
    splits = task.splits(selection)
    assert [split.name for split in splits] == [f"fold {fold}" for fold in folds]  # 11 after 10, not after 1
    for fold, (_, train, validation, test) in zip(folds, splits, strict=True):
        assert set(task.parts[test]) == {fold}
        assert set(task.parts[train]) == set(folds) - {fold}
        assert len(validation) == 0
        assert len(train) + len(test) == np.isin(task.parts, folds).sum()


def test_fixed_parts() -> None:
    task = made_task(parts=FIXED)
    (split,) = task.splits()
    assert [len(places) for places in split[1:]] == [90, 30, 30]
    (chosen,) = task.splits(selection=True)
    assert [len(places) for places in chosen[1:]] == [90, 0, 30]
    assert set(task.parts[chosen.test]) == {"validation"}
    without = made_task(parts=["train"] * 100 + ["test"] * 50)
    with pytest.raises(ValueError, match="made: no clips in its part 'validation'"):
        without.splits(selection=True)


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
    right = Metric("clips right", lambda labels, scores: float((labels == scores.argmax(axis=1)).sum()))
    task = Task(made.name, made.files, made.classes, made.labels, made.groups, made.parts, right)
    places, scores = np.array([3, 0, 1]), np.eye(3)[[0, 1, 1]]  # labels a, a, b
    assert task.value(places, scores) == 2.0
    assert made.value(places, scores) == 75.0


def test_rows_become_a_task(tmp_path: Path) -> None:
    for name in "xyz":
        (tmp_path / name).touch()
    rows = [Row(tmp_path / "x", ("b",), "g", "1"), Row(tmp_path / "gone", ("c",), "g", "1")]
    rows += [Row(tmp_path / "y", ("a",), "h", "2"), Row(tmp_path / "z", ("b",), "h", "2")]
    task = build_task("letters", rows, BALANCED_ACCURACY)
    assert task.classes == ("a", "b", "c")  # that of the missing file, too: scores keep their columns
    assert task.labels.tolist() == [1, 0, 1]
    assert task.missing == (tmp_path / "gone",)
    multi_label = [Row(tmp_path / "x", ("b", "a"), "x", "1"), Row(tmp_path / "y", ("c",), "y", "2")]
    task = build_task("several", multi_label, MEAN_AVERAGE_PRECISION, multi_label=True)
    assert task.labels.tolist() == [[True, True, False], [False, False, True]]
    with pytest.raises(ValueError, match="letters: 'b' is not one of its 2 classes"):
        build_task("letters", rows, classes=["a", "c"])
    with pytest.raises(ValueError, match=r"gone: none of its 1 sound files exists, the first is .*gone\."):
        build_task("gone", rows[1:2])
    with pytest.raises(ValueError, match="same: all clips are labelled 'b'"):
        build_task("same", [rows[0], rows[3]])
