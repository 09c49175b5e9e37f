"""Probe results of several methods on several tasks -> a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aasp_features.train.evaluate.metrics import interval
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.tasks import FOLDS, Task

Results = Mapping[str, Mapping[str, ProbeResult]]  # method -> task -> result


def report(tasks: Sequence[Task], results: Results, classifier: str, folds: str, last_fold: bool) -> str:
    """Markdown: all tables, with a line on each.

    Args:
        tasks: in the order of the columns.
        results: of every method; the last one is compared with the others.
        classifier, folds: as they were asked for.
        last_fold: is the fold that selections leave out among them?
    """
    metrics = " and ".join(dict.fromkeys(task.metric.name for task in tasks))
    parts = [f"{metrics.capitalize()} (%), {classifier} probe, folds {folds}:", table(results)]
    if last_fold:
        parts += [f"Fold {FOLDS[-1]} alone, which selections leave out:", fold_table(results, -1)]
    if len(results) > 1:
        parts += ["Differences, paired clip by clip:", differences(tasks, results, list(results)[-1])]
    return "\n\n".join(parts) + "\n"


def table(results: Results) -> str:
    """Markdown: one row for each method, the metric with its 95 % interval for each task, and the average."""
    tasks = list(next(iter(results.values())))
    rows = {}
    for method, scores in results.items():
        found = [scores[task] for task in tasks]
        rows[method] = [(one.score, f" ({one.interval[0]:.1f}–{one.interval[1]:.1f})") for one in found]
    return _table(tasks, rows)


def fold_table(results: Results, fold: int) -> str:
    """Markdown: the metric on one held-out fold alone (place ``fold`` of those in use), without intervals."""
    tasks = list(next(iter(results.values())))
    rows = {method: [(scores[task].folds[fold], "") for task in tasks] for method, scores in results.items()}
    return _table(tasks, rows)


def _table(tasks: list[str], rows: Mapping[str, Sequence[tuple[float, str]]]) -> str:
    """A row for each method, a column for each task, and the mean of the numbers."""
    lines = ["| | " + " | ".join(tasks) + " | average |", "|---" * (len(tasks) + 2) + "|"]
    for method, cells in rows.items():
        average = float(np.mean([value for value, _ in cells]))
        texts = [f"{value:.1f}{more}" for value, more in [*cells, (average, "")]]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def differences(tasks: Sequence[Task], results: Results, method: str) -> str:
    """Markdown: ``method`` minus each other method, paired clip by clip, with 95 % intervals."""
    lines = [f"| {method} minus | " + " | ".join(task.name for task in tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    for other, scores in results.items():
        if other != method:
            cells = [_difference(task, results[method][task.name], scores[task.name]) for task in tasks]
            lines.append(f"| {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(task: Task, one: ProbeResult, other: ProbeResult) -> str:
    values = []
    for drawn in task.resamples(one.tested):
        places = one.tested[drawn]
        values.append(task.score(places, one.predicted[drawn]) - task.score(places, other.predicted[drawn]))
    low, high = interval(values)
    return f"{one.score - other.score:+.1f} ({low:+.1f} to {high:+.1f})"
