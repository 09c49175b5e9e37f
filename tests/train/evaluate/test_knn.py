"""The weighted vote of nearest neighbours, against a loop over clips."""

import math

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate import knn
from aasp_features.train.evaluate.classifier import Examples, one_hot
from aasp_features.train.evaluate.knn import nearest_neighbours
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, MEAN_AVERAGE_PRECISION, accuracy


def vote(train: np.ndarray, hot: np.ndarray, row: np.ndarray, k: int) -> np.ndarray:
    """DINO's vote, a clip at a time: softmax of cosine / 0.07 over the k nearest, summed for each class."""
    cosine = [float(one @ row) / math.sqrt(float(one @ one) * float(row @ row)) for one in train]
    nearest = sorted(range(len(train)), key=lambda index: -cosine[index])[:k]
    shares = np.zeros(hot.shape[1])
    for index in nearest:
        weight = math.exp(cosine[index] / 0.07) / sum(math.exp(cosine[other] / 0.07) for other in nearest)
        shares += weight * hot[index]
    return shares


@pytest.mark.parametrize("k", [1, 5, 20, 1000])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_weighted_shares_of_the_nearest(multi_label: bool, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made_task()
    train, test = features_of(task, 2.0).astype(float), features_of(task, 2.0, seed=1).astype(float)[:40]
    hot = np.random.default_rng(0).random((150, 3)) < 0.4 if multi_label else one_hot(task.labels, 3)
    examples = Examples(train, hot if multi_label else task.labels, task.groups)
    metric = MEAN_AVERAGE_PRECISION if multi_label else BALANCED_ACCURACY
    (scores,) = nearest_neighbours(examples, None, test, 3, metric, k)
    np.testing.assert_allclose(scores, [vote(train, hot, row, k) for row in test], atol=1e-12)
    monkeypatch.setattr(knn, "AT_ONCE", 7 * len(train))
    np.testing.assert_allclose(nearest_neighbours(examples, None, test, 3, metric, k), [scores], atol=1e-12)


def test_a_near_clip_outweighs_several_far_ones() -> None:
    angles = np.radians([5, 40, 42, 44, 46])
    train = Examples(np.stack([np.cos(angles), np.sin(angles)], 1), np.array([1, 0, 0, 0, 0]), np.array(list("abcde")))
    (scores,) = nearest_neighbours(train, None, np.array([[1.0, 0.0]]), 2, BALANCED_ACCURACY, 5)
    assert scores.argmax() == 1


def test_the_order_of_the_clips_decides_nothing() -> None:
    """Copies of one clip under several labels, of which only some are among the k nearest, and a vector of zeros."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(10, 6)), 6, axis=0)
    labels, groups = rng.integers(0, 3, 60), np.arange(60).astype(str)
    test = np.concatenate([vectors[::6] + 0.01, np.zeros((1, 6))])
    (scores,) = nearest_neighbours(Examples(vectors, labels, groups), None, test, 3, BALANCED_ACCURACY, 4)
    order = rng.permutation(60)
    mixed = Examples(vectors[order], labels[order], groups[order])
    np.testing.assert_allclose(nearest_neighbours(mixed, None, test, 3, BALANCED_ACCURACY, 4), [scores], atol=1e-12)
    np.testing.assert_allclose(scores[-1], np.bincount(labels) / 60)


def test_a_tie_is_no_vote_for_the_first_class() -> None:
    """Two copies of a clip have two labels: whoever is nearest to them is half right under either."""
    train = Examples(np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([0, 1]), np.array(["a", "b"]))
    (scores,) = nearest_neighbours(train, None, np.array([[4.0, 3.0], [4.0, 3.0]]), 2, BALANCED_ACCURACY)
    assert accuracy(np.array([0, 1]), scores) == accuracy(np.array([1, 1]), scores) == 50.0


def test_fewer_clips_than_neighbours() -> None:
    few = Examples(np.eye(3), np.array([0, 1, 1]), np.array(list("abc")))
    (scores,) = nearest_neighbours(few, None, np.ones((2, 3)), 4, BALANCED_ACCURACY)
    np.testing.assert_allclose(scores, [[1 / 3, 2 / 3, 0, 0]] * 2)
