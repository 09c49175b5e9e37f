"""Confusion matrices of held-out clips, and the precision of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.task import Task

MAX_COLUMNS = 20  # classes of a full matrix
MAX_PAIRS = 20


def confusion_matrix(task: Task, result: ProbeResult) -> NDArray[np.int64]:
    """Count clips by label (row) and prediction (column), (classes, classes); not for multi-label tasks."""
    matrix = np.zeros((len(task.classes), len(task.classes)), np.int64)
    np.add.at(matrix, (task.labels[result.tested], result.predicted), 1)
    return matrix


def confusion_table(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return the matrix as aligned Markdown, with the share of each class that was recognised.

    With more than 20 classes, it lists the most frequent confusions.
    """
    names = [name.replace("|", "\\|") for name in classes]
    if len(names) > MAX_COLUMNS:
        return _pairs(matrix, names)
    rows = [["", *names, "recognised"]]
    for name, counts, right in zip(names, matrix, np.diagonal(matrix), strict=True):
        rows.append([name, *map(str, counts), f"{100 * right / counts.sum():.0f} %" if counts.any() else ""])
    return aligned(rows)


def frequent_confusions(matrix: NDArray[np.int64], limit: int = MAX_PAIRS) -> list[tuple[int, int]]:
    """Return at most ``limit`` pairs of label and prediction, the most frequent first."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    return [divmod(int(index), len(matrix)) for index in order if wrong.flat[index]]


def _pairs(matrix: NDArray[np.int64], names: Sequence[str]) -> str:
    rows = [
        [names[one], names[other], f"{matrix[one, other]} of {matrix[one].sum()}"]
        for one, other in frequent_confusions(matrix)
    ]
    return aligned([["label", "predicted", "clips"], *rows])


def precision_table(task: Task, result: ProbeResult) -> str:
    """Return clips and average precision (%, mean over seeds) of each class as aligned Markdown."""
    rows = [["", "clips", "average precision"]]
    for index, name in enumerate(task.classes):
        labels = task.labels[result.tested][:, [index]]
        values = [MEAN_AVERAGE_PRECISION.value(labels, scores[:, [index]]) for scores in result.scores if labels.any()]
        value = f"{np.mean(values):.1f}" if values else ""
        rows.append([name.replace("|", "\\|"), str(int(labels.sum())), value])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as an aligned Markdown table; the first row is the head, the first column is left-aligned."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in rows]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
