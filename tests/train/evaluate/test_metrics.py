"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from aasp_features.train.evaluate.metrics import balanced_accuracy, interval


def test_balanced_accuracy_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, guesses = rng.choice(list("abc"), 50), rng.choice(list("abc"), 50)
    assert balanced_accuracy(labels, guesses) == pytest.approx(100 * balanced_accuracy_score(labels, guesses))


def test_the_interval_holds_the_middle() -> None:
    assert interval(list(range(1001))) == (25.0, 975.0)
