"""Made-up tasks: labels in numbers, and tones on disk."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features.train.evaluate import classifier
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY
from aasp_features.train.evaluate.task import Task, make_folds


def made_task(clips: int = 150, groups: int = 50, parts: list[str] | None = None) -> Task:
    """Three classes in turn, in five folds unless its parts are given."""
    labels = [index % 3 for index in range(clips)]
    group = [f"g{index % groups}" for index in range(clips)]
    folds = parts or make_folds(list(map(str, labels)), group)
    files = [Path(f"{index}.wav") for index in range(clips)]
    return Task("made", files, ("a", "b", "c"), np.array(labels), np.array(group), np.array(folds), BALANCED_ACCURACY)


def features_of(task: Task, strength: float, seed: int = 0, width: int = 40) -> np.ndarray:
    """Noise, plus the labels in the first dimensions."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(len(task.labels), width))
    for place in range(len(task.classes)):
        has = task.labels[:, place] if task.labels.ndim == 2 else task.labels == place
        table[:, place] += strength * has
    return table.astype(np.float32)


def write_tone(path: Path, frequency: float, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    sound = 0.1 * np.sin(2 * np.pi * frequency * np.arange(6000) / 16000)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound + 0.01 * rng.normal(size=6000), 16000)


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logistic regression that is fitted once, where the choice of C is not what is asked for."""
    monkeypatch.setattr(classifier, "C_GRID", (0.1,))


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """Low and high tones, ten groups."""
    folder = tmp_path / "tones"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "group"])
        for index in range(40):
            frequency = (300, 2000)[index % 2] * rng.uniform(0.9, 1.1)
            write_tone(folder / "audio" / f"{index}.wav", frequency, index)
            rows.writerow([f"audio/{index}.wav", ("low", "high")[index % 2], index // 4])
    return folder
