"""Unreadable clips of a task, which are left out before folds are drawn."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError, stream_audio
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.methods import Method, Waveform, identity
from aasp_features.train.evaluate.metrics import one_hot
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.vector_cache import with_progress
from aasp_features.train.whole_file import whole_file

SHOWN = 3  # files in a message


def reading() -> Method:
    """Return a method whose vector of a file is 1 if it can be read to its end, else 0, so results are cached."""

    def embed(waveforms: Sequence[Waveform], rate: int) -> NDArray[np.float32]:
        return np.ones((len(waveforms), 1), np.float32)

    def embed_files(files: Sequence[Path]) -> NDArray[np.float32]:
        return np.array([[not reason] for reason in reasons(files)], np.float32)

    return Method("reading", identity("reading"), embed_files, embed)


def reasons(files: Sequence[Path]) -> list[str]:
    """Return why each file cannot be read; empty if it can."""

    def reason(file: Path) -> str:
        try:
            for _ in stream_audio(file):
                pass
        except AudioError as error:
            return str(error).removeprefix(f"{file}: ")
        return ""

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore", UserWarning)  # shown when the file is embedded
        return list(pool.map(reason, files))


def readable(task: Task, cache: Path | None) -> Task:
    """Return a task without its unreadable clips, and print their number on stderr.

    Raises:
        TrainError: A class loses all its clips.
    """
    marks = with_progress(reading(), task.name, task.files, cache)
    found = without_unreadable(task, marks[:, 0] > 0)
    if found.unreadable:
        typer.echo(f"{task.name}: {describe_unreadable(found)}", err=True)
    return found


def without_unreadable(task: Task, good: NDArray[np.bool_]) -> Task:
    """Leave out the unreadable clips, and draw folds again if they were drawn.

    Args:
        task: Task, whose result names them in ``unreadable``.
        good: (clips,) whether each of its files can be read.

    Raises:
        TrainError: A class loses all its clips.
    """
    if good.all():
        return task
    files = np.array(task.files, object)
    bad: list[Path] = files[~good].tolist()
    unreadable = dict(zip(bad, reasons(bad), strict=True))
    having = one_hot(task.labels, len(task.classes))
    lost = np.flatnonzero(having.any(axis=0) & ~having[good].any(axis=0))
    if len(lost):
        first = task.files[int(np.argmax(having[:, lost[0]]))]
        raise TrainError(
            f"{task.name}: no clip of the class {task.classes[lost[0]]!r} can be read, the first is {first} "
            f"({unreadable[first].rstrip('.')}); repair some of them, or remove the class."
        )
    left = replace(
        task,
        files=files[good].tolist(),
        labels=task.labels[good],
        groups=task.groups[good],
        parts=task.parts[good],
        unreadable=unreadable,
    )
    return left.draw_folds() if task.drawn else left


def describe_unreadable(task: Task) -> str:
    """Return a sentence that counts the unreadable clips and names the first."""
    total = len(task.unreadable) + len(task.files)
    named = [f"{file}: {reason.rstrip('.')}" for file, reason in list(task.unreadable.items())[:SHOWN]]
    more = ["…"] if len(task.unreadable) > SHOWN else []
    return f"{len(task.unreadable):,} of {total:,} clips cannot be read and are skipped: {'; '.join(named + more)}."


def write_unreadable(folder: Path, name: str, unreadable: Mapping[str, str]) -> None:
    """Write unreadable-NAME.csv with file and reason in each row, or remove an earlier one."""
    path = folder / f"unreadable-{name}.csv"
    if not unreadable:
        path.unlink(missing_ok=True)
        return
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["file", "reason"])
        table.writerows(unreadable.items())
