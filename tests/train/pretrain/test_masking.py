"""Masks: exact counts, disjoint sets, blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from aasp_features.train.data.batch import Share
from aasp_features.train.pretrain.masking import Masks, _covered, draw_masks
from aasp_features.train.recipe import MaskingSettings

ROWS = 8


def draw(valid: torch.Tensor, views: int = 3, visible: float = 0.2, queried: float = 0.5, seed: int = 0) -> Masks:
    return draw_masks(16 * valid, ROWS, MaskingSettings(views, visible, queried), torch.Generator().manual_seed(seed))


def as_sets(part: object) -> list[set[int]]:
    return [set(row[valid].tolist()) for row, valid in zip(part.indices, part.valid, strict=True)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 4), st.floats(0.05, 0.9), st.floats(0.1, 1.0)
)
def test_counts_and_sets(columns: list[int], views: int, visible: float, queried: float) -> None:
    valid = torch.arange(max(columns)) < torch.tensor(columns)[:, None]
    masks = draw(valid, views, visible, queried)
    for row, (seen, asked) in enumerate(zip(as_sets(masks.visible), as_sets(masks.queried), strict=True)):
        tokens = columns[row // views] * ROWS
        assert len(seen) == pytest.approx(max(1, visible * tokens), abs=0.501)
        masked = tokens - len(seen)
        assert len(asked) == pytest.approx(min(max(1, queried * masked), masked), abs=0.501)
        assert not seen & asked
        assert max(seen | asked) < tokens
    for part in masks:
        assert part.padded == (not part.valid.all())


def test_views_differ_and_seeds_repeat() -> None:
    valid = torch.ones(2, 12, dtype=torch.bool)
    seen = as_sets(draw(valid).visible)
    assert len({frozenset(view) for view in seen}) == 6
    assert seen == as_sets(draw(valid).visible)
    assert seen != as_sets(draw(valid, seed=1).visible)


def test_covered_tokens_are_a_union_of_blocks() -> None:
    grid = torch.ones(20, 12, ROWS, dtype=torch.bool)
    covered = _covered(grid, torch.full((20,), 19), torch.rand(20, 12, ROWS)).view(20, 12, ROWS)
    # A 5 x 5 opening that may reach over the border leaves a union of clipped 5 x 5 blocks as it is.
    padded = functional.pad(covered.float(), (4, 4, 4, 4), value=1.0)[:, None]
    eroded = -functional.max_pool2d(-padded, 5, stride=1)
    opened = functional.max_pool2d(functional.pad(eroded, (4, 4, 4, 4)), 5, stride=1)[:, 0, 4:-4, 4:-4]
    assert torch.equal(opened > 0, covered)
    assert (covered.flatten(1).sum(dim=1) >= 19).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.data())
def test_masks_do_not_depend_on_the_division_of_the_batch(columns: list[int], data: st.DataObject) -> None:
    valid = torch.arange(max(columns)) < torch.tensor(columns)[:, None]
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(columns) - 1), min_size=1, unique=True)))
    whole, share = draw(valid), Share(rows, len(columns))
    part = draw_masks(16 * valid[rows], ROWS, MaskingSettings(3, 0.2, 0.5), torch.Generator().manual_seed(0), share)
    for one, other in zip(part, whole, strict=True):
        every = as_sets(other)
        assert as_sets(one) == [every[3 * row + view] for row in rows.tolist() for view in range(3)]


def test_every_masked_token_is_queried_equally_often() -> None:
    """The mean loss over the queries is therefore an unbiased estimate of that over all masked tokens."""
    masks = draw(torch.ones(1, 6, dtype=torch.bool), views=20_000, queried=0.3)
    masked = torch.ones(20_000, 6 * ROWS).scatter_(1, masks.visible.indices, 0.0)
    queried = torch.zeros(20_000, 6 * ROWS).scatter_(1, masks.queried.indices, 1.0)
    assert (queried <= masked).all()
    share = queried.sum(dim=0) / masked.sum(dim=0)
    assert share.sub(share.mean()).abs().max() < 5 * (0.3 * 0.7 / masked.sum(dim=0).min()) ** 0.5


def test_visible_tokens_lie_in_clusters() -> None:
    """A visible token's neighbour is visible far more often than for tokens drawn one by one."""
    masks = draw(torch.ones(1, 64, dtype=torch.bool), views=200)
    seen = torch.zeros(200, 64 * ROWS).scatter_(1, masks.visible.indices, 1.0).view(200, 64, ROWS)
    neighbour = (seen[:, 1:] * seen[:, :-1]).sum() / seen[:, 1:].sum()
    assert neighbour > 0.35  # independent draws give 0.2


def test_every_token_is_drawn_about_equally_often_along_time() -> None:
    masks = draw(torch.ones(1, 12, dtype=torch.bool), views=4000)
    share = torch.zeros(12 * ROWS).scatter_add_(0, masks.visible.indices.flatten(), torch.ones(4000 * 19)) / 4000
    assert share.mean() == pytest.approx(19 / 96, abs=1e-6)
    assert share.min() > 0.08
    assert share.max() < 0.32
