"""Probes with known answers, and nothing read of what is left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.features import log_mel_statistics
from aasp_features.train.evaluate.knn import nearest_neighbours
from aasp_features.train.evaluate.linear import linear_classifier
from aasp_features.train.evaluate.probe import probe, standardise
from aasp_features.train.evaluate.tasks import read_tasks


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


@pytest.mark.data
def test_log_mel_statistics_on_a_real_task(shared_audio: Path) -> None:
    """The published figure for log-mel statistics on keywords is 89.8 (512 points, same protocol)."""
    (task,) = [task for task in read_tasks(shared_audio / "tasks") if task.name == "keywords"]
    assert probe(log_mel_statistics(512)(task.files), task, linear_classifier).score == pytest.approx(89.8, abs=1.5)


def test_vectors_that_are_not_finite_are_refused() -> None:
    task = made_task()
    features = features_of(task, 1.0)
    for value in (np.nan, np.inf):
        features[7, 3] = value
        with pytest.raises(ValueError, match=r"task made: the vector of \. holds NaN or infinite numbers"):
            probe(features, task, nearest_neighbours)


def test_a_task_that_is_too_small_is_a_sentence() -> None:
    labels, folds = np.array(["a"] * 9 + ["b"]), np.arange(10) // 2 + 1
    one_label = replace(made_task(), files=[Path()] * 10, labels=labels, groups=np.arange(10).astype(str), folds=folds)
    with pytest.raises(ValueError, match="task made cannot be probed with a fold held out"):
        probe(features_of(one_label, 1.0), one_label, linear_classifier)
