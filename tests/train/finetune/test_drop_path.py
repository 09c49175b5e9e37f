"""Drop path: expectation, rates, and that a dropped branch is one that is not there."""

import pytest
import torch
from finetune_helpers import tiny_encoder

from aasp_features.train.finetune.drop_path import draw_paths, dropping_paths


def test_rates_rise_and_expectations_are_one() -> None:
    paths = draw_paths(5, 20_000, 0.4, torch.Generator().manual_seed(0))
    for block, rate in enumerate([0.0, 0.1, 0.2, 0.3, 0.4]):
        for branch in paths[block]:
            assert abs(float((branch == 0).float().mean()) - rate) < 4 * (0.25 / 20_000) ** 0.5
            assert abs(float(branch.mean()) - 1) < 0.03
            assert set(branch.unique().tolist()) <= {0.0, float(torch.tensor(1) / (1 - torch.tensor(rate)))}
    assert draw_paths(1, 1000, 0.5, torch.Generator().manual_seed(0)).mean() == pytest.approx(1, abs=0.15)


def test_branches_are_multiplied_inside_only() -> None:
    network = tiny_encoder().network
    x = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(0))
    first = network.blocks[0]
    before = first(x)
    paths = torch.tensor([[[1.0, 0, 2], [1, 0, 3]], [[1, 1, 1], [1, 1, 1]]])  # (blocks, branches, clips)
    with torch.no_grad(), dropping_paths(network.blocks, paths):
        inside = first(x)
    torch.testing.assert_close(inside[0], before[0])
    assert torch.equal(inside[1], x[1])
    with torch.no_grad():
        scaled = x[2:] + 2 * first.attention(first.norm1(x[2:]))
        scaled = scaled + 3 * first.mlp(first.norm2(scaled))
    torch.testing.assert_close(inside[2:], scaled)
    assert torch.equal(first(x), before)  # the hooks are gone
    with dropping_paths(network.blocks, None):
        assert torch.equal(first(x), before)
