"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score

from aasp_features.train.evaluate.metrics import (
    accuracy,
    balanced_accuracy,
    exact_interval,
    interval,
    mean_average_precision,
)


def test_accuracies_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 50), rng.random((50, 3))
    guesses = scores.argmax(axis=1)
    assert accuracy(labels, scores) == pytest.approx(100 * accuracy_score(labels, guesses))
    assert balanced_accuracy(labels, scores) == pytest.approx(100 * balanced_accuracy_score(labels, guesses))


def test_ties_count_as_chance_would() -> None:
    """The mean of scikit-learn's accuracies over many random ways out of the ties."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 40), rng.integers(0, 2, (40, 3)) / 3.0
    drawn = [(scores + 1e-3 * rng.random(scores.shape)).argmax(axis=1) for _ in range(500)]
    rounded = scores * (1 + 1e-15 * rng.normal(size=scores.shape))
    for ours, theirs in ((accuracy, accuracy_score), (balanced_accuracy, balanced_accuracy_score)):
        assert ours(labels, rounded) == pytest.approx(100 * np.mean([theirs(labels, one) for one in drawn]), abs=1.5)


def test_mean_average_precision_is_over_classes_that_occur() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.random((50, 4)) < 0.3, rng.random((50, 4))
    labels[:, 2] = False
    each = [average_precision_score(labels[:, index], scores[:, index]) for index in (0, 1, 3)]
    assert mean_average_precision(labels, scores) == pytest.approx(100 * np.mean(each))


def test_the_interval_holds_the_middle() -> None:
    assert interval(list(range(1001))) == (25.0, 975.0)


@pytest.mark.parametrize(("right", "clips"), [(0, 1), (1, 1), (3, 4), (24, 24), (0, 24), (11, 12), (50, 300)])
def test_the_exact_interval_is_clopper_and_pearsons(right: int, clips: int) -> None:
    expected = binomtest(right, clips).proportion_ci(method="exact")
    assert exact_interval(100 * right / clips, clips) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_the_exact_interval_of_a_number_of_clips_that_is_not_whole_lies_between() -> None:
    low, between, high = (exact_interval(75.0, clips)[0] for clips in (4, 4.5, 5))
    assert low < between < high
