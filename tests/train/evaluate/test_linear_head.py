"""The layer that is saved says what scikit-learn's own pipeline says of the same vectors."""

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
from aasp_features.train.evaluate import logistic
from aasp_features.train.evaluate.linear_head import fit_linear_head
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.task import Task

C = 0.1


@pytest.fixture(autouse=True)
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that both have the same."""
    monkeypatch.setattr(logistic, "C_GRID", (C,))


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


@pytest.mark.parametrize("change", [lambda task: task, with_two_classes])
def test_fewer_clips_than_dimensions(change: object) -> None:
    """The fit is then made in the space of the clips; scikit-learn's own stops elsewhere unless it is told to go on."""
    task = change(made_task(60, 20))
    vectors = features_of(task, 1.0, width=200)
    model = LogisticRegression(C=C, max_iter=5000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), task.labels)
    found, _ = probabilities(vectors, task)
    np.testing.assert_allclose(found, pipeline.predict_proba(vectors.astype(np.float64)), atol=2e-3)


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


def test_what_cannot_be_learnt() -> None:
    task = made_task()
    vectors = features_of(task, 1.0)
    with pytest.raises(TrainError, match="its clips have 1 classes"):
        fit_linear_head(vectors, replace(task, labels=np.zeros(150, np.int64)))
    labels = np.stack([task.labels == 0, task.labels == 1, task.labels >= 0], axis=1)
    with pytest.raises(TrainError, match="every clip has the label 'c'"):
        fit_linear_head(vectors, replace(task, labels=labels))


def test_two_clips_are_enough() -> None:
    """No inner folds can choose C, so it is the fixed one."""
    few = made_task(2, 2, parts=["1", "2"])
    vectors = features_of(few, 1.0)
    found, classifier = probabilities(vectors, few)
    model = LogisticRegression(C=logistic.FIXED_C, max_iter=5000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), few.labels)
    assert classifier.labels == ("a", "b")
    np.testing.assert_allclose(found, pipeline.predict_proba(vectors.astype(np.float64)), atol=2e-3)
