"""The predictor: masked positions attend to the student's visible tokens by cross-attention alone.

Queries do not attend to each other, so predictions do not depend on which other tokens are queried.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aasp_features.model.transformer import NORM_EPSILON, Mlp, attend


class CrossAttention(nn.Module):
    """Multi-head attention from queries to a memory."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Attend, (views, queries, dim) and (views, tokens, dim) -> (views, queries, dim)."""
        views, queries, dim = x.shape
        query = self.query(x).view(views, queries, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(memory).view(views, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = attend(query, key, value, memory_mask)
        return self.out(attended.transpose(1, 2).reshape(views, queries, dim))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """Pre-norm cross-attention and MLP."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attention = CrossAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Apply the block, (views, queries, dim) -> the same shape."""
        x = x + self.attention(self.norm1(x), memory, memory_mask)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Predictor(nn.Module):
    """Map from student output at visible tokens to targets at queried tokens."""

    def __init__(self, dim: int, heads: int, depth: int, mlp_ratio: int) -> None:
        super().__init__()
        self.mask_embedding = nn.Parameter(torch.empty(dim))
        self.memory = nn.Linear(dim, dim)
        self.blocks = nn.ModuleList(CrossBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.out = nn.Linear(dim, dim)
        nn.init.normal_(self.mask_embedding, std=0.02)

    def forward(
        self, student: Tensor, student_positions: Tensor, query_positions: Tensor, memory_mask: Tensor | None
    ) -> Tensor:
        """Predict the targets of queried tokens.

        Args:
            student: (views, tokens, dim) output of the student.
            student_positions: (views, tokens, dim) positions of those tokens.
            query_positions: (views, queries, dim) positions to predict.
            memory_mask: (views, 1, 1, tokens) false for padding; None without padding.

        Returns:
            (views, queries, dim).
        """
        memory = self.memory(student) + student_positions
        x = self.mask_embedding + query_positions
        for block in self.blocks:
            x = block(x, memory, memory_mask)
        return self.out(self.norm(x))  # type: ignore[no-any-return]
