"""The report of fine-tuning runs: test scores of the best epoch on validation, and of the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aasp_features.train import markdown
from aasp_features.train.evaluate.metrics import Scores
from aasp_features.train.evaluate.probe import judged
from aasp_features.train.evaluate.report import interval_remarks, remarks, table
from aasp_features.train.evaluate.task import Split, Task

BEST, LAST = "best on validation", "last epoch"


class Finished(NamedTuple):
    """Result of a run.

    Attributes:
        scores: Test scores of the last epoch and, with a validation part, of the best epoch on it.
        saved: Key of the saved classifier's scores.
        validation: Best validation value, in %, and its epoch; None without a validation part.
    """

    scores: dict[str, Scores]
    saved: str
    validation: dict[str, float] | None


Found = tuple[Task, Sequence[Split], Sequence[Finished]]  # a task, its splits, their results


def summary(checkpoint: str, found: Sequence[Found]) -> tuple[str, Any]:
    """Return the report in Markdown, and its numbers.

    Args:
        checkpoint: Name of the checkpoint.
        found: Splits and results of each task.
    """
    whichs = [LAST] if any(BEST not in one.scores for _, _, runs in found for one in runs) else [BEST, LAST]
    results = {
        f"{checkpoint} fine-tuned, {which}": {
            task.name: judged(task, splits, [[one.scores[which]] for one in runs]) for task, splits, runs in found
        }
        for which in whichs
    }
    tasks = [task for task, _, _ in found]
    cells, rows = run_rows(found, whichs)
    told = ", ".join(f"{task.name} ({task.metric.name}; {_names(splits)})" for task, splits, _ in found)
    parts = [
        f"Fine-tuning; in %, 95 % intervals: {told}.",
        table(tasks, results),
        markdown.table(cells),
        *interval_remarks(results),
        *remarks(tasks),
    ]
    text = "\n\n".join(parts) + "\n"
    summed = {
        method: {
            name: {"value": one.value, "interval": one.interval, "splits": one.splits} for name, one in row.items()
        }
        for method, row in results.items()
    }
    return text, {"results": summed, "runs": rows}


def run_rows(found: Sequence[Found], whichs: Sequence[str]) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Return the cells of a table and numbers for each run, with its validation and test values."""
    cells, rows = [["", "tested on", "best validation, epoch", "saved", *whichs]], []
    for task, splits, runs in found:
        for split, one in zip(splits, runs, strict=True):
            values = {which: task.value(split.test, one.scores[which]) for which in whichs}
            best = "" if one.validation is None else f"{one.validation['value']:.1f}, {one.validation['epoch']}"
            cells.append([task.name, split.name, best, one.saved, *(f"{value:.1f}" for value in values.values())])
            rows.append({"task": task.name, "split": split.name, "saved": one.saved, "validation": one.validation})
            rows[-1] |= {"test": values}
    return cells, rows


def _names(splits: Sequence[Split]) -> str:
    names = [split.name for split in splits]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, {len(names)} splits"
