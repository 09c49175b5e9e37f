"""Confusion matrices against scikit-learn's; tables that line up."""

from dataclasses import replace

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task
from sklearn.metrics import average_precision_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from aasp_features.train.evaluate import logistic
from aasp_features.train.evaluate.confusion import aligned, confusion_matrix, confusion_table, precision_table
from aasp_features.train.evaluate.logistic import logistic_regression
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import probe


@pytest.fixture(autouse=True)
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick."""
    monkeypatch.setattr(logistic, "C_GRID", (0.1,))


def test_it_is_scikit_learns() -> None:
    task = made_task()
    result = probe(features_of(task, 1.0), task, logistic_regression)
    matrix = confusion_matrix(task, result)
    said = np.argmax(result.scores[0], axis=1)
    np.testing.assert_array_equal(matrix, sklearn_confusion_matrix(task.labels[result.tested], said))
    assert matrix.sum() == 150
    recognised = np.mean(np.diagonal(matrix) / matrix.sum(axis=1))
    lines = confusion_table(matrix, task.classes).splitlines()
    shares = [float(line.split("|")[-2].removesuffix(" % ")) for line in lines[2:]]
    assert np.mean(shares) == np.mean(np.round(100 * np.diagonal(matrix) / matrix.sum(axis=1)))
    assert abs(100 * recognised - np.mean(shares)) < 1


def test_tables_line_up() -> None:
    lines = confusion_table(np.array([[10, 2], [0, 0]]), ["a|b", "a long name"]).splitlines()
    assert lines == [
        "|             | a\\|b | a long name | recognised |",
        "|-------------|-----:|------------:|-----------:|",
        "| a\\|b        |   10 |           2 |       83 % |",
        "| a long name |    0 |           0 |            |",
    ]
    assert len({len(line) for line in aligned([["", "x"], ["y", "12345"]]).splitlines()}) == 1


def test_many_classes_are_told_by_their_confusions() -> None:
    matrix = 10 * np.eye(30, dtype=np.int64)
    matrix[3, 7], matrix[9, 1] = 4, 9
    lines = confusion_table(matrix, [f"c{place}" for place in range(30)]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[2:] == [["c9", "c1", "9 of 19"], ["c3", "c7", "4 of 14"]]


@pytest.mark.filterwarnings("ignore:Label not 2 is present")
def test_precision_of_each_class() -> None:
    task = made_task()
    labels = np.stack([task.labels == 0, task.labels != 1, task.labels < 0], axis=1)  # the last is never heard
    task = replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION)
    result = probe(features_of(task, 1.0), task, logistic_regression)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in precision_table(task, result).splitlines()]
    for place in (0, 1):
        expected = 100 * average_precision_score(labels[result.tested, place], result.scores[0][:, place])
        assert rows[2 + place] == [task.classes[place], str(labels[:, place].sum()), f"{expected:.1f}"]
    assert rows[4] == ["c", "0", ""]
