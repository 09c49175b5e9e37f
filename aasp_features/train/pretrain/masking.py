"""Masks: the tokens that the student sees, and the masked tokens that the predictor predicts.

Inverse block masking (paper, section on multi-mask pre-training; as in EAT and data2vec 2.0) draws 5 x 5 blocks for
each view until they cover the visible count, then removes random tokens to reach exactly that count. Masks are drawn on
the CPU and sent to the batch's device, which is never waited for.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from aasp_features.model.log_mel import length_mask
from aasp_features.train.data.batch import Share, draw, send
from aasp_features.train.recipe import MaskingSettings

BLOCK = 5  # side of a visible block, in tokens


class TokenSet(NamedTuple):
    """Some tokens of every view, padded to the largest count.

    Attributes:
        indices: (views, count) flat token indices, column * rows + row.
        valid: (views, count) false for padding, which repeats the view's first token.
        padded: Whether there is padding.
    """

    indices: Tensor
    valid: Tensor
    padded: bool = True

    def gather(self, tokens: Tensor) -> Tensor:
        """Pick tokens, (batch, tokens, dim) -> (views, count, dim); a clip's views are consecutive."""
        views, count = self.indices.shape
        dim = tokens.shape[-1]
        index = self.indices.reshape(len(tokens), -1, 1).expand(-1, -1, dim)  # (batch, views / batch * count, dim)
        return tokens.gather(1, index).view(views, count, dim)

    def to(self, device: torch.device) -> TokenSet:
        """Send it to another device."""
        return TokenSet(send(self.indices, device), send(self.valid, device), self.padded)


class Masks(NamedTuple):
    """One draw: ``visible`` tokens for the student, ``queried`` masked tokens for the predictor."""

    visible: TokenSet
    queried: TokenSet

    def to(self, device: torch.device) -> Masks:
        """Send them to another device."""
        return Masks(self.visible.to(device), self.queried.to(device))

    def roles(self, tokens: int) -> Tensor:
        """Return the role of every token, (views, tokens) uint8: 2 if visible, 1 if queried, else 0."""
        roles = torch.zeros(len(self.visible.indices), tokens, dtype=torch.uint8, device=self.visible.indices.device)
        return roles.scatter_(1, self.queried.indices, 1).scatter_(1, self.visible.indices, 2)


def draw_masks(
    column_frames: Tensor,
    rows: int,
    settings: MaskingSettings,
    generator: torch.Generator,
    share: Share | None = None,
) -> Masks:
    """Draw masks for the views of every clip.

    Args:
        column_frames: (batch, columns) frames of the clip in each column; empty columns are never drawn.
        rows: Tokens in a column.
        settings: Number of views and fractions of the tokens, at least one token each. View v of clip b is row b *
            views + v.
        generator: CPU generator, so a seed gives the same masks on every device.
        share: Share of the step's batch that these clips are, which does not change their masks.
    """
    real = (column_frames > 0).repeat_interleave(settings.views, dim=0)  # (batch * views, columns)
    grid = real[..., None].expand(-1, -1, rows)  # (batch * views, columns, rows)
    tokens = grid.flatten(1)
    available = tokens.sum(dim=1)
    visible_count = (settings.visible_fraction * available).round().long().clamp(min=1)
    covered = _covered(grid, visible_count, draw(grid.shape, generator, share))
    visible = _choose(covered, visible_count, draw(tokens.shape, generator, share))
    is_visible = torch.zeros_like(tokens).scatter_(1, visible.indices, True)  # padding repeats a chosen token
    masked = tokens & ~is_visible
    query_count = (settings.query_fraction * masked.sum(dim=1)).round().long().clamp(min=1)
    query_count = torch.minimum(query_count, masked.sum(dim=1))
    return Masks(visible, _choose(masked, query_count, draw(tokens.shape, generator, share)))


def _covered(grid: Tensor, count: Tensor, key: Tensor) -> Tensor:
    """Return the tokens under blocks drawn until ``count`` tokens are covered, (views, tokens).

    Blocks are drawn in the order of the random key at their centre. A token is covered with the first block that holds
    it, which has the smallest number in the token's 5 x 5 neighbourhood.
    """
    order = key.masked_fill(~grid, 2.0)
    first = -functional.max_pool2d(-order[:, None], BLOCK, stride=1, padding=BLOCK // 2)[:, 0]
    first = first.masked_fill(~grid, 2.0).flatten(1)
    last_block = first.sort(dim=1).values.gather(1, count[:, None] - 1)
    return (first <= last_block) & grid.flatten(1)


def _choose(candidates: Tensor, count: Tensor, key: Tensor) -> TokenSet:
    """Choose the ``count`` candidates of each view with the smallest random keys, in ascending order."""
    largest = int(count.max())
    index = key.masked_fill(~candidates, 2.0).argsort(dim=1)[:, :largest]
    valid = length_mask(count, largest)
    index = index.masked_fill(~valid, candidates.shape[1]).sort(dim=1).values
    index = torch.where(valid, index, index[:, :1].clamp(max=candidates.shape[1] - 1))
    return TokenSet(index, valid, padded=not bool(valid.all()))
