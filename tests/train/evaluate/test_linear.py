"""Probes: tasks from folders, folds that keep groups whole, and known answers."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from teacher_helpers import teacher, write_callable, write_graph
from typer.testing import CliRunner

from aasp_features import load_audio
from aasp_features.train.cli import app
from aasp_features.train.evaluate.features import log_mel_statistics, teacher_vectors
from aasp_features.train.evaluate.linear import (
    balanced_accuracy,
    linear_classifier,
    nearest_neighbours,
    probe,
    rotate,
    standardise,
)
from aasp_features.train.evaluate.report import differences, table
from aasp_features.train.evaluate.tasks import Task, make_folds, read_tasks


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


def test_folds_keep_groups_whole_and_labels_balanced() -> None:
    task = made_task()
    assert set(task.folds) == {1, 2, 3, 4, 5}
    for group in set(task.groups):
        assert len(set(task.folds[task.groups == group])) == 1
    for fold in range(1, 6):
        counts = np.unique(task.labels[task.folds == fold], return_counts=True)[1]
        assert counts.max() - counts.min() <= 6


@pytest.mark.parametrize("classifier", [linear_classifier, nearest_neighbours])
def test_known_answers(classifier: object) -> None:
    task = made_task()
    easy = probe(features_of(task, 30.0), task, classifier)
    assert easy.score > 80
    assert easy.interval[0] > 75
    chance = probe(features_of(task, 0.0), task, classifier)
    assert chance.score == pytest.approx(100 / 3, abs=14)
    assert chance.interval[0] < 100 / 3 < chance.interval[1]


def test_folds_not_in_use_are_neither_trained_nor_tested_on() -> None:
    task = made_task()
    features = features_of(task, 3.0)
    poisoned = features.copy()
    poisoned[task.folds == 5] = 1e6
    one, other = (probe(table, task, linear_classifier, (1, 2, 3, 4)) for table in (features, poisoned))
    assert one.folds == other.folds
    assert set(one.tested) == set(np.flatnonzero(task.folds != 5))


def test_standardisation_knows_the_training_part_only() -> None:
    train, test = features_of(made_task(), 1.0), 100 + features_of(made_task(), 1.0, seed=1)
    scaled, other = standardise(train, test)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(other, (test - train.mean(axis=0)) / train.std(axis=0), rtol=1e-4)
    constant = np.ones((10, 3), np.float32)
    assert np.isfinite(standardise(constant, constant)[1]).all()


def test_rotation_changes_no_prediction() -> None:
    task = made_task(60, 20)
    train, test = standardise(features_of(task, 1.0, width=300), features_of(task, 1.0, seed=1, width=300))
    turned, turned_test = rotate(train, test)
    assert turned.shape == (60, 60)
    for c in (0.01, 1.0):
        plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(train, task.labels)
        fast = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(turned, task.labels)
        np.testing.assert_allclose(fast.predict_proba(turned_test), plain.predict_proba(test), atol=1e-4)


def test_balanced_accuracy_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, guesses = rng.choice(list("abc"), 50), rng.choice(list("abc"), 50)
    assert balanced_accuracy(labels, guesses) == pytest.approx(100 * balanced_accuracy_score(labels, guesses))


def test_report() -> None:
    task = made_task()
    results = {
        name: {"made": probe(features_of(task, strength), task, linear_classifier)}
        for name, strength in (("weak", 0.5), ("strong", 30.0))
    }
    lines = table(results).splitlines()
    assert lines[0] == "| | made | average |"
    assert lines[3].startswith("| strong | ")
    paired = differences([task], results, "strong").splitlines()
    assert paired[2].startswith("| weak | +")
    low = float(paired[2].split("(")[1].split(" to ")[0])
    assert low > 0


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


def test_probe_command(task_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ["--model", checkpoint, "--pooling", "mean", "--layers", 2, "--out", tmp_path / "table.md"]
    done = CliRunner().invoke(app, list(map(str, ["probe", "--tasks", task_folder.parent, *options])))
    assert done.exit_code == 0, done.output
    text = (tmp_path / "table.md").read_text()
    assert "| log-mel mean and std (1024 points) | 100.0" in text
    assert "| untrained, seed 2, `mean`, last 2 blocks |" in text
    assert "| aasp-test-random-1, `mean`, last 2 blocks |" in text
    done = CliRunner().invoke(app, ["probe", "--tasks", str(task_folder), "--folds", "5"])
    assert done.exit_code == 2
    assert "at least two" in done.output


def test_teachers_are_probed_beside(task_folder: Path, tmp_path: Path) -> None:
    write_callable(tmp_path / "teachers")
    write_graph(tmp_path / "teachers")
    options = ["--tasks", str(task_folder), "--teachers", str(tmp_path / "teachers"), "--no-untrained", "--no-log-mel"]
    done = CliRunner().invoke(app, ["probe", *options])
    assert done.exit_code == 0, done.output
    scores = dict(re.findall(r"^\| (teacher.*?) \| ([\d.]+) ", done.output, re.MULTILINE))
    assert list(scores) == ["teacher levels", "teacher peaks", "teachers levels, peaks side by side"]
    assert float(scores["teacher levels"]) == float(scores["teachers levels, peaks side by side"]) == 100.0


def test_teachers_vectors_are_what_they_say_of_whole_clips(task_folder: Path, tmp_path: Path) -> None:
    both = [teacher(write_callable(tmp_path / "t")), teacher(write_graph(tmp_path / "t"))]
    files = read_tasks(task_folder)[0].files[:3]
    vectors = teacher_vectors(both)(files)
    for row, path in zip(vectors, files, strict=True):
        sound = load_audio(path)[None]
        np.testing.assert_allclose(row, np.concatenate([one.hear(sound)[0] for one in both]))


def test_tasks_that_are_wrong(task_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no task in"):
        read_tasks(tmp_path / "gone")
    (task_folder / "audio" / "3.wav").unlink()
    with pytest.raises(ValueError, match=r"1 files are missing, the first is .*3\.wav"):
        read_tasks(task_folder)
    (task_folder / "labels.csv").write_text("file,label\na.wav,x\n")
    with pytest.raises(ValueError, match=r"lacks columns \['group'\]"):
        read_tasks(task_folder)


@pytest.mark.data
def test_log_mel_statistics_on_a_real_task(shared_audio: Path) -> None:
    """The published figure for log-mel statistics on keywords is 89.8 (512 points, same protocol)."""
    (task,) = [task for task in read_tasks(shared_audio / "tasks") if task.name == "keywords"]
    assert probe(log_mel_statistics(512)(task.files), task, linear_classifier).score == pytest.approx(89.8, abs=1.5)
