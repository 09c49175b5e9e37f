"""Which clips a step sees."""

import numpy as np
import pytest
import torch

from aasp_features.train.evaluate.finetune.sampling import ClipSampler, balanced_weights


def test_an_epoch_has_each_clip_once() -> None:
    sampler = ClipSampler(clips=10, epoch=10, batch=4, seed=1)
    drawn = torch.cat([sampler.indices(step) for step in range(5)])  # 20: two epochs, and a batch across the seam
    first, second = drawn[:10], drawn[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    again = ClipSampler(clips=10, epoch=10, batch=4, seed=1)
    assert again.indices(3).tolist() == drawn[12:16].tolist()  # of the step alone, not of those before
    assert ClipSampler(clips=10, epoch=10, batch=4, seed=2).indices(3).tolist() != again.indices(3).tolist()


def test_batches_may_be_larger_than_epochs() -> None:
    assert np.bincount(ClipSampler(3, 3, 9, 0).indices(0)).tolist() == [3, 3, 3]


def test_balanced_draws_give_all_classes_alike() -> None:
    labels = torch.zeros(1000, 3, dtype=torch.bool)
    labels[:900, 0] = labels[900:990, 1] = labels[990:, 2] = True
    sampler = ClipSampler(1000, 6000, 6000, 0, balanced_weights(labels))
    counts = labels[sampler.indices(0)].sum(dim=0).numpy()
    deviation = (6000 * (1 / 3) * (2 / 3)) ** 0.5
    assert np.abs(counts - 2000).max() < 4 * deviation


def test_weights_are_audiomaes() -> None:
    labels = torch.tensor([[1, 0], [1, 1], [1, 0], [0, 0]], dtype=torch.bool)
    expected = np.array([1000 / 3.01, 1000 / 3.01 + 1000 / 1.01, 1000 / 3.01, 0])
    np.testing.assert_allclose(balanced_weights(labels).numpy(), expected)
    np.testing.assert_allclose(balanced_weights(labels, 1 / 1.5).numpy(), expected ** (1 / 1.5))


def test_without_replacement_no_clip_comes_twice() -> None:
    weights = torch.tensor([0.0, 1, 1, 1, 1, 100])
    drawn = ClipSampler(6, 4, 4, 0, weights, replacement=False).indices(0).tolist()
    assert len(set(drawn)) == 4
    assert 0 not in drawn
    with pytest.raises(ValueError, match=r"clips.epoch is 6, but only 5 clips can be drawn once"):
        ClipSampler(6, 6, 4, 0, weights, replacement=False)
    with pytest.raises(ValueError, match=r"clips.epoch is 7, but only 6 clips"):
        ClipSampler(6, 7, 4, 0)
