"""Probes with known answers, and nothing read of what is left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from aasp_features.train.evaluate import linear
from aasp_features.train.evaluate.classifier import Classifier, Examples, logistic_regression, nearest_neighbours
from aasp_features.train.evaluate.linear import linear_layer
from aasp_features.train.evaluate.methods import log_mel_statistics
from aasp_features.train.evaluate.metrics import ACCURACY, BALANCED_ACCURACY
from aasp_features.train.evaluate.probe import judged, judged_together, probe
from aasp_features.train.evaluate.task import Split
from aasp_features.train.evaluate.tasks.reading import read_tasks

pytestmark = pytest.mark.usefixtures("few_epochs")
ALL = [linear_layer, logistic_regression, nearest_neighbours]
FIXED = ["train"] * 90 + ["validation"] * 30 + ["test"] * 30


@pytest.mark.parametrize("classifier", ALL)
def test_known_answers(classifier: Classifier) -> None:
    task = made_task()
    easy = probe(features_of(task, 30.0), task, classifier)
    assert easy.value > 80
    assert easy.interval[0] > 75
    assert (easy.predicted == task.labels[easy.tested]).mean() > 0.8
    chance = probe(features_of(task, 0.0), task, classifier)
    assert chance.value == pytest.approx(100 / 3, abs=14)
    assert chance.interval[0] < 100 / 3 < chance.interval[1]
    assert np.mean(list(chance.splits.values())) == pytest.approx(chance.value)
    assert np.mean(chance.seeds) == pytest.approx(chance.value)


@pytest.fixture
def five_epochs(few_epochs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what holds of any layer, however little it has learnt."""
    monkeypatch.setattr(linear, "EPOCHS", 5)


@pytest.mark.usefixtures("five_epochs")
@pytest.mark.parametrize("classifier", ALL)
def test_changed_clips_are_tested_and_never_learnt_from(classifier: Classifier) -> None:
    task = made_task(parts=FIXED)
    vectors = features_of(task, 30.0)
    plain = probe(vectors, task, classifier)
    changed = np.full_like(vectors, np.nan)
    changed[plain.tested] = vectors[plain.tested]
    same = probe(vectors, task, classifier, changed=changed)
    np.testing.assert_array_equal(same.scores, plain.scores)
    changed[plain.tested] = vectors[plain.tested[::-1]]
    other = probe(vectors, task, classifier, changed=changed)
    np.testing.assert_allclose(other.scores, [scores[::-1] for scores in plain.scores], atol=1e-9)


@pytest.mark.usefixtures("five_epochs")
@pytest.mark.parametrize("parts", [None, FIXED])
@pytest.mark.parametrize("classifier", ALL)
def test_what_is_left_out_is_never_read(classifier: Classifier, parts: list[str] | None) -> None:
    task = made_task(parts=parts)
    features = features_of(task, 3.0)
    left_out = task.parts == ("test" if parts else "5")
    poisoned = features.copy()
    poisoned[left_out] = np.nan
    one, other = (probe(table, task, classifier, selection=True) for table in (features, poisoned))
    assert one.splits == other.splits
    assert set(one.tested) == set(np.flatnonzero(task.parts == "validation" if parts else ~left_out))


def test_validation_is_kept_apart() -> None:
    task, given = made_task(parts=FIXED), []

    def classifier(train: Examples, validation: Examples | None, test: np.ndarray, *_: object) -> list[np.ndarray]:
        given.append([len(train.labels), len(validation.labels) if validation else 0, len(test)])
        return [np.zeros((len(test), 3))]

    probe(features_of(task, 3.0), task, classifier)
    probe(features_of(task, 3.0), task, classifier, selection=True)
    assert given == [[90, 30, 30], [90, 0, 30]]


def test_a_class_that_is_in_no_training_part_is_never_recognised() -> None:
    """One clip of b: when it is held out, a model of a alone is left; no fold of two has both classes but its own."""
    labels, folds = np.array([0] * 9 + [1]), [str(1 + place // 2) for place in range(10)]
    task = replace(made_task(10, 10, folds), labels=labels)
    result = probe(features_of(task, 30.0), task, logistic_regression)
    assert result.value == 50.0  # of both classes, not the mean of folds that have one
    assert result.predicted.tolist() == [0] * 10
    low, high = result.interval
    assert result.exact
    assert low < 10
    assert high > 90


@pytest.mark.parametrize(("right", "groups"), [(24, 24), (24, 6), (0, 24)])
def test_where_all_draws_have_one_value_the_interval_is_exact(right: int, groups: int) -> None:
    """24 of 24 are not 100 to 100 %; clips of one group count once."""
    task = made_task(24, groups, ["train", "test"] * 12)
    task = replace(task, labels=np.arange(24) // 12, classes=("a", "b"), metric=ACCURACY)
    split = Split("test", np.arange(24), np.arange(0), np.arange(24))
    scores = np.eye(2)[task.labels if right else 1 - task.labels]
    result = judged(task, [split], [[scores]])
    expected = binomtest(min(right, groups), groups).proportion_ci()
    assert result.exact
    assert result.interval == pytest.approx((100 * expected.low, 100 * expected.high))
    balanced = judged(replace(task, metric=BALANCED_ACCURACY), [split], [[scores]])
    assert balanced.interval == pytest.approx(result.interval)  # twelve of each class
    wrong = scores.copy()
    wrong[:5] = wrong[:5, ::-1]
    assert not judged(task, [split], [[wrong]]).exact


def test_leaving_one_out_is_judged_once_over_all_clips() -> None:
    """Balanced accuracy of single clips would be plain accuracy."""
    task = replace(made_task(8, 8, [str(1 + place) for place in range(8)]), labels=np.array([0] * 6 + [1] * 2))
    splits = task.splits()
    guesses = np.array([0, 0, 0, 0, 0, 1, 0, 1])
    result = judged(task, splits, [[np.eye(3)[guesses[split.test]]] for split in splits])
    assert result.value == pytest.approx(100 * balanced_accuracy_score(task.labels, guesses))
    own = replace(task, parts=np.array(list("11112222")))  # folds of the task's own: fold 1 has a alone, too
    assert judged_together(own, own.splits())
    both = replace(task, labels=np.array([0, 1, 2, 0, 0, 1, 0, 1]), parts=np.array(list("11112222")))
    assert not judged_together(both, both.splits())  # lacks a class, but has two: the task's protocol stays
    assert not judged_together(replace(both, drawn=True), both.splits())  # nor do drawn folds change it


@pytest.mark.data
def test_log_mel_statistics_on_a_real_task(shared_audio: Path) -> None:
    """The published figure for log-mel statistics on keywords is 89.8 (512 points, same protocol)."""
    (task,) = read_tasks([str(shared_audio / "tasks" / "keywords")])
    value = probe(log_mel_statistics(512).embed_files(task.files), task, logistic_regression).value
    assert value == pytest.approx(89.8, abs=1.5)
