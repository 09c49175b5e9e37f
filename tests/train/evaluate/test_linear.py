"""The linear classifier: a rotation that changes nothing, and a penalty that the task's metric chooses."""

import numpy as np
from evaluate_helpers import features_of, made_task
from sklearn.linear_model import LogisticRegression

from aasp_features.train.evaluate import linear
from aasp_features.train.evaluate.linear import linear_classifier, rotate
from aasp_features.train.evaluate.metrics import Metric
from aasp_features.train.evaluate.probe import standardise


def test_rotation_changes_no_prediction() -> None:
    task = made_task(60, 20)
    train, test = standardise(features_of(task, 1.0, width=300), features_of(task, 1.0, seed=1, width=300))
    turned, turned_test = rotate(train, test)
    assert turned.shape == (60, 60)
    for c in (0.01, 1.0):
        plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(train, task.labels)
        fast = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(turned, task.labels)
        np.testing.assert_allclose(fast.predict_proba(turned_test), plain.predict_proba(test), atol=1e-4)


def test_the_metric_chooses_the_penalty() -> None:
    """A metric that likes few words for the answer prefers the strongest penalty; its opposite another."""
    task = made_task()
    train, test = standardise(features_of(task, 1.0), features_of(task, 1.0, seed=1))
    fits = {c: LogisticRegression(C=c, max_iter=2000).fit(train, task.labels).predict(test) for c in linear.C_GRID}
    asked = []

    def order(labels: np.ndarray, predicted: np.ndarray) -> float:
        asked.append(predicted)
        return -float(len(asked))  # the first C of the grid is best

    guess = linear_classifier(train, task.labels, task.groups, test, Metric("order", order))
    assert len(asked) == 2 * len(linear.C_GRID)
    assert np.array_equal(guess, fits[linear.C_GRID[0]])
