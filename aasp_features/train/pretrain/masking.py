"""Which tokens the student sees, and which masked ones the predictor is asked for.

Inverse block masking (paper, section on multi-mask pre-training; as in EAT and data2vec 2.0): 5 x 5 blocks are drawn
until they cover at least the visible count, then trimmed at random to exactly that count, for each view on its own.
Masks are drawn on the CPU and sent to the device of the batch; nothing about them is asked of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from aasp_features.model.log_mel import length_mask
from aasp_features.train.data.batch import send
from aasp_features.train.recipe import MaskingSettings

BLOCK = 5  # tokens on a side of one visible block


class TokenSet(NamedTuple):
    """Some tokens of every view, padded to the largest count.

    Attributes:
        indices: (views, count) flat token numbers, column * rows + row.
        valid: (views, count) false where ``indices`` is padding, which repeats the view's first token.
        padded: is there such padding?
    """

    indices: Tensor
    valid: Tensor
    padded: bool = True

    def gather(self, tokens: Tensor) -> Tensor:
        """Pick from (batch, tokens, dim), whose views lie in a row here -> (views, count, dim)."""
        views, count = self.indices.shape
        dim = tokens.shape[-1]
        index = self.indices.reshape(len(tokens), -1, 1).expand(-1, -1, dim)  # (batch, views / batch * count, dim)
        return tokens.gather(1, index).view(views, count, dim)

    def to(self, device: torch.device) -> TokenSet:
        """The same on another device."""
        return TokenSet(send(self.indices, device), send(self.valid, device), self.padded)


class Masks(NamedTuple):
    """What one draw decides: ``visible`` tokens go to the student, ``queried`` masked ones to the predictor."""

    visible: TokenSet
    queried: TokenSet

    def to(self, device: torch.device) -> Masks:
        """The same on another device."""
        return Masks(self.visible.to(device), self.queried.to(device))


def draw_masks(column_frames: Tensor, rows: int, settings: MaskingSettings, generator: torch.Generator) -> Masks:
    """Draw masks for the views of every clip.

    Args:
        column_frames: (batch, columns) frames of the clip in each column; a column with none is masked from all.
        rows: tokens in a column.
        settings: how many views, and the fractions of the tokens; of each kind there is at least one token. View v of
            clip b is row b * views + v of the result.
        generator: so that a seed means the same masks on every device.
    """
    real = (column_frames > 0).repeat_interleave(settings.views, dim=0)  # (batch * views, columns)
    grid = real[..., None].expand(-1, -1, rows)  # (batch * views, columns, rows)
    tokens = grid.flatten(1)
    available = tokens.sum(dim=1)
    visible_count = (settings.visible_fraction * available).round().long().clamp(min=1)
    covered = _covered(grid, visible_count, generator)
    visible = _choose(covered, visible_count, generator)
    is_visible = torch.zeros_like(tokens).scatter_(1, visible.indices, True)  # padding repeats a chosen token
    masked = tokens & ~is_visible
    query_count = (settings.query_fraction * masked.sum(dim=1)).round().long().clamp(min=1)
    return Masks(visible, _choose(masked, torch.minimum(query_count, masked.sum(dim=1)), generator))


def _covered(grid: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens under the blocks drawn until ``count`` tokens are covered, (views, tokens).

    Blocks are drawn in the order of a random number at their centre; a token is covered when the first of the blocks
    that hold it is drawn, which is the smallest number in its 5 x 5 neighbourhood.
    """
    order = torch.rand(grid.shape, generator=generator).masked_fill(~grid, 2.0)
    first = -functional.max_pool2d(-order[:, None], BLOCK, stride=1, padding=BLOCK // 2)[:, 0]
    first = first.masked_fill(~grid, 2.0).flatten(1)
    last_block = first.sort(dim=1).values.gather(1, count[:, None] - 1)
    return (first <= last_block) & grid.flatten(1)


def _choose(candidates: Tensor, count: Tensor, generator: torch.Generator) -> TokenSet:
    """``count`` of the candidates of each view, at random, in ascending order of token number."""
    key = torch.rand(candidates.shape, generator=generator).masked_fill(~candidates, 2.0)
    largest = int(count.max())
    index = key.argsort(dim=1)[:, :largest]
    valid = length_mask(count, largest)
    index = index.masked_fill(~valid, candidates.shape[1]).sort(dim=1).values
    index = torch.where(valid, index, index[:, :1].clamp(max=candidates.shape[1] - 1))
    return TokenSet(index, valid, padded=not bool(valid.all()))
