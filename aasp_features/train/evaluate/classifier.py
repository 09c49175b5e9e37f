"""The interface of classifiers of frozen vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import Labels, Metric, Scores

Vectors = NDArray[np.float64]


class Examples(NamedTuple):
    """Labelled vectors: (clips, d) standardised by the training part, labels as in ``Task``, and groups."""

    vectors: Vectors
    labels: Labels
    groups: NDArray[np.str_]


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


def one_hot(labels: Labels, classes: int) -> NDArray[np.bool_]:
    """Return labels of either form as (clips, classes)."""
    return labels if labels.ndim == 2 else labels[:, None] == np.arange(classes)


@contextmanager
def quiet_scikit_learn() -> Iterator[None]:
    """Hide scikit-learn's warnings of rare and absent classes, which reports mention."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sklearn\.")
        yield
