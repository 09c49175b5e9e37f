"""What was taken for what: the confusion matrix of clips that were held out, or each class's precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.task import Task

MOST_COLUMNS = 20  # classes of a matrix that is shown whole
MOST_PAIRS = 20


def confusion_matrix(task: Task, result: ProbeResult) -> NDArray[np.int64]:
    """(classes, classes): clips of the row's class that were taken for the column's. Not for several labels a clip."""
    matrix = np.zeros((len(task.classes), len(task.classes)), np.int64)
    np.add.at(matrix, (task.labels[result.tested], result.predicted), 1)
    return matrix


def confusion_table(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Markdown, aligned: a row for each class with the share that was recognised, a column for what it was taken for.

    Of more than 20 classes only the most frequent confusions.
    """
    names = [name.replace("|", "\\|") for name in classes]
    if len(names) > MOST_COLUMNS:
        return _pairs(matrix, names)
    rows = [["", *names, "recognised"]]
    for name, counts, right in zip(names, matrix, np.diagonal(matrix), strict=True):
        rows.append([name, *map(str, counts), f"{100 * right / counts.sum():.0f} %" if counts.any() else ""])
    return aligned(rows)


def frequent_confusions(matrix: NDArray[np.int64], most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Pairs of a class and what its clips were taken for, the most frequent first; at most ``most`` that occurred."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [divmod(int(place), len(matrix)) for place in order if wrong.flat[place]]


def _pairs(matrix: NDArray[np.int64], names: Sequence[str]) -> str:
    """Markdown: which class was taken for which other, and how often."""
    rows = [
        [names[one], names[other], f"{matrix[one, other]} of {matrix[one].sum()}"]
        for one, other in frequent_confusions(matrix)
    ]
    return aligned([["label", "taken for", "clips"], *rows])


def precision_table(task: Task, result: ProbeResult) -> str:
    """Markdown, aligned: clips and average precision of each class, the mean over the seeds, in %."""
    rows = [["", "clips", "average precision"]]
    for place, name in enumerate(task.classes):
        labels = task.labels[result.tested][:, [place]]
        values = [MEAN_AVERAGE_PRECISION.value(labels, scores[:, [place]]) for scores in result.scores if labels.any()]
        value = f"{np.mean(values):.1f}" if values else ""
        rows.append([name.replace("|", "\\|"), str(int(labels.sum())), value])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells -> a Markdown table, its columns of one width each; the first row is the head, the first column left."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in rows]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
