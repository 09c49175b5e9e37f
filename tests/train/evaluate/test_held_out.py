"""Thresholds and distances, against loops over all clips."""

from dataclasses import replace

import numpy as np
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.held_out import GRID, class_means, class_thresholds, described
from aasp_features.train.evaluate.probe import probe


def test_thresholds_have_the_best_f1() -> None:
    from sklearn.metrics import f1_score

    task = made_task()
    result = probe(features_of(task, 1.0), task, logistic_regression)
    labels, scores = task.labels[result.tested], np.mean(result.scores, axis=0)
    for index, threshold in enumerate(class_thresholds(task, result, task.classes)):
        found = {value: f1_score(labels == index, scores[:, index] >= value) for value in GRID}
        best = [value for value in GRID if found[value] == max(found.values())]
        assert abs(threshold - 0.5) <= min(abs(value - 0.5) for value in best) + 1e-9
        assert round(threshold, 2) in np.round(best, 2)


def test_few_clips_keep_one_half() -> None:
    task = made_task()
    task = replace(task, labels=np.where(np.arange(150) < 146, task.labels % 2, 2))
    result = probe(features_of(task, 0.5), task, logistic_regression)
    assert class_thresholds(task, result, task.classes)[2] == 0.5
    assert "1 classes with under 5 held-out clips have 0.5." in described(task, result, task.classes, None)[0]


def test_unknown_clips_are_farther_than_held_out_ones() -> None:
    task = made_task()
    vectors = features_of(task, 6.0)
    known = class_means(vectors, task)
    held = []
    for split in task.splits():
        train, labels = vectors[split.train].astype(np.float64), task.labels[split.train]
        centre = train.mean(axis=0)
        means = [train[labels == index].mean(axis=0) - centre for index in range(3)]
        for vector in vectors[split.test] - centre:
            cosines = [vector @ mean / np.linalg.norm(vector) / np.linalg.norm(mean) for mean in means]
            held.append(1 - max(cosines))
    assert np.isclose(known.max_distance, np.quantile(held, 0.95, method="higher"), atol=1e-5)
    assert 0.9 < np.mean(np.array(held) <= known.max_distance + 1e-6) < 1
