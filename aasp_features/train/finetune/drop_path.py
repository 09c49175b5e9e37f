"""Drop path (stochastic depth, arXiv 1603.09382): clips randomly skip a block's attention or MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from aasp_features.model.transformer import Block

Hook = Callable[[nn.Module, Any, Tensor], Tensor]


def draw_paths(blocks: int, clips: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw the factor on every clip's two branches of each block, (blocks, 2, clips): 0, or 1 over the kept share.

    The rate rises linearly from 0 in the first block to ``rate`` in the last.
    """
    kept = 1.0 - rate * torch.linspace(0, 1, blocks)[:, None, None] if blocks > 1 else torch.full((1, 1, 1), 1.0 - rate)
    return (torch.rand(blocks, 2, clips, generator=generator) < kept) / kept


@contextmanager
def dropping_paths(blocks: Iterable[nn.Module], paths: Tensor | None) -> Iterator[None]:
    """Multiply the branches of the blocks by ``paths`` within the context; None changes nothing."""
    with ExitStack() as stack:
        if paths is not None:
            for block, (attention, mlp) in zip(blocks, paths, strict=True):
                assert isinstance(block, Block)
                for branch, factors in ((block.attention, attention), (block.mlp, mlp)):
                    stack.callback(branch.register_forward_hook(times(factors)).remove)
        yield


def times(factors: Tensor) -> Hook:
    """Return a hook that multiplies a module's output, (batch, tokens, dim), by (batch,) factors."""

    def scale(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output * factors[:, None, None].to(output)

    return scale
