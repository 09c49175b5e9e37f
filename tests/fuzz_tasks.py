"""Garbled tables and folders of labelled sounds, for ``fuzz.py``."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import soundfile

from aasp_features.train.evaluate.classifier import fit_linear_head, logistic_regression, nearest_neighbours
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.readable import reading, without_unreadable
from aasp_features.train.evaluate.report import probe_report
from aasp_features.train.evaluate.tasks.reading import read_tasks

Rng = np.random.Generator
SOUNDS, BROKEN = 14, 2
LABELS = ["a", "b", "c", "a", "b", "a;", "b;b", " a ", "a;b", "c;a", ";", "", "é", "-1", "0"]
GROUPS, FOLDS = ["g", "h", "i", "j", ""], ["1", "2", "3", "03", "x", ""]
COLUMNS = {"group": GROUPS, "fold": FOLDS, "split": ["train", "train", "test", "val", "dev", "new"]}
ODD_CELLS = ["²", "٣", "-1", "9" * 5000, '"', "\x00", "\ufeff", " "]


def garbled_task(rng: Rng, folder: Path) -> None:
    """Tables and folders of labelled sounds, down to a clip or none of a class, and what probes make of them."""
    for index in range(SOUNDS):
        path = folder / f"{index}.wav"
        if not path.exists():
            soundfile.write(path, np.full(500, 0.1), 16000)
            path.write_bytes(path.read_bytes()[: 20 if index >= SOUNDS - BROKEN else None])
    place = a_table(rng, folder) if rng.random() < 0.6 else class_folders(rng, folder / "classes")
    task = read_tasks([str(place)])[0]
    assert len(task.files) == len(task.labels) == len(task.parts)
    task = without_unreadable(task, reading().embed_files(task.files)[:, 0] > 0)
    vectors = rng.normal(size=(len(task.files), 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn is never heard
        result = probe(vectors, task, logistic_regression if rng.random() < 0.3 else nearest_neighbours)
        low, high = result.interval
        assert 0 <= low <= high <= 100
        assert 0 <= result.value <= 100
        assert probe_report([task], {"random": {task.name: result}}, "Logistic regression", False)
        fit_linear_head(vectors, task)


def a_table(rng: Rng, folder: Path) -> Path:
    """Rows mostly of good cells; sounds may come twice, and be missing."""
    few = rng.choice(LABELS[: rng.choice([2, 3, 5, 9, 15])], size=rng.integers(1, 5))
    more = [name for name in COLUMNS if rng.random() < 0.3]
    cells = {name: rng.choice(COLUMNS[name][: rng.choice([2, 3, 6])], size=SOUNDS) for name in more}
    rows = [["file", "label", *more]]
    for index in rng.choice(SOUNDS + (rng.random() < 0.1), size=rng.integers(0, SOUNDS), replace=rng.random() < 0.2):
        rows.append([f"{index}.wav", rng.choice(few), *(cells[name][index % SOUNDS] for name in more)])
    if rng.random() < 0.2:
        row = rows[rng.integers(len(rows))]
        row[rng.integers(len(row))] = str(rng.choice(ODD_CELLS))
    text, path = "\n".join(map(",".join, rows)).encode(), folder / "labels.csv"
    path.write_bytes(
        text[: rng.integers(len(text)) if rng.random() < 0.1 else None] + rng.bytes(int(rng.random() < 0.1))
    )
    return path


def class_folders(rng: Rng, place: Path) -> Path:
    """Folders of a few sounds, or none; sounds and a shard that lie in none of them."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in LABELS[: rng.integers(0, 4)]:
        (place / name).mkdir(exist_ok=True)
        for index in rng.choice(SOUNDS, size=rng.integers(0, 6), replace=False):
            shutil.copy(place.parent / f"{index}.wav", place / name)
    if rng.random() < 0.3:
        shutil.copy(place.parent / "0.wav", place)
        (place / "all.tar").write_bytes(rng.bytes(600))
    return place
