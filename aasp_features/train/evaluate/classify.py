"""Training of a classifier on labelled sounds, with its score on held-out clips."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features import checkpoint
from aasp_features.classifier import FRAME_POOLINGS, AaSPClassifier
from aasp_features.classifier_files import check_labels
from aasp_features.config import Pooling
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.options import check_last_layers
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import FIXED_C, fit_linear_head, inner_splits
from aasp_features.train.evaluate.held_out import described as described_held_out
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.readable import write_unreadable
from aasp_features.train.evaluate.report import LINEAR as LINEAR
from aasp_features.train.evaluate.report import as_json, confusion_matrix, confusion_table, precision_table, remarks
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_tasks
from aasp_features.train.options import check_folder
from aasp_features.train.whole_file import write_whole

FINE_TUNED = "Fine-tuning"  # the alternative to LINEAR
RUNS = "runs"  # folder of fine-tuning runs in the classifier's folder
LICENCES = ("ATTRIBUTION.md", "LICENSE*")  # of the encoder's weights, which the classifier includes
REPORT_FILE = "report.json"


def read_task(folder: str) -> Task:
    """Read the single task of a folder, a table or ``NAME:FOLDER``; see ``read_tasks``.

    Raises:
        TrainError: There is not exactly one task, or a classifier cannot have its class names.
    """
    tasks = read_tasks([folder])
    if len(tasks) > 1:
        raise TrainError(f"{folder} holds {len(tasks)} tasks ({tasks[0].name}, {tasks[1].name}, …); give one of them.")
    try:
        check_labels(tasks[0].classes, tasks[0].labels.ndim == 2)
    except OptionError as error:
        raise TrainError(f"{folder}: {error}") from error
    return tasks[0]


def check_free(out: Path, overwrite: bool, finetune: bool = False) -> None:
    """Check that the classifier can be written to a folder; unfinished fine-tuning runs there may continue.

    Raises:
        TrainError: The folder holds something that must not be replaced.
        OptionError: The folder cannot be created or written.
    """
    if out.exists() and not out.is_dir():
        raise TrainError(f"--out {out} is a file; give a folder.")
    check_folder("--out", out)
    mine = {RUNS} if finetune else set()
    if not overwrite and out.is_dir() and {path.name for path in out.iterdir()} - mine:
        raise TrainError(f"--out {out} is not empty; give another folder, or --overwrite.")


def results(out: Path) -> list[Path]:
    """Return the files and the run folder that are written into the classifier's folder."""
    licences = (file for pattern in LICENCES for file in out.glob(pattern))
    return [
        out / RUNS,
        *(out / name for name in (*checkpoint.SAVED, *checkpoint.CLASSIFIER_FILES, REPORT_FILE)),
        *licences,
    ]


def load_encoder(model: str | None, pooling: Pooling | None, last_layers: int | None) -> tuple[AaSPEncoder, Path]:
    """Load a checkpoint's encoder with given defaults, and return it with its folder.

    Raises:
        CheckpointError: There is no such checkpoint.
        OptionError: ``last_layers`` exceeds its depth.
    """
    found = checkpoint.load_checkpoint(model)
    check_last_layers(last_layers, found.config.depth)
    config = found.config.replace(
        pooling=pooling or found.config.pooling, last_layers=last_layers or found.config.last_layers
    )
    return AaSPEncoder.from_checkpoint(found._replace(config=config)), found.folder


def linear_classifier(encoder: AaSPEncoder, vectors: NDArray[np.float32], task: Task) -> AaSPClassifier:
    """Return a classifier whose head is fitted to all clips of a task.

    Args:
        encoder: Encoder of the vectors.
        vectors: (clips, d), one row for each of the task's files.
        task: Source of the labels.

    Raises:
        TrainError: The clips do not suffice to learn from.
    """
    head = fit_linear_head(vectors, task)
    classifier = AaSPClassifier(encoder, head.labels, head.layer(), multi_label=task.labels.ndim == 2)
    return classifier.requires_grad_(False).eval()


def classifier_report(
    task: Task, method: str, result: ProbeResult, classifier: AaSPClassifier, learning: str = LINEAR
) -> str:
    """Return a Markdown report of the data, the held-out score and the confusions.

    Args:
        task: Task of the classifier.
        method: Source of the vectors.
        result: Result of the task's splits.
        classifier: Classifier of all clips.
        learning: ``LINEAR`` or ``FINE_TUNED``.
    """
    labels, (low, high) = classifier.labels, result.interval
    splits = f"{len(result.splits)} folds, each held out in turn" if len(result.splits) > 1 else "its test part"
    how = " by Clopper and Pearson" if result.exact else ""
    multi_label = task.labels.ndim == 2
    parts = [
        f"{task.name}: {len(task.files)} clips, {len(labels)} classes; {learning.lower()} on {method}.",
        f"Held out ({splits}): {task.metric.name} {result.value:.1f} %, 95 % interval{how} {low:.1f}–{high:.1f}.",
        "Each class:"
        if multi_label
        else "Confusion of the held-out clips, with labels in rows and predictions in columns:",
        precision_table(task, result) if multi_label else confusion_table(confusion_matrix(task, result), task.classes),
        "The saved classifier is trained on all clips, including those held out here.",
    ]
    parts += described_held_out(
        task, result, dict(zip(labels, classifier.thresholds, strict=True)), classifier.min_probability
    )
    if unknown := [name for name in task.classes if name not in labels]:
        parts.append(f"No clip has the label {', '.join(unknown)}, so the classifier lacks it.")
    parts += remarks([task], logistic=learning == LINEAR)
    if learning == LINEAR and not inner_splits(task.labels, task.groups):
        parts.append(f"C of the saved classifier is {FIXED_C:g}, as there are too few clips to choose it.")
    return "\n\n".join(parts) + "\n"


def save(
    classifier: AaSPClassifier, out: Path, text: str, numbers: dict[str, Any], encoder_folder: Path | None = None
) -> None:
    """Save a classifier with its card, its report and the licences of the encoder's weights.

    Args:
        classifier: Classifier to save.
        out: Folder, created if needed.
        text: Report in Markdown, for the card.
        numbers: Report for other programs.
        encoder_folder: Folder of the encoder's licences.

    Raises:
        CheckpointError, TrainError: The folder cannot be written.
    """
    classifier.save_pretrained(out, card=card(classifier, out, text))
    write_whole(out / REPORT_FILE, json.dumps(numbers, indent=1) + "\n")
    for name, described in numbers["tasks"].items():
        write_unreadable(out, name, described["unreadable"])
    for pattern in LICENCES if encoder_folder is not None and encoder_folder.resolve() != out.resolve() else ():
        for file in sorted(encoder_folder.glob(pattern)):  # type: ignore[union-attr]
            shutil.copyfile(file, out / file.name)


def card(classifier: AaSPClassifier, out: Path, text: str) -> str:
    """Return README.md: usage and report."""
    config = classifier.encoder.config
    along = config.pooling in FRAME_POOLINGS
    frames = f"\nclassifier.events({'recording.wav'!r})  # when each class occurs\n" if along else "\n"
    use = f"""```python
from aasp_features import AaSPClassifier

classifier = AaSPClassifier.from_pretrained({str(out)!r})
classifier.predict({"recording.wav"!r})  # the most likely classes{frames}```"""
    return f"# {out.name}\n\nA classifier on the vectors of {config.name}, `{config.pooling}`.\n\n{use}\n\n{text}"


def classifier_json(
    task: Task, method: str, result: ProbeResult, classifier: AaSPClassifier, learning: str = LINEAR
) -> dict[str, Any]:
    """Return the report for other programs; rows and columns of ``confusion`` are ``classes``."""
    numbers = as_json([task], {method: {task.name: result}}, learning, False)
    numbers["labels"], numbers["classes"] = list(classifier.labels), list(task.classes)
    numbers["thresholds"] = dict(zip(classifier.labels, classifier.thresholds, strict=True))
    numbers["min_probability"] = classifier.min_probability
    if task.labels.ndim == 1:
        numbers["confusion"] = confusion_matrix(task, result).tolist()
    return numbers
