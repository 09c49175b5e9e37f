"""Reports of several methods on several tasks: tables in Markdown, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aasp_features.folder.output import check_unread
from aasp_features.train.evaluate.few_clips import few_clips, fixed_penalty
from aasp_features.train.evaluate.metrics import interval
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.readable import describe_unreadable, write_unreadable
from aasp_features.train.evaluate.task import WHOLE, Task

Results = Mapping[str, Mapping[str, ProbeResult]]  # method -> task -> result
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
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for task in tasks:
        write_unreadable(folder, task.name, described(task)["unreadable"])
        path = folder / f"missing-{task.name}.txt"
        path.unlink(missing_ok=True)
        if task.missing:
            lines = "".join(f"{path}\n" for path in task.missing)
            path.write_text(lines, encoding="utf-8", errors="surrogateescape")


def table(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of each method's metrics with 95 % intervals, and their average."""
    rows = {}
    for method, found in results.items():
        cells = [found[task.name] for task in tasks]
        rows[method] = [(one.value, f" ({one.interval[0]:.1f}–{one.interval[1]:.1f})") for one in cells]
    return _table(tasks, rows)


def last_fold_table(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of the last fold alone, without intervals."""
    rows = {
        method: [(found[task.name].splits[f"fold {task.folds[-1]}"], "") for task in tasks]
        for method, found in results.items()
    }
    return _table(tasks, rows)


def _table(tasks: Sequence[Task], rows: Mapping[str, Sequence[tuple[float, str]]]) -> str:
    names = [task.name for task in tasks]
    lines = ["| | " + " | ".join(names) + " | average |", "|---" * (len(names) + 2) + "|"]
    for method, cells in rows.items():
        average = float(np.mean([value for value, _ in cells]))
        texts = [f"{value:.1f}{more}" for value, more in [*cells, (average, "")]]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def differences(tasks: Sequence[Task], results: Results) -> str:
    """Return a Markdown table of the first method minus each other, paired by clip, with 95 % intervals."""
    first, *others = results
    lines = [f"| {first} minus | " + " | ".join(task.name for task in tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    for other in others:
        cells = [_difference(task, results[first][task.name], results[other][task.name]) for task in tasks]
        lines.append(f"| {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(task: Task, one: ProbeResult, other: ProbeResult) -> str:
    def value(result: ProbeResult, drawn: Any) -> float:
        return float(np.mean([task.value(result.tested[drawn], scores[drawn]) for scores in result.scores]))

    low, high = interval([value(one, drawn) - value(other, drawn) for drawn in task.resamples(one.tested)])
    return f"{one.value - other.value:+.1f} ({low:+.1f} to {high:+.1f})"


def as_json(tasks: Sequence[Task], results: Results, evaluation: str, selection: bool) -> dict[str, Any]:
    """Return the tables and the composition of the tasks for other programs."""
    rows = {
        method: {
            name: {
                "value": one.value,
                "interval": one.interval,
                "exact": one.exact,
                "splits": one.splits,
                "seeds": one.seeds,
            }
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
