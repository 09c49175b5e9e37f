"""The HTML report of several methods on several tasks: tables, confusion matrices, and the worst clips to listen to."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import one_hot
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.report import Results, confused, confusion_matrix
from aasp_features.train.evaluate.task import Task
from aasp_features.train.html_page import html_page, html_table

MATRIX_CLASSES = 60  # larger matrices do not fit the page
CONFUSIONS, CLIPS = 10, 12
SHADE = 0.45  # opacity of a cell that holds its whole row, readable in light and dark mode


def report_page(tasks: Sequence[Task], results: Results, evaluation: str, selection: bool, folder: Path) -> str:
    """Return the page, which needs no other files but the sounds that it plays.

    Args:
        tasks: Tasks in the order of the columns.
        results: Results of every method; matrices and clips are those of the first.
        evaluation: Name of the evaluation.
        selection: Whether the final test data were held back.
        folder: Folder of the page, from which sounds are linked.
    """
    first, found = next(iter(results.items()))
    left_out = ", without the last fold or the test part" if selection else ""
    parts = [
        f'<p class="note">In %, with 95 % intervals{left_out}. Below the table: {_inline(first)}.</p>',
        _scores(tasks, results),
    ]
    for task in tasks:
        result = found[task.name]
        value = f"{task.metric.name} {result.cell}, {len(result.tested):,} clips"
        parts += [f"<h2>{escape(task.name)}</h2>", f"<p>{value}, {len(task.classes)} classes.</p>"]
        if task.labels.ndim == 1:
            parts += _confusions(task, result)
        parts += _worst(task, result, folder)
    return html_page(evaluation, parts)


def _scores(tasks: Sequence[Task], results: Results) -> str:
    head = [f"{escape(task.name)}<br><small>{task.metric.name}</small>" for task in tasks]
    rows = []
    for method, found in results.items():
        values = [found[task.name] for task in tasks]
        cells = [f"{one.cell.replace(' ', ' <small>')}</small>" for one in values]
        rows.append([_inline(method), *cells, f"{np.mean([one.value for one in values]):.1f}"])
    return f'<div class="wide">{html_table(["", *head, "average"], rows, "scores")}</div>'


def _confusions(task: Task, result: ProbeResult) -> list[str]:
    matrix = confusion_matrix(task, result)
    parts = []
    if len(task.classes) <= MATRIX_CLASSES:
        parts += ["<h3>Confusion matrix</h3>", '<p class="note">Rows: label. Columns: prediction. Clips.</p>']
        parts.append(_matrix(task.classes, matrix))
    if pairs := confused(matrix, task.classes, CONFUSIONS):
        rows = [[escape(cell) for cell in row] for row in pairs]
        parts += ["<h3>Most often confused</h3>", html_table(["label", "predicted", "clips"], rows, "text")]
    return parts


def _matrix(classes: Sequence[str], matrix: NDArray[np.int64]) -> str:
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in classes)
    lines = [f'<div class="wide"><table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>']
    for row, (name, counts) in enumerate(zip(classes, matrix, strict=True)):
        shares = counts / max(counts.sum(), 1)
        cells = "".join(
            f'<td style="background: rgba(var({"--mark" if row == column else "--wrong"}), {SHADE * share:.2f})" '
            f'title="{escape(name)} → {escape(classes[column])}: {share:.0%}">{count or ""}</td>'
            for column, (count, share) in enumerate(zip(counts, shares, strict=True))
        )
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _worst(task: Task, result: ProbeResult, folder: Path) -> list[str]:
    """Return the clips with the largest margins between prediction and label, each with a player."""
    margins, guesses = margin(task, result)
    rows = []
    for index in np.argsort(margins, kind="stable")[:CLIPS]:
        if margins[index] >= 0:
            break
        clip = result.tested[index]
        file = os.fsencode(os.path.relpath(task.files[clip], folder))  # file names may not be UTF-8
        player = f'<audio controls preload="none" src="{escape(quote(file))}"></audio>'
        names = [", ".join(_labels(task, clip)), task.classes[guesses[index]], file.decode("utf-8", "replace")]
        rows.append([player, *map(escape, names)])
    if not rows:
        return ["<p>Every clip's label has the highest score.</p>"]
    return ["<h3>Worst clips</h3>", html_table(["", "label", "predicted", "file"], rows, "text")]


def margin(task: Task, result: ProbeResult) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the margin of each clip's least likely label over the likeliest other class, and that class."""
    scores = np.mean(result.scores, axis=0)
    labels = task.labels[result.tested]
    own = one_hot(labels, len(task.classes))
    others = np.where(own, -np.inf, scores)
    return np.where(own, scores, np.inf).min(axis=1) - others.max(axis=1), others.argmax(axis=1)


def _labels(task: Task, clip: int) -> list[str]:
    labels = task.labels[clip]
    return [task.classes[labels]] if task.labels.ndim == 1 else [task.classes[k] for k in np.flatnonzero(labels)]


def _inline(name: str) -> str:
    """Return a method's name as HTML, with backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(name))
