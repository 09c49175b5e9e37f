"""Nearest neighbours by cosine, against a loop."""

import numpy as np
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.knn import NEIGHBOURS, nearest_neighbours
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY


def test_the_majority_of_the_nearest() -> None:
    task = made_task()
    train, test = features_of(task, 2.0).astype(float), features_of(task, 2.0, seed=1).astype(float)
    guess = nearest_neighbours(train, task.labels, task.groups, test, BALANCED_ACCURACY)
    for row, found in zip(test, guess, strict=True):
        cosine = train @ row / np.linalg.norm(train, axis=1) / np.linalg.norm(row)
        labels, counts = np.unique(task.labels[np.argsort(-cosine)[:NEIGHBOURS]], return_counts=True)
        assert found in labels[counts == counts.max()]
