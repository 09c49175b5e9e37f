"""A run for each split, and one on all clips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import CPU, finetune_recipe, tiny_encoder, tones
from sklearn.metrics import balanced_accuracy_score

from aasp_features.classifier import AaSPClassifier
from aasp_features.train.evaluate.finetune.folds import ALL, finetune_folds


def test_each_clip_is_scored_by_a_run_that_did_not_hear_it(task_folder: Path, tmp_path: Path) -> None:
    task = tones(task_folder)
    recipe = finetune_recipe(clips={"seconds": 0.32}, run={"epochs": 1, "held_out": 0.25})
    result, classifier = finetune_folds(tiny_encoder(), task, recipe, tmp_path / "runs", CPU)
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert folders == [ALL, *(f"fold-{fold}" for fold in range(1, 6))]
    assert sorted(result.tested.tolist()) == list(range(len(task.files)))
    values = []
    for split in task.splits():
        one = AaSPClassifier.from_pretrained(tmp_path / "runs" / split.name.replace(" ", "-"))
        told = one.scores([task.files[place] for place in split.test])
        values.append(100 * balanced_accuracy_score(task.labels[split.test], told.argmax(axis=1)))
    assert result.value == pytest.approx(np.mean(values))
    assert "nothing held out" in (tmp_path / "runs" / ALL / "README.md").read_text()
    again, same = finetune_folds(tiny_encoder(), task, recipe, tmp_path / "runs", CPU)  # all are complete already
    assert again.value == result.value
    assert torch.equal(same.head.weight, classifier.head.weight)
