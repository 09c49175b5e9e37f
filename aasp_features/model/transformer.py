"""The transformer's parts: pre-norm blocks and fixed 2-D sin-cos positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

NORM_EPSILON = 1e-6


def autocast_type(device: torch.device) -> str:
    """Return the type of device whose autocast applies: the CPU's for the meta device, which has none of its own."""
    return "cpu" if device.type == "meta" else device.type


def attend(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Compute scaled dot-product attention, (batch, heads, queries, d) from (batch, heads, tokens, d).

    It is PyTorch's own kernel, except for bfloat16 on a CPU with gradients. On the short sequences of pre-training, two
    plain products are three to five times as fast there (``tests/benchmarks/attention.py``).
    """
    if query.dtype is not torch.bfloat16 or query.device.type != "cpu" or not query.requires_grad:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask, -torch.inf)
        return torch.matmul(scores.softmax(dim=-1), value)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Map (batch, tokens, dim) to the same; ``key_mask``, (batch, 1, 1, tokens), is true for readable tokens."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, dim / heads)
        attended = attend(query, key, value, key_mask)
        return self.out(attended.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, ratio * dim)
        self.contract = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, dim) to (…, dim)."""
        return self.contract(functional.gelu(self.expand(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block.

    Attributes:
        gradient_checkpointing: Whether activations are computed again in the backward pass; transformers sets it, too.
        paths: Factors of every clip on the two branches, (2, batch), for drop path; None for 1.
    """

    gradient_checkpointing: bool = False
    paths: Tensor | None = None

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Return the block's output, (batch, tokens, dim) as ``x``; ``key_mask`` as of ``Attention``."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._branches, x, key_mask, self.paths, use_reentrant=False)  # type: ignore[no-any-return]
        return self._branches(x, key_mask, self.paths)

    def _branches(self, x: Tensor, key_mask: Tensor | None, paths: Tensor | None) -> Tensor:
        x = x + _times(self.attention(self.norm1(x), key_mask), paths, 0)
        return x + _times(self.mlp(self.norm2(x)), paths, 1)


def _times(branch: Tensor, paths: Tensor | None, index: int) -> Tensor:
    return branch if paths is None else branch * paths[index][:, None, None].to(branch)


def sincos_positions(columns: int, rows: int, dim: int) -> Tensor:
    """Return fixed positions (columns, rows, dim): half of the channels for time, half for frequency, as in MAE."""
    time = _sincos(torch.arange(columns, dtype=torch.float64), dim // 2)[:, None].expand(-1, rows, -1)
    frequency = _sincos(torch.arange(rows, dtype=torch.float64), dim // 2)[None].expand(columns, -1, -1)
    return torch.cat([time, frequency], dim=-1).float()


def _sincos(position: Tensor, dim: int) -> Tensor:
    rates = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = position[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
