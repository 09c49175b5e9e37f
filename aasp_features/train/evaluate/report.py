"""Reports of several methods on several tasks: tables in Markdown, confusions, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.folder.output import check_unread
from aasp_features.train import markdown
from aasp_features.train.evaluate.few_clips import few_clips, fixed_penalty
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION, interval
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.readable import describe_unreadable, write_unreadable
from aasp_features.train.evaluate.task import WHOLE, Task
from aasp_features.train.whole_file import whole_file, write_whole

Results = Mapping[str, Mapping[str, ProbeResult]]  # method -> task -> result
MAX_COLUMNS = 20  # classes of a full confusion matrix
MAX_PAIRS = 20  # most frequent confusions
LINEAR = "Logistic regression"  # the name of an evaluation
EXACT = (
    "Intervals are Clopper and Pearson's where a bootstrap fails: all draws give one value, or a class has under five "
    "clips."
)


def probe_report(tasks: Sequence[Task], results: Results, evaluation: str, selection: bool) -> str:
    """Return the results in Markdown: tables with explanations, and what is missing.

    Args:
        tasks: Tasks in the order of the columns.
        results: Results of every method; the first is compared with the others.
        evaluation: Name of the evaluation.
        selection: Whether the final test data were held back.
    """
    metrics = ", ".join(f"{task.name} {task.metric.name}" for task in tasks)
    left_out = ", without the last fold or the test part" if selection else ""
    parts = [f"{evaluation}{left_out}; in %, 95 % intervals: {metrics}.", table(tasks, results)]
    folded = [task for task in tasks if task.folds and not task.leaves_one_out]
    if folded and not selection:
        parts += ["The last fold alone, which --selection holds back:", last_fold_table(folded, results)]
    if len(results) > 1:
        parts += ["Differences, paired clip by clip:", differences(tasks, results)]
    return "\n\n".join([*parts, *interval_remarks(results), *remarks(tasks, selection, evaluation == LINEAR)]) + "\n"


def interval_remarks(*all_results: Results) -> list[str]:
    """Return a paragraph on exact intervals if there are any."""
    exact = (one.exact for results in all_results for found in results.values() for one in found.values())
    return [EXACT] if any(exact) else []


def remarks(tasks: Sequence[Task], selection: bool = False, logistic: bool = False) -> list[str]:
    """Return a paragraph of remarks on each task: missing or few clips, and notes.

    Args:
        tasks: Measured tasks.
        selection: Whether the final test data were held back.
        logistic: Whether logistic regressions, which choose C, measured them.
    """
    parts = []
    for task in tasks:
        sentences = []
        if task.found != dict(task.expected):
            sentences.append(f"clip counts differ from the official distribution ({_counts(task)}).")
        if task.missing:
            listed = len(task.missing) + len(task.files)
            sentences.append(f"{len(task.missing):,} of {listed:,} clips are missing, the first is {task.missing[0]}.")
        sentences += [describe_unreadable(task)] if task.unreadable else []
        sentences += [task.note] if task.note else []
        sentences += few_clips(task, selection) + (fixed_penalty(task, selection) if logistic else [])
        parts += [f"{task.name}: {' '.join(sentences)}"] if sentences else []
    return parts


def _counts(task: Task) -> str:
    counts = []
    for part, found in task.found.items():
        if found != task.expected[part]:
            called = "" if part == WHOLE else f"fold {part}: " if part.isdigit() else f"{part}: "
            counts.append(f"{called}{found:,} of {task.expected[part]:,}")
    return ", ".join(counts)


def write_report(folder: Path, tasks: Sequence[Task], text: str, numbers: Mapping[str, Any]) -> None:
    """Write report.md and report.json, and missing-NAME.txt and unreadable-NAME.csv for tasks that lack clips.

    Raises:
        OutputError: A clip of the tasks has the name of a report.
    """
    reports = [folder / f"report.{ending}" for ending in ("md", "json", "html")]
    check_unread(reports, (file for task in tasks for file in task.files))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.json", json.dumps(numbers, indent=1) + "\n")
    for task in tasks:
        write_unreadable(folder, task.name, described(task)["unreadable"])
        path = folder / f"missing-{task.name}.txt"
        if not task.missing:
            path.unlink(missing_ok=True)
            continue
        with whole_file(path) as temporary:
            lines = "".join(f"{file}\n" for file in task.missing)
            temporary.write_text(lines, encoding="utf-8", errors="surrogateescape")


def table(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of each method's metrics with 95 % intervals, and their average."""
    rows = [["", *(task.name for task in tasks), "average"]]
    for method, found in results.items():
        own = [found[task.name] for task in tasks]
        rows.append([method, *(one.cell for one in own), f"{np.mean([one.value for one in own]):.1f}"])
    return markdown.table(rows)


def last_fold_table(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of the last fold alone, without intervals."""
    rows = [["", *(task.name for task in tasks), "average"]]
    for method, found in results.items():
        own = [found[task.name].splits[f"fold {task.folds[-1]}"] for task in tasks]
        rows.append([method, *(f"{value:.1f}" for value in [*own, np.mean(own)])])
    return markdown.table(rows)


def differences(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of the first method minus each other, paired by clip, with 95 % intervals."""
    first, *others = results
    rows = [[f"{first} minus", *(task.name for task in tasks)]]
    for other in others:
        rows.append(
            [other, *(_difference(task, *(results[one][task.name] for one in (first, other))) for task in tasks)]
        )
    return markdown.table(rows)


def _difference(task: Task, one: ProbeResult, other: ProbeResult) -> str:
    def value(result: ProbeResult, drawn: Any) -> float:
        return float(np.mean([task.value(result.tested[drawn], scores[drawn]) for scores in result.scores]))

    low, high = interval([value(one, drawn) - value(other, drawn) for drawn in task.resamples(one.tested)])
    return f"{one.value - other.value:+.1f} ({low:+.1f} to {high:+.1f})"


def as_json(tasks: Sequence[Task], results: Results, evaluation: str, selection: bool) -> dict[str, Any]:
    """Return the tables and the composition of the tasks for other programs."""
    rows = {
        method: {
            name: {key: getattr(one, key) for key in ("value", "interval", "exact", "splits", "seeds")}
            for name, one in found.items()
        }
        for method, found in results.items()
    }
    return {
        "evaluation": evaluation,
        "selection": selection,
        "tasks": {task.name: described(task) for task in tasks},
        "results": rows,
    }


def described(task: Task) -> dict[str, Any]:
    """Return the composition of a task."""
    return {
        "metric": task.metric.name,
        "clips": len(task.files),
        "classes": len(task.classes),
        "expected": dict(task.expected),
        "found": task.found,
        "missing": [str(path) for path in task.missing],
        "unreadable": {str(path): reason for path, reason in task.unreadable.items()},
        "note": task.note,
    }


def confusion_matrix(task: Task, result: ProbeResult) -> NDArray[np.int64]:
    """Count clips by label (row) and prediction (column), (classes, classes); not for multi-label tasks."""
    matrix = np.zeros((len(task.classes), len(task.classes)), np.int64)
    np.add.at(matrix, (task.labels[result.tested], result.predicted), 1)
    return matrix


def confusion_table(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return the matrix as aligned Markdown, with the share of each class that was recognised.

    With more than 20 classes, it lists the most frequent confusions.
    """
    if len(classes) > MAX_COLUMNS:
        return markdown.table([["label", "predicted", "clips"], *confused(matrix, classes)], aligned=True)
    rows = [["", *classes, "recognised"]]
    for name, counts, right in zip(classes, matrix, np.diagonal(matrix), strict=True):
        rows.append([name, *map(str, counts), f"{100 * right / counts.sum():.0f} %" if counts.any() else ""])
    return markdown.table(rows, aligned=True)


def confused(matrix: NDArray[np.int64], classes: Sequence[str], limit: int = MAX_PAIRS) -> list[list[str]]:
    """Return label, prediction and clips of at most ``limit`` confusions, the most frequent first."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(index), len(matrix)) for index in order if wrong.flat[index]]
    return [[classes[one], classes[other], f"{matrix[one, other]} of {matrix[one].sum()}"] for one, other in pairs]


def precision_table(task: Task, result: ProbeResult) -> str:
    """Return clips and average precision (%, mean over seeds) of each class as aligned Markdown."""
    rows = [["", "clips", "average precision"]]
    for index, name in enumerate(task.classes):
        labels = task.labels[result.tested][:, [index]]
        values = [MEAN_AVERAGE_PRECISION.value(labels, scores[:, [index]]) for scores in result.scores if labels.any()]
        value = f"{np.mean(values):.1f}" if values else ""
        rows.append([name, str(int(labels.sum())), value])
    return markdown.table(rows, aligned=True)
