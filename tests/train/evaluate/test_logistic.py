"""Logistic regression: a rotation that changes nothing, a penalty that the metric chooses, classes that are absent."""

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task
from sklearn.linear_model import LogisticRegression

from aasp_features.train.evaluate.classifier import Examples, standardise
from aasp_features.train.evaluate.logistic import C_GRID, logistic_regression, rotate, row_space
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, Metric


def test_rotation_changes_no_prediction() -> None:
    task = made_task(60, 20)
    train, test = standardise(features_of(task, 1.0, width=300), features_of(task, 1.0, seed=1, width=300))
    axes = row_space(train)
    turned, turned_test = rotate(train, axes), rotate(test, axes)
    assert turned.shape == (60, 60)
    for c in (0.01, 1.0):
        plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(train, task.labels)
        fast = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(turned, task.labels)
        np.testing.assert_allclose(fast.predict_proba(turned_test), plain.predict_proba(test), atol=1e-4)


@pytest.mark.parametrize("validated", [False, True])
def test_the_metric_chooses_the_penalty(validated: bool) -> None:
    """A metric that falls with every call likes the first penalty of the grid best; one that rises, the last."""
    task = made_task()
    train, test = standardise(features_of(task, 1.0), features_of(task, 1.0, seed=1))
    examples = Examples(train, task.labels, task.groups)
    validation = Examples(test[:30], task.labels[:30], task.groups[:30]) if validated else None
    for sign, c in ((-1.0, C_GRID[0]), (1.0, C_GRID[-1])):
        asked = []

        def order(labels: np.ndarray, scores: np.ndarray, sign: float = sign, asked: list[int] = asked) -> float:
            asked.append(len(labels))
            return sign * len(asked)

        (scores,) = logistic_regression(examples, validation, test, 3, Metric("order", order))
        assert len(asked) == len(C_GRID) * (1 if validated else 2)
        assert asked[0] == 30 or not validated
        expected = LogisticRegression(C=c, max_iter=2000).fit(train, task.labels).predict_proba(test)
        np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_absent_classes_and_several_labels() -> None:
    task = made_task()
    (vectors,) = standardise(features_of(task, 30.0))
    (scores,) = logistic_regression(
        Examples(vectors, task.labels + 1, task.groups), None, vectors, 5, BALANCED_ACCURACY
    )
    assert (scores[:, [0, 4]] == 0).all()
    assert (scores.argmax(axis=1) == task.labels + 1).all()
    multi_label = np.stack([task.labels == 0, task.labels != 1, task.labels == 2], axis=1)
    metric = Metric("right", lambda labels, scores: float(((scores > 0.5) == labels).mean()))
    (scores,) = logistic_regression(Examples(vectors, multi_label, task.groups), None, vectors, 3, metric)
    assert ((scores > 0.5) == multi_label).mean() > 0.99
