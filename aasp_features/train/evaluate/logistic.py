"""The quick linear probe: logistic regression of frozen vectors by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.classifier import Examples, Vectors, quiet_scikit_learn
from aasp_features.train.evaluate.metrics import Labels, Metric, Scores

C_GRID = (0.01, 0.1, 1.0, 10.0)
FIXED_C = 0.1  # where clips are too few to choose it


def logistic_regression(
    train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric
) -> list[Scores]:
    """Logistic regression, one for each class where clips may have several; arguments as of ``Classifier``.

    C is the best of 0.01, 0.1, 1 and 10 on the validation part, or else in a stratified, grouped 2-fold of the
    training part; it is 0.1 where a half of that lacks all classes but one.
    """
    axes = row_space(train.vectors)
    train = train._replace(vectors=rotate(train.vectors, axes))
    validation = None if validation is None else validation._replace(vectors=rotate(validation.vectors, axes))
    best = choose_penalty(train, validation, classes, metric)
    return [_scores(fit(train.vectors, train.labels, best), rotate(test, axes), classes)]


def choose_penalty(train: Examples, validation: Examples | None, classes: int, metric: Metric) -> float:
    """The C that the metric likes best; see ``logistic_regression``."""
    given = len(train.vectors)
    vectors = train.vectors if validation is None else np.concatenate([train.vectors, validation.vectors])
    labels = train.labels if validation is None else np.concatenate([train.labels, validation.labels])
    places = np.arange(len(vectors))
    inner = [(places[:given], places[given:])] if validation is not None else inner_splits(train.labels, train.groups)
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
    """Axes (clips, d) of the space that the training rows span; None where they are not fewer than the dimensions.

    Coordinates in it are exact for L2-penalised linear models: their weights lie in that space, and a rotation changes
    no penalty. With fewer clips than dimensions it makes the fit several times as fast.
    """
    if train.shape[0] >= train.shape[1]:
        return None
    _, _, axes = np.linalg.svd(train, full_matrices=False)
    return np.asarray(axes)


def rotate(vectors: Vectors, axes: Vectors | None) -> Vectors:
    """Coordinates of vectors along ``axes``; themselves where there are none."""
    return vectors if axes is None else np.asarray(vectors @ axes.T)


def inner_splits(labels: Labels, groups: NDArray[np.str_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split a training part to choose C: places to learn from, and to judge; none where clips are too few."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    if len(np.unique(groups)) < 2:
        return []
    if labels.ndim == 2:  # several labels a clip cannot be stratified
        return list(GroupKFold(2).split(labels, groups=groups))
    if np.unique(labels, return_counts=True)[1].max() < 2:
        return []
    with quiet_scikit_learn():
        splits = list(StratifiedGroupKFold(2, shuffle=True, random_state=0).split(labels, labels, groups))
    return splits if all(len(held) and len(np.unique(labels[rest])) > 1 for rest, held in splits) else []


def fit(vectors: Vectors, labels: Labels, c: float) -> Any:
    """scikit-learn's model of penalty C; one for each class where clips may have several; a constant for one class."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    if labels.ndim == 1 and len(np.unique(labels)) == 1:
        return DummyClassifier().fit(vectors, labels)
    model = LogisticRegression(C=c, max_iter=2000)
    return (OneVsRestClassifier(model) if labels.ndim == 2 else model).fit(vectors, labels)


def _scores(model: Any, vectors: Vectors, classes: int) -> Scores:
    """Probabilities in the columns of all classes; those that the model never met have 0."""
    scores = np.zeros((len(vectors), classes))
    scores[:, model.classes_] = model.predict_proba(vectors)
    return scores
