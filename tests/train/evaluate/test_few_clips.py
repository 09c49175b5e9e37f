"""What few clips are said to do to a score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import made_task

from aasp_features.train.evaluate.few_clips import few_clips, fixed_penalty, split_recordings
from aasp_features.train.evaluate.task import Task

ALONE = "There are few clips, so each fold is a single clip."
TOGETHER = "Some folds test a single class, so all held-out clips are scored together."


def drawn(*counts: int) -> Task:
    """So many clips of a, b, c, each alone, in folds that are drawn."""
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = ["1"] * len(labels)
    task = replace(made_task(len(labels), len(labels), parts), labels=labels, classes=tuple("abc"[: len(counts)]))
    return task.draw_folds()


@pytest.mark.parametrize(
    ("counts", "sentences"),
    [
        ((5, 5), []),
        ((20, 7, 5), []),
        (
            (2, 2),
            [ALONE, TOGETHER, "Add at least 3 clips of a, 3 clips of b, so that each of 5 folds can hold every class."],
        ),
        (
            (1, 11),
            [
                TOGETHER,
                "1 clip of a can only be recognised by chance: no clip of the class was left for training.",
                "Add at least 4 clips of a, so that each of 5 folds can hold every class.",
            ],
        ),
    ],
)
def test_what_would_help(counts: tuple[int, ...], sentences: list[str]) -> None:
    assert few_clips(drawn(*counts)) == sentences


def test_as_many_clips_as_are_asked_for_help() -> None:
    assert few_clips(drawn(1, 2, 3)) != []
    assert few_clips(drawn(1 + 4, 2 + 3, 3 + 2)) == []


def test_groups_and_fixed_parts() -> None:
    task = made_task(30, 3)  # ten clips of each class, and each class is a group of its own
    task = replace(task, groups=np.array([f"g{label}" for label in task.labels])).draw_folds()
    assert few_clips(task)[0] == "There are few clips, so each fold is a single group."
    assert "10 clips of a, 10 clips of b, 10 clips of c can only be recognised by chance" in few_clips(task)[2]
    assert "Add at least 4 groups of a, 4 groups of b, 4 groups of c" in few_clips(task)[3]
    parts = made_task(30, 30, ["train"] * 20 + ["test"] * 10)
    assert few_clips(parts) == []
    fixed = replace(parts, labels=np.array([0, 1] * 10 + [2] * 10))
    (sentence,) = few_clips(fixed)
    assert sentence.startswith("10 clips of c can only be recognised by chance")
    assert few_clips(replace(parts, parts=np.array(["train"] * 30))) == []  # no test part: told where it is tried


def test_where_the_penalty_is_fixed() -> None:
    assert fixed_penalty(drawn(10, 10)) == []
    assert fixed_penalty(drawn(2, 2)) == ["C is 0.1 in 4 of 4 splits: too few clips to choose it."]


def named(*names: str) -> Task:
    task = made_task(len(names), len(names), [str(1 + index % 2) for index in range(len(names))])
    return replace(task, files=[Path(name) for name in names], drawn=True)


def test_recordings_that_are_cut_across_folds() -> None:
    pieces = [f"mine/rain/{name}-{start}.wav" for name in ("north", "south") for start in (0, 8000, 16000)]
    assert split_recordings(named(*pieces))[0].startswith(
        "By their names, 2 recordings have clips in several folds, such as north-0.wav and north-8000.wav"
    )
    assert split_recordings(named(*(f"mine/rain/clip_{index:03}.wav" for index in range(6)))) == []  # numbered clips
    assert split_recordings(named("a/x1.wav", "a/y.wav", "b/x2.wav")) == []
    assert split_recordings(replace(named(*pieces), groups=np.array(["g"] * 6))) == []
