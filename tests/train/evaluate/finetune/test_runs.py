"""From a task to a classifier and a report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import made_task
from finetune_helpers import CPU, finetune_recipe, tiny_encoder, tones
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from aasp_features.classifier import AaSPClassifier
from aasp_features.train.evaluate.finetune.runs import chosen_splits, finetune
from aasp_features.train.evaluate.finetune.summary import BEST, LAST, summary
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION


def test_the_saved_classifier_scores_as_was_reported(task_folder: Path, tmp_path: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    splits = chosen_splits(task, ["5"])
    for keep in ("best", "last"):
        recipe = finetune_recipe(clips={"seconds": 0.32}, run={"keep": keep, "average": 0.5, "held_out": 0.25})
        found = finetune(encoder, task, splits[0], recipe, tmp_path / keep, CPU)
        assert found.saved == {"best": BEST, "last": LAST}[keep]
        classifier = AaSPClassifier.from_pretrained(tmp_path / keep)
        files = [task.files[place] for place in splits[0].test]
        np.testing.assert_allclose(classifier.scores(files), found.scores[found.saved], atol=1e-5)
        assert classifier.labels == task.classes
        assert classifier.predict(files[0])[0].label in ("high", "low")
    text, numbers = summary("made", [(task, splits, [found])])
    truth = task.labels[splits[0].test]
    for which in (BEST, LAST):
        expected = 100 * balanced_accuracy_score(truth, found.scores[which].argmax(axis=1))
        assert numbers["runs"][0]["test"][which] == pytest.approx(expected)
        assert f"| made fine-tuned, {which} | {expected:.1f} (" in text
    again = finetune(encoder, task, splits[0], recipe, tmp_path / "last", CPU)  # complete already
    assert all(np.array_equal(again.scores[which], found.scores[which]) for which in (BEST, LAST))


def test_clips_with_several_labels(task_folder: Path, tmp_path: Path) -> None:
    task = tones(task_folder)
    labels = np.eye(2, dtype=bool)[task.labels]
    labels[::5] = True
    task = replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION)
    recipe = finetune_recipe(clips={"seconds": 0.32}, run={"epochs": 1, "held_out": 0.0})
    splits = chosen_splits(task, [])[:2]
    runs = [finetune(tiny_encoder(), task, split, recipe, tmp_path / split.name, CPU) for split in splits]
    assert all(found.validation is None and found.scores.keys() == {LAST} for found in runs)
    assert AaSPClassifier.from_pretrained(tmp_path / "fold 1").multi_label
    text, numbers = summary("made", [(task, splits, runs)])
    for split, found, row in zip(splits, runs, numbers["runs"], strict=True):
        expected = 100 * average_precision_score(labels[split.test], found.scores[LAST])
        assert row["test"][LAST] == pytest.approx(expected)
    assert "tones (mAP; fold 1 to fold 2, 2 splits)" in text
    assert BEST not in text


def test_folds_are_chosen_by_name() -> None:
    task = made_task()
    assert [split.name for split in chosen_splits(task, [])] == [f"fold {fold}" for fold in range(1, 6)]
    assert [split.name for split in chosen_splits(task, ["5", "2"])] == ["fold 2", "fold 5"]
    with pytest.raises(ValueError, match=r"--fold of made must be one of 1, 2, 3, 4, 5, got '6'"):
        chosen_splits(task, ["6"])
    parts = ["train"] * 100 + ["test"] * 50
    with pytest.raises(ValueError, match="--fold needs a task with folds; made"):
        chosen_splits(made_task(parts=parts), ["1"])
