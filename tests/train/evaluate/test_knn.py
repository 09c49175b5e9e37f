"""Nearest neighbours by cosine, against a loop."""

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.classifier import Examples, one_hot
from aasp_features.train.evaluate.knn import NEIGHBOURS, nearest_neighbours
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY


@pytest.mark.parametrize("several", [False, True])
def test_the_share_of_the_nearest(several: bool) -> None:
    task = made_task()
    train, test = features_of(task, 2.0).astype(float), features_of(task, 2.0, seed=1).astype(float)
    hot = np.random.default_rng(0).random((150, 3)) < 0.4 if several else one_hot(task.labels, 3)
    labels = hot if several else task.labels
    (scores,) = nearest_neighbours(Examples(train, labels, task.groups), None, test, 3, BALANCED_ACCURACY)
    for row, found in zip(test, scores, strict=True):
        cosine = train @ row / np.linalg.norm(train, axis=1) / np.linalg.norm(row)
        np.testing.assert_allclose(found, hot[np.argsort(-cosine)[:NEIGHBOURS]].mean(axis=0))


def test_fewer_clips_than_neighbours() -> None:
    few = Examples(np.eye(3), np.array([0, 1, 1]), np.array(list("abc")))
    (scores,) = nearest_neighbours(few, None, np.eye(3), 4, BALANCED_ACCURACY)
    np.testing.assert_allclose(scores, [[1 / 3, 2 / 3, 0, 0]] * 3)
