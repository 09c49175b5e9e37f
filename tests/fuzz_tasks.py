"""Garbled tables and folders of labelled sounds, some of which cannot be read; and what probes make of them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import soundfile

from aasp_features.train.evaluate.classifier import Classifier
from aasp_features.train.evaluate.knn import nearest_neighbours
from aasp_features.train.evaluate.linear_head import fit_linear_head
from aasp_features.train.evaluate.logistic import logistic_regression
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.readable import reading, without_unreadable
from aasp_features.train.evaluate.report import probe_report
from aasp_features.train.evaluate.tasks.registry import read_tasks

SOUNDS, BROKEN = 14, 2
LABELS = ["a", "b", "c", "a", "b", "a;", "b;b", " a ", "a;b", "c;a", ";", "", "é", "-1", "0"]
COLUMNS = {
    "group": ["g", "h", "i", "j", ""],
    "fold": ["1", "2", "3", "03", "x", ""],
    "split": ["train", "train", "test", "val", "dev", "new"],
}


def write(rng: np.random.Generator, folder: Path) -> Path:
    """A table, or a folder of classes, in a folder of sounds of which the last are broken."""
    for index in range(SOUNDS):
        path = folder / f"{index}.wav"
        if not path.exists():
            soundfile.write(path, np.full(500, 0.1), 16000)
            path.write_bytes(path.read_bytes()[: 20 if index >= SOUNDS - BROKEN else None])
    return _table(rng, folder) if rng.random() < 0.6 else _classes(rng, folder / "classes")


def _table(rng: np.random.Generator, folder: Path) -> Path:
    """Rows mostly of good cells; sounds may come twice, and be missing."""
    few = rng.choice(LABELS[: rng.choice([2, 3, 5, 9, 15])], size=rng.integers(1, 5))
    more = [name for name in COLUMNS if rng.random() < 0.3]
    cells = {name: rng.choice(COLUMNS[name][: rng.choice([2, 3, 6])], size=SOUNDS) for name in more}
    lines = [",".join(["file", "label", *more])]
    for number in rng.choice(SOUNDS + (rng.random() < 0.1), size=rng.integers(0, SOUNDS), replace=rng.random() < 0.2):
        lines.append(",".join([f"{number}.wav", rng.choice(few), *(cells[name][number % SOUNDS] for name in more)]))
    text = "\n".join(lines).encode()
    path = folder / "labels.csv"
    path.write_bytes(text[: rng.integers(len(text) + 1)] if rng.random() < 0.1 else text)
    return path


def _classes(rng: np.random.Generator, place: Path) -> Path:
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


def measure(rng: np.random.Generator, place: Path) -> None:
    """Read the task, leave out what cannot be read, probe random vectors, and report; scikit-learn is never heard."""
    task = read_tasks([str(place)])[0]
    task = without_unreadable(task, reading().embed_files(task.files)[:, 0] > 0)
    vectors = rng.normal(size=(len(task.files), 3)).astype(np.float32)
    classifiers: list[Classifier] = [nearest_neighbours, logistic_regression]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = probe(vectors, task, classifiers[int(rng.random() < 0.3)])
        low, high = result.interval
        assert 0 <= low <= high <= 100
        assert 0 <= result.value <= 100
        assert probe_report([task], {"random": {task.name: result}}, "Logistic regression", False)
        fit_linear_head(vectors, task)
