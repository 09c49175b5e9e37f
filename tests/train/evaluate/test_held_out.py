"""Thresholds and least probabilities, against loops over all clips."""

from dataclasses import replace

import numpy as np
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.held_out import GRID, class_thresholds, described, least_probability
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
    thresholds = dict(zip(task.classes, class_thresholds(task, result, task.classes), strict=True))
    assert thresholds[task.classes[2]] == 0.5
    assert "1 classes with under 5 held-out clips have 0.5." in described(task, result, thresholds, None)[0]


def test_most_held_out_clips_reach_the_least_probability() -> None:
    task = made_task()
    result = probe(features_of(task, 6.0), task, logistic_regression)
    least = least_probability(task, result)
    largest = sorted(max(row) for row in np.mean(result.scores, axis=0))
    assert least == largest[int(0.05 * (len(largest) - 1))]
    assert f"probability of at least {least:.2f}" in described(task, result, {}, least)[0]


def test_clips_of_a_class_that_could_not_be_learnt_do_not_count() -> None:
    task = made_task()
    task = replace(task, labels=np.where(task.parts == "1", 2, task.labels % 2))
    result = probe(features_of(task, 6.0), task, logistic_regression)
    learnt = np.mean(result.scores, axis=0)[task.parts[result.tested] != "1"]
    assert least_probability(task, result) == np.quantile(learnt.max(axis=1), 0.05, method="lower")
