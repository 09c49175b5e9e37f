"""A running average, against the sum that it is."""

import pytest
import torch
from torch import nn

from aasp_features.train.evaluate.finetune.weight_average import follow, momentum_at


def test_it_is_the_weighted_sum() -> None:
    model, average = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False).requires_grad_(False)
    average.weight.zero_()
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(model.weight, value)
        follow(average, model, 0.5)
    torch.testing.assert_close(average.weight, torch.full((1, 2), 0.125 * 1 + 0.25 * 2 + 0.5 * 4))
    follow(average, model, 0.0)
    assert torch.equal(average.weight, model.weight)


def test_the_momentum_is_less_at_first() -> None:
    assert momentum_at(0, 0.999) == pytest.approx(0.1)
    assert momentum_at(10**6, 0.999) == 0.999
    assert momentum_at(50, 0.0) == 0.0
