"""Made-up tasks: labels in numbers, and tones on disk."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features.train.evaluate.tasks import Task, make_folds


def made_task(clips: int = 150, groups: int = 50) -> Task:
    labels = np.array(["abc"[index % 3] for index in range(clips)])
    group = np.array([f"g{index % groups}" for index in range(clips)])
    return Task("made", [Path()] * clips, labels, group, make_folds(labels, group))


def features_of(task: Task, strength: float, seed: int = 0, width: int = 40) -> np.ndarray:
    """Noise, plus the label in three of the dimensions."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(len(task.labels), width))
    for column, label in enumerate("abc"):
        table[:, column] += strength * (task.labels == label)
    return table.astype(np.float32)


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """Low and high tones, ten groups."""
    folder = tmp_path / "tones"
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "group"])
        for index in range(40):
            frequency = (300, 2000)[index % 2] * rng.uniform(0.9, 1.1)
            sound = 0.1 * np.sin(2 * np.pi * frequency * np.arange(6000) / 16000)
            soundfile.write(folder / "audio" / f"{index}.wav", sound + 0.01 * rng.normal(size=6000), 16000)
            rows.writerow([f"audio/{index}.wav", ("low", "high")[index % 2], index // 4])
    return folder
