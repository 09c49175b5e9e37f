"""Probe results of several methods on several tasks -> a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aasp_features.train.evaluate.linear import ProbeResult, balanced_accuracy, bootstrap_interval
from aasp_features.train.evaluate.tasks import Task

Results = Mapping[str, Mapping[str, ProbeResult]]  # method -> task -> result


def table(results: Results) -> str:
    """Markdown: one row for each method, balanced accuracy with its 95 % interval for each task, and the average."""
    tasks = list(next(iter(results.values())))
    lines = ["| | " + " | ".join(tasks) + " | average |", "|---" * (len(tasks) + 2) + "|"]
    for method, scores in results.items():
        cells = [f"{scores[task].score:.1f} ({_span(scores[task].interval)})" for task in tasks]
        average = np.mean([scores[task].score for task in tasks])
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {average:.1f} |")
    return "\n".join(lines)


def fold_table(results: Results, fold: int) -> str:
    """Markdown: balanced accuracy on one held-out fold alone (place ``fold`` of those in use), without intervals."""
    tasks = list(next(iter(results.values())))
    lines = ["| | " + " | ".join(tasks) + " | average |", "|---" * (len(tasks) + 2) + "|"]
    for method, scores in results.items():
        values = [scores[task].folds[fold] for task in tasks]
        lines.append(f"| {method} | " + " | ".join(f"{x:.1f}" for x in [*values, float(np.mean(values))]) + " |")
    return "\n".join(lines)


def differences(tasks: list[Task], results: Results, method: str) -> str:
    """Markdown: ``method`` minus each other method, paired clip by clip, with 95 % intervals."""
    lines = [f"| {method} minus | " + " | ".join(task.name for task in tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    for other, scores in results.items():
        if other != method:
            cells = [_difference(task, results[method][task.name], scores[task.name]) for task in tasks]
            lines.append(f"| {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(task: Task, one: ProbeResult, other: ProbeResult) -> str:
    labels = task.labels[one.tested]

    def statistic(chosen: np.ndarray) -> float:
        return balanced_accuracy(labels[chosen], one.predicted[chosen]) - balanced_accuracy(
            labels[chosen], other.predicted[chosen]
        )

    low, high = bootstrap_interval(task, one.tested, statistic)
    return f"{one.score - other.score:+.1f} ({low:+.1f} to {high:+.1f})"


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1f}–{interval[1]:.1f}"
