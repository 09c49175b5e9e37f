"""Classifiers of vectors: neighbours against a loop over clips, logistic regression and head against scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluate_helpers import features_of, made_task
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate import classifier
from aasp_features.train.evaluate.classifier import (
    C_GRID,
    FIXED_C,
    Examples,
    fit_linear_head,
    logistic_regression,
    nearest_neighbours,
    rotate,
    row_space,
    standardise,
)
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY, MEAN_AVERAGE_PRECISION, Metric, accuracy, one_hot
from aasp_features.train.evaluate.task import Task


def test_standardisation_knows_the_training_part_only() -> None:
    train, test = features_of(made_task(), 1.0), 100 + features_of(made_task(), 1.0, seed=1)
    scaled, other = standardise(train, test)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(other, (test - train.mean(axis=0)) / train.std(axis=0), rtol=1e-4)
    constant = np.ones((10, 3), np.float32)
    assert np.isfinite(standardise(constant, constant)[1]).all()


def test_one_hot() -> None:
    assert one_hot(np.array([1, 0]), 3).tolist() == [[False, True, False], [True, False, False]]
    multi_label = np.array([[True, True], [False, False]])
    assert one_hot(multi_label, 2) is multi_label


def vote(train: np.ndarray, hot: np.ndarray, row: np.ndarray, k: int) -> np.ndarray:
    """DINO's vote, a clip at a time: softmax of cosine / 0.07 over the k nearest, summed for each class."""
    cosine = [float(one @ row) / math.sqrt(float(one @ one) * float(row @ row)) for one in train]
    nearest = sorted(range(len(train)), key=lambda index: -cosine[index])[:k]
    shares = np.zeros(hot.shape[1])
    for index in nearest:
        weight = math.exp(cosine[index] / 0.07) / sum(math.exp(cosine[other] / 0.07) for other in nearest)
        shares += weight * hot[index]
    return shares


@pytest.mark.parametrize("k", [1, 5, 20, 1000])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_weighted_shares_of_the_nearest(multi_label: bool, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made_task()
    train, test = features_of(task, 2.0).astype(float), features_of(task, 2.0, seed=1).astype(float)[:40]
    hot = np.random.default_rng(0).random((150, 3)) < 0.4 if multi_label else one_hot(task.labels, 3)
    examples = Examples(train, hot if multi_label else task.labels, task.groups)
    metric = MEAN_AVERAGE_PRECISION if multi_label else BALANCED_ACCURACY
    (scores,) = nearest_neighbours(examples, None, test, 3, metric, k)
    np.testing.assert_allclose(scores, [vote(train, hot, row, k) for row in test], atol=1e-12)
    monkeypatch.setattr(classifier, "AT_ONCE", 7 * len(train))
    np.testing.assert_allclose(nearest_neighbours(examples, None, test, 3, metric, k), [scores], atol=1e-12)


def test_a_near_clip_outweighs_several_far_ones() -> None:
    angles = np.radians([5, 40, 42, 44, 46])
    train = Examples(np.stack([np.cos(angles), np.sin(angles)], 1), np.array([1, 0, 0, 0, 0]), np.array(list("abcde")))
    (scores,) = nearest_neighbours(train, None, np.array([[1.0, 0.0]]), 2, BALANCED_ACCURACY, 5)
    assert scores.argmax() == 1


def test_the_order_of_the_clips_decides_nothing() -> None:
    """Copies of one clip under several labels, of which only some are among the k nearest, and a vector of zeros."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(10, 6)), 6, axis=0)
    labels, groups = rng.integers(0, 3, 60), np.arange(60).astype(str)
    test = np.concatenate([vectors[::6] + 0.01, np.zeros((1, 6))])
    (scores,) = nearest_neighbours(Examples(vectors, labels, groups), None, test, 3, BALANCED_ACCURACY, 4)
    order = rng.permutation(60)
    mixed = Examples(vectors[order], labels[order], groups[order])
    np.testing.assert_allclose(nearest_neighbours(mixed, None, test, 3, BALANCED_ACCURACY, 4), [scores], atol=1e-12)
    np.testing.assert_allclose(scores[-1], np.bincount(labels) / 60)


def test_a_tie_is_no_vote_for_the_first_class() -> None:
    """Two copies of a clip have two labels: whoever is nearest to them is half right under either."""
    train = Examples(np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([0, 1]), np.array(["a", "b"]))
    (scores,) = nearest_neighbours(train, None, np.array([[4.0, 3.0], [4.0, 3.0]]), 2, BALANCED_ACCURACY)
    assert accuracy(np.array([0, 1]), scores) == accuracy(np.array([1, 1]), scores) == 50.0


def test_fewer_clips_than_neighbours() -> None:
    few = Examples(np.eye(3), np.array([0, 1, 1]), np.array(list("abc")))
    (scores,) = nearest_neighbours(few, None, np.ones((2, 3)), 4, BALANCED_ACCURACY)
    np.testing.assert_allclose(scores, [[1 / 3, 2 / 3, 0, 0]] * 2)


def test_rotation_changes_no_prediction() -> None:
    task = made_task(60, 20)
    train, test = standardise(features_of(task, 1.0, width=300), features_of(task, 1.0, seed=1, width=300))
    axes = row_space(train)
    turned, turned_test = rotate(train, axes), rotate(test, axes)
    assert turned.shape == (60, 60)
    for c in (0.01, 1.0):
        plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(train, task.labels)
        fast = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(turned, task.labels)
        np.testing.assert_allclose(fast.predict_proba(turned_test), plain.predict_proba(test), atol=1e-4)


@pytest.mark.parametrize("validated", [False, True])
def test_the_metric_chooses_the_penalty(validated: bool) -> None:
    """A metric that falls with every call likes the first penalty of the grid best; one that rises, the last."""
    task = made_task()
    train, test = standardise(features_of(task, 1.0), features_of(task, 1.0, seed=1))
    examples = Examples(train, task.labels, task.groups)
    validation = Examples(test[:30], task.labels[:30], task.groups[:30]) if validated else None
    for sign, c in ((-1.0, C_GRID[0]), (1.0, C_GRID[-1])):
        asked = []

        def order(labels: np.ndarray, scores: np.ndarray, sign: float = sign, asked: list[int] = asked) -> float:
            asked.append(len(labels))
            return sign * len(asked)

        (scores,) = logistic_regression(examples, validation, test, 3, Metric("order", order))
        assert len(asked) == len(C_GRID) * (1 if validated else 2)
        assert asked[0] == 30 or not validated
        expected = LogisticRegression(C=c, max_iter=2000).fit(train, task.labels).predict_proba(test)
        np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_absent_classes_and_several_labels() -> None:
    task = made_task()
    (vectors,) = standardise(features_of(task, 30.0))
    (scores,) = logistic_regression(
        Examples(vectors, task.labels + 1, task.groups), None, vectors, 5, BALANCED_ACCURACY
    )
    assert (scores[:, [0, 4]] == 0).all()
    assert (scores.argmax(axis=1) == task.labels + 1).all()
    multi_label = np.stack([task.labels == 0, task.labels != 1, task.labels == 2], axis=1)
    metric = Metric("right", lambda labels, scores: float(((scores > 0.5) == labels).mean()))
    (scores,) = logistic_regression(Examples(vectors, multi_label, task.groups), None, vectors, 3, metric)
    assert ((scores > 0.5) == multi_label).mean() > 0.99


C = 0.1


def with_two_classes(task: Task) -> Task:
    return replace(task, classes=("a", "b"), labels=np.minimum(task.labels, 1))


def with_several_labels(task: Task) -> Task:
    labels = np.stack([task.labels == 0, task.labels != 1, task.labels == 2], axis=1)
    return replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION)


def probabilities(vectors: np.ndarray, task: Task) -> tuple[np.ndarray, AaSPClassifier]:
    """Of a classifier with the head, whose encoder is not asked."""
    head = fit_linear_head(vectors, task)
    encoder = AaSPEncoder(AaSPConfig(dim=vectors.shape[1], depth=1, heads=1, pooling="mean"))
    classifier = AaSPClassifier(encoder, head.labels, head.layer(), multi_label=task.labels.ndim == 2)
    return classifier.classify_vectors(vectors), classifier


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("change", [lambda task: task, with_two_classes, with_several_labels])
def test_it_is_scikit_learns_pipeline(change: object) -> None:
    """Vectors of many means and scales, one dimension constant, which a standardisation must not divide by zero."""
    task = change(made_task())
    rng = np.random.default_rng(1)
    vectors = features_of(task, 1.0) * rng.uniform(0.01, 30, 40) + rng.normal(size=40) * 20
    vectors[:, 7] = 3.5
    vectors = vectors.astype(np.float32)
    model = LogisticRegression(C=C, max_iter=2000)
    model = OneVsRestClassifier(model) if task.labels.ndim == 2 else model
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), task.labels)
    found, classifier = probabilities(vectors, task)
    np.testing.assert_allclose(found, pipeline.predict_proba(vectors.astype(np.float64)), atol=2e-5)
    assert classifier.labels == task.classes
    assert torch.equal(classifier.head.weight[:, 7], torch.zeros(len(task.classes)))


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("change", [lambda task: task, with_two_classes])
def test_fewer_clips_than_dimensions(change: object) -> None:
    """The fit is then made in the space of the clips; scikit-learn's own stops elsewhere unless it is told to go on."""
    task = change(made_task(60, 20))
    vectors = features_of(task, 1.0, width=200)
    model = LogisticRegression(C=C, max_iter=5000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), task.labels)
    found, _ = probabilities(vectors, task)
    np.testing.assert_allclose(found, pipeline.predict_proba(vectors.astype(np.float64)), atol=2e-3)


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("several", [False, True])
def test_a_class_without_clips_is_left_out(several: bool) -> None:
    task = replace(made_task(), classes=("a", "never", "b", "c"))
    labels = np.array([0, 2, 3])[task.labels]
    task = replace(task, labels=labels)
    if several:
        task = replace(task, labels=labels[:, None] == np.arange(4), metric=MEAN_AVERAGE_PRECISION)
    found, classifier = probabilities(features_of(task, 30.0), task)
    assert classifier.labels == ("a", "b", "c")
    assert (found.argmax(axis=1) == made_task().labels).all()


@pytest.mark.usefixtures("one_penalty")
def test_what_cannot_be_learnt() -> None:
    task = made_task()
    vectors = features_of(task, 1.0)
    with pytest.raises(TrainError, match="its clips have 1 classes"):
        fit_linear_head(vectors, replace(task, labels=np.zeros(150, np.int64)))
    labels = np.stack([task.labels == 0, task.labels == 1, task.labels >= 0], axis=1)
    with pytest.raises(TrainError, match="every clip has the label 'c'"):
        fit_linear_head(vectors, replace(task, labels=labels))


@pytest.mark.usefixtures("one_penalty")
def test_two_clips_are_enough() -> None:
    """No inner folds can choose C, so it is the fixed one."""
    few = made_task(2, 2, parts=["1", "2"])
    vectors = features_of(few, 1.0)
    found, classifier = probabilities(vectors, few)
    model = LogisticRegression(C=FIXED_C, max_iter=5000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), few.labels)
    assert classifier.labels == ("a", "b")
    np.testing.assert_allclose(found, pipeline.predict_proba(vectors.astype(np.float64)), atol=2e-3)
