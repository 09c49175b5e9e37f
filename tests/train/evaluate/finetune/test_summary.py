"""The report on made-up scores, against scikit-learn."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import made_task
from sklearn.metrics import balanced_accuracy_score

from aasp_features.train.evaluate.finetune.summary import BEST, LAST, Finished, summary
from aasp_features.train.evaluate.metrics import one_hot


def test_both_epochs_are_told_of() -> None:
    task = replace(made_task(), missing=(Path("gone.wav"),))
    splits, rng = task.splits()[3:], np.random.default_rng(0)
    noisy = [one_hot(task.labels[split.test], 3) + rng.normal(size=(len(split.test), 3)) for split in splits]
    right = [one_hot(task.labels[split.test], 3).astype(float) for split in splits]
    runs = [
        Finished({BEST: good, LAST: bad}, BEST, {"value": 91.25, "epoch": 3})
        for good, bad in zip(right, noisy, strict=True)
    ]
    text, numbers = summary("made-up", [(task, splits, runs)])
    expected = [
        100 * balanced_accuracy_score(task.labels[split.test], scores.argmax(axis=1))
        for split, scores in zip(splits, noisy, strict=True)
    ]
    assert [row["test"][LAST] for row in numbers["runs"]] == pytest.approx(expected)
    assert numbers["results"][f"made-up fine-tuned, {LAST}"]["made"]["value"] == pytest.approx(np.mean(expected))
    assert f"| made | fold 5 | 91.2, 3 | best on validation | 100.0 | {expected[1]:.1f} |" in text
    (low,) = re.findall(r"\| made-up fine-tuned, best on validation \| 100.0 \(([\d.]+)–100.0\) \| 100.0 \|", text)
    groups = len({task.groups[clip] for split in splits for clip in split.test})
    assert float(low) == pytest.approx(100 * 0.025 ** (1 / groups), abs=0.06)  # exact: all of the groups were right
    assert "made: 1 of 151 clips are missing, the first is gone.wav." in text


def test_without_validation_only_the_last_is() -> None:
    task = made_task()
    split = task.splits()[0]
    found = Finished({LAST: one_hot(task.labels[split.test], 3).astype(float)}, LAST, None)
    text, _ = summary("made-up", [(task, [split], [found])])
    assert BEST not in text
    assert "| made | fold 1 | | last epoch | 100.0 |" in text
