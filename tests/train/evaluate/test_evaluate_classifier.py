"""What classifiers are given."""

import numpy as np
from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.classifier import one_hot, standardise


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
