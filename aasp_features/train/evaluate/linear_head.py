"""A linear head for ``AaSPClassifier``: the quick probe, fitted to all clips of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import Examples, moments, one_hot, quiet_scikit_learn
from aasp_features.train.evaluate.logistic import choose_penalty, fit, rotate, row_space
from aasp_features.train.evaluate.task import Task

Numbers = NDArray[np.float64]


class LinearHead(NamedTuple):
    """Labels and weights of the layer.

    Attributes:
        labels: Labels of the classes with clips, in the task's order.
        weight, bias: (classes, d) and (classes,), for vectors as the encoder returns them.
    """

    labels: tuple[str, ...]
    weight: Numbers
    bias: Numbers

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


def coefficients(model: Any) -> tuple[Numbers, Numbers]:
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
