"""Classifiers of frozen vectors: their interface, k-nearest neighbours, and logistic regression as probe and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import Labels, Metric, Scores, one_hot, quiet_scikit_learn
from aasp_features.train.evaluate.task import Task

Vectors = NDArray[np.float64]
NEIGHBOURS = 20
TEMPERATURE = 0.07  # of DINO's k-NN evaluation (Caron et al., arXiv:2104.14294)
SAME = 1e-9  # cosines this close are equal, as for copies of a clip
AT_ONCE = 2**24  # cosines
C_GRID = (0.01, 0.1, 1.0, 10.0)
FIXED_C = 0.1  # with too few clips to choose it


class Examples(NamedTuple):
    """Labelled vectors: (clips, d) standardised by the training part, labels as in ``Task``, and groups."""

    vectors: Vectors
    labels: Labels
    groups: NDArray[np.str_]

    def at(self, indices: NDArray[np.int64]) -> Examples:
        """Return some of the examples."""
        return Examples(self.vectors[indices], self.labels[indices], self.groups[indices])


class Classifier(Protocol):
    """A function that learns from examples and scores other vectors."""

    def __call__(
        self, train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric
    ) -> list[Scores]:
        """Return scores of the test clips, once for each seed.

        Args:
            train: Training examples.
            validation: Examples that choose settings (default: a part of ``train``).
            test: (clips, d) to score.
            classes: Number of classes, including those that ``train`` lacks.
            metric: Metric that chooses settings.
        """
        ...


def standardise(train: NDArray[np.float32], *others: NDArray[np.float32]) -> list[Vectors]:
    """Standardise each dimension by the training part alone; constant dimensions become zero."""
    mean, std = moments(train)
    return [(part.astype(np.float64) - mean) / std for part in (train, *others)]


def moments(train: NDArray[np.float32]) -> tuple[Vectors, Vectors]:
    """Return mean and standard deviation of each dimension, (d,) float64; infinite for constant dimensions."""
    train64 = train.astype(np.float64)
    mean, std = train64.mean(axis=0), train64.std(axis=0)
    std[std < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf
    return mean, std


def nearest_neighbours(
    train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric, k: int = NEIGHBOURS
) -> list[Scores]:
    """Return each class's share in the vote of the k nearest training clips.

    Votes have weight exp(cosine / 0.07). Training clips as near as the k-th vote too, so the order of clips does not
    matter. Arguments are those of ``Classifier``; ``validation`` and ``metric`` are not used.
    """
    near, hot = _unit(train.vectors), one_hot(train.labels, classes).astype(np.float64)
    rows = max(1, AT_ONCE // len(near))
    return [np.concatenate([_shares(test[first : first + rows], near, hot, k) for first in range(0, len(test), rows)])]


def _shares(test: Vectors, near: Vectors, hot: Vectors, k: int) -> Scores:
    cosine = _unit(test) @ near.T
    last = max(0, len(near) - k)
    farthest = np.partition(cosine, last, axis=1)[:, last, None]
    weight = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / TEMPERATURE) * (cosine >= farthest - SAME)
    return np.asarray(weight @ hot / weight.sum(axis=1, keepdims=True))


def _unit(vectors: Vectors) -> Vectors:
    """Scale rows to length 1; zeros stay."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=np.finfo(np.float64).tiny))


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
    pairs = [(train, validation)] if validation is not None else []
    if validation is None:
        pairs = [(train.at(rest), train.at(held)) for rest, held in inner_splits(train.labels, train.groups)]
    if not pairs:
        return FIXED_C

    def value(c: float, given: Examples, held: Examples) -> float:
        return metric.value(held.labels, _scores(fit(given.vectors, given.labels, c), held.vectors, classes))

    means = [np.mean([value(c, *pair) for pair in pairs]) for c in C_GRID]
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


class LinearHead(NamedTuple):
    """Labels and weights of the layer.

    Attributes:
        labels: Labels of the classes with clips, in the task's order.
        weight, bias: (classes, d) and (classes,), for vectors as the encoder returns them.
    """

    labels: tuple[str, ...]
    weight: Vectors
    bias: Vectors

    def layer(self) -> nn.Linear:
        """Return it as a float32 layer."""
        layer = nn.Linear(self.weight.shape[1], len(self.labels), device="meta").to_empty(device="cpu")
        layer.load_state_dict({"weight": torch.from_numpy(self.weight), "bias": torch.from_numpy(self.bias)})
        return layer


def fit_linear_head(vectors: NDArray[np.float32], task: Task) -> LinearHead:
    """Fit a logistic regression to standardised vectors as one layer, with C as in ``logistic_regression``.

    Args:
        vectors: (clips, d), one row for each of the task's files.
        task: Source of labels, groups and the metric that chooses C.

    Raises:
        TrainError: The clips have a single class, or a label that all of them share.
    """
    present = _present(task)
    labels = task.labels[:, present] if task.labels.ndim == 2 else np.searchsorted(present, task.labels)
    mean, std = moments(vectors)
    standardised = (vectors.astype(np.float64) - mean) / std
    axes = row_space(standardised)
    examples = Examples(rotate(standardised, axes), labels, task.groups)
    with quiet_scikit_learn():
        model = fit(examples.vectors, labels, choose_penalty(examples, None, len(present), task.metric))
    weight, bias = coefficients(model)
    weight = (weight if axes is None else weight @ axes) / std
    return LinearHead(tuple(task.classes[index] for index in present), weight, bias - weight @ mean)


def coefficients(model: Any) -> tuple[Vectors, Vectors]:
    """Return weight (classes, d) and bias (classes,) of scikit-learn's model, with one row per class."""
    parts: Sequence[Any] = getattr(model, "estimators_", [model])
    weight = np.concatenate([part.coef_ for part in parts])
    bias = np.concatenate([part.intercept_ for part in parts])
    if len(parts) == 1 and len(weight) == 1:  # softmax of (-z/2, z/2) is sigmoid of z
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def _present(task: Task) -> NDArray[np.int64]:
    having = one_hot(task.labels, len(task.classes))
    present = np.flatnonzero(having.any(axis=0))
    if len(present) < 2:
        raise TrainError(f"{task.name}: its clips have {len(present)} classes; a classifier needs at least two.")
    if (shared := np.flatnonzero(having.all(axis=0))).size:
        raise TrainError(
            f"{task.name}: every clip has the label {task.classes[shared[0]]!r}; remove that label, which cannot be "
            "learned."
        )
    return present
