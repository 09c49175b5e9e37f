"""Muon against PyTorch's own and against singular values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aasp_features.train.run.muon import Muon, orthogonalised


@given(st.integers(2, 24), st.integers(2, 24), st.integers(0, 2**31))
def test_singular_values_come_near_one(rows: int, columns: int, seed: int) -> None:
    """Those that are not tiny beside the largest; singular vectors stay."""
    matrices = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, before, v = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonalised(matrices) @ v.mT
    after = inside.diagonal(dim1=1, dim2=2)
    large = before > 0.05 * before.norm(dim=1, keepdim=True)
    assert ((after[large] > 0.5) & (after[large] < 1.3)).all()
    torch.testing.assert_close(inside, torch.diag_embed(after), atol=1e-8, rtol=0)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    """PyTorch iterates in bfloat16, so the updates agree to its precision."""
    torch.manual_seed(0)
    start = torch.randn(shape)
    mine, its = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = Muon([mine], 0.1, weight_decay=0.1)
    reference = torch.optim.Muon([its], lr=0.1, weight_decay=0.1, momentum=0.95, nesterov=True)
    for _ in range(5):
        mine.grad = torch.randn(shape)
        its.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    moved = (its - start).norm()
    assert (mine - its).norm() < 0.03 * moved


def test_matrices_of_one_shape_move_as_they_would_alone() -> None:
    torch.manual_seed(0)
    together = [nn.Parameter(torch.randn(6, 4)) for _ in range(3)]
    alone = [nn.Parameter(one.detach().clone()) for one in together]
    both = Muon(together, 0.1), [Muon([one], 0.1) for one in alone]
    for _ in range(3):
        for one, its in zip(together, alone, strict=True):
            one.grad = torch.randn_like(one)
            its.grad = one.grad.clone()
        both[0].step()
        for optimizer in both[1]:
            optimizer.step()
    for one, its in zip(together, alone, strict=True):
        torch.testing.assert_close(one, its)
