"""The quick linear probe: scikit-learn's logistic regression of frozen vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.classifier import Examples, Vectors, quiet_scikit_learn
from aasp_features.train.evaluate.metrics import Labels, Metric, Scores

C_GRID = (0.01, 0.1, 1.0, 10.0)
FIXED_C = 0.1  # with too few clips to choose it


def logistic_regression(
    train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric
) -> list[Scores]:
    """Fit a logistic regression, one per class for multi-label clips; arguments as for ``Classifier``.

    C is the best of 0.01, 0.1, 1 and 10 on the validation part, or else in a stratified, grouped 2-fold of the training
    part. It is 0.1 if a half of that has a single class.
    """
    axes = row_space(train.vectors)
    train = train._replace(vectors=rotate(train.vectors, axes))
    validation = None if validation is None else validation._replace(vectors=rotate(validation.vectors, axes))
    best = choose_penalty(train, validation, classes, metric)
    return [_scores(fit(train.vectors, train.labels, best), rotate(test, axes), classes)]


def choose_penalty(train: Examples, validation: Examples | None, classes: int, metric: Metric) -> float:
    """Return the C with the best metric; see ``logistic_regression``."""
    given = len(train.vectors)
    vectors = train.vectors if validation is None else np.concatenate([train.vectors, validation.vectors])
    labels = train.labels if validation is None else np.concatenate([train.labels, validation.labels])
    indices = np.arange(len(vectors))
    inner = [(indices[:given], indices[given:])] if validation is not None else inner_splits(train.labels, train.groups)
    if not inner:
        return FIXED_C
    means = []
    for c in C_GRID:
        found = [
            metric.value(labels[held], _scores(fit(vectors[rest], labels[rest], c), vectors[held], classes))
            for rest, held in inner
        ]
        means.append(np.mean(found))
    return C_GRID[int(np.argmax(means))]


def row_space(train: Vectors) -> Vectors | None:
    """Return axes (clips, d) of the space of the training rows, or None if they span all dimensions.

    Coordinates in it are exact for L2-penalised linear models: their weights are in that space, and a rotation keeps
    the penalty. With fewer clips than dimensions, the fit is several times as fast.
    """
    if train.shape[0] >= train.shape[1]:
        return None
    _, _, axes = np.linalg.svd(train, full_matrices=False)
    return np.asarray(axes)


def rotate(vectors: Vectors, axes: Vectors | None) -> Vectors:
    """Return coordinates of vectors along ``axes``, or the vectors if there are none."""
    return vectors if axes is None else np.asarray(vectors @ axes.T)


def inner_splits(labels: Labels, groups: NDArray[np.str_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split a training part to choose C, as training and validation indices; empty with too few clips."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    if len(np.unique(groups)) < 2:
        return []
    if labels.ndim == 2:  # multi-label clips cannot be stratified
        return list(GroupKFold(2).split(labels, groups=groups))
    if np.unique(labels, return_counts=True)[1].max() < 2:
        return []
    with quiet_scikit_learn():
        splits = list(StratifiedGroupKFold(2, shuffle=True, random_state=0).split(labels, labels, groups))
    return splits if all(len(held) and len(np.unique(labels[rest])) > 1 for rest, held in splits) else []


def fit(vectors: Vectors, labels: Labels, c: float) -> Any:
    """Fit scikit-learn's model with penalty C, one per class for multi-label clips; a constant for one class."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    if labels.ndim == 1 and len(np.unique(labels)) == 1:
        return DummyClassifier().fit(vectors, labels)
    model = LogisticRegression(C=c, max_iter=2000)
    return (OneVsRestClassifier(model) if labels.ndim == 2 else model).fit(vectors, labels)


def _scores(model: Any, vectors: Vectors, classes: int) -> Scores:
    scores = np.zeros((len(vectors), classes))
    scores[:, model.classes_] = model.predict_proba(vectors)
    return scores
