"""The network that is pre-trained and shipped: patch embedding, [CLS], positions, transformer blocks, norm."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aasp_features.config import PATCH, AaSPConfig
from aasp_features.patch_embed import build_patch_embed
from aasp_features.transformer import NORM_EPSILON, Block, sincos_positions


class Features(NamedTuple):
    """What the network says of a batch of spectrograms.

    Attributes:
        tokens: (batch, columns, rows, dim).
        cls: (batch, dim).
        valid: (batch, columns) valid frames in each column, 0…16.
    """

    tokens: Tensor
    cls: Tensor
    valid: Tensor


class AaSPNetwork(nn.Module):
    """Spectrogram -> tokens. Its state dict is what a checkpoint stores."""

    positions: Tensor

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = build_patch_embed(config)
        self.cls = nn.Parameter(torch.empty(config.dim))
        positions = sincos_positions(config.window, config.rows, config.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.apply(_initialise)
        nn.init.normal_(self.cls, std=0.02)

    def forward(self, log_mel: Tensor, frames: Tensor | None = None, layers: int | None = None) -> Features:
        """Encode standardised log-mels.

        Args:
            log_mel: (batch, frames, mels), at most ``window`` columns long.
            frames: (batch,) valid frames, on any device (a GPU is not waited for where they are on the CPU); None when
                all are.
            layers: average the normalised outputs of the last k blocks; None takes the config's.

        Raises:
            ValueError: more columns than the window.
        """
        masked = has_empty_columns(log_mel, frames)
        frames = None if frames is None else frames.to(log_mel.device)
        tokens = self.embed_patches(log_mel, frames)  # (batch, columns, rows, dim)
        valid = count_valid(log_mel, frames, tokens.shape[1])  # (batch, columns)
        outputs = deque(self.block_outputs(tokens, valid, masked), maxlen=layers or self.config.layers)
        x = torch.stack([self.norm(output) for output in outputs]).mean(dim=0)
        return Features(x[:, 1:].view(tokens.shape), x[:, 0], valid)

    def hidden_states(self, log_mel: Tensor, frames: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Normalised tokens of every block, and valid frames: depth x (batch, columns, rows, dim), (batch, columns).

        Arguments and errors as in ``forward``.
        """
        masked = has_empty_columns(log_mel, frames)
        tokens = self.embed_patches(log_mel, frames)
        valid = count_valid(log_mel, frames, tokens.shape[1])
        states = [self.norm(output)[:, 1:].view(tokens.shape) for output in self.block_outputs(tokens, valid, masked)]
        return states, valid

    def block_outputs(self, tokens: Tensor, valid: Tensor, masked: bool) -> Iterator[Tensor]:
        """What each block gives, (batch, 1 + tokens, dim), [CLS] first."""
        columns, rows = tokens.shape[1:3]
        x = self.with_cls((tokens + self.positions[:columns]).flatten(1, 2))
        key_mask = token_mask(valid, rows) if masked else None
        return (output for output, _ in self.run_blocks(x, key_mask))

    def run_blocks(self, x: Tensor, key_mask: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Each block's output, (batch, 1 + tokens, dim), and its MLP's part of it.

        Args:
            x: (batch, 1 + tokens, dim) with positions, [CLS] first.
            key_mask: (batch, 1, 1, 1 + tokens) true where a token may be read; None when all may.
        """
        for block in self.blocks:
            x, update = block(x, key_mask)
            yield x, update

    def embed_patches(self, log_mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """Patch tokens without positions, (batch, columns, rows, dim); see ``forward`` for arguments and errors."""
        if log_mel.shape[1] > PATCH * self.config.window:
            raise ValueError(
                f"a spectrogram of {log_mel.shape[1]} frames is longer than the window of "
                f"{PATCH * self.config.window}; use embed() or embed_frames(), which cut long audio into windows."
            )
        if frames is not None:  # whatever lies past a row's end is not read
            valid = torch.arange(log_mel.shape[1], device=log_mel.device) < frames[:, None]
            log_mel = log_mel.masked_fill(~valid[..., None], 0.0)
        return self.patch_embed(log_mel, frames)  # type: ignore[no-any-return]

    def with_cls(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, 1 + tokens, dim), [CLS] first."""
        return torch.cat([self.cls.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens], dim=1)


def count_valid(log_mel: Tensor, frames: Tensor | None, columns: int) -> Tensor:
    """Valid frames of every column, (batch, columns)."""
    if frames is None:
        frames = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
    starts = PATCH * torch.arange(columns, device=log_mel.device)
    return (frames[:, None] - starts).clamp(0, PATCH)


def has_empty_columns(log_mel: Tensor, frames: Tensor | None) -> bool:
    """Does a row end before its last column begins, so that there are tokens that must not be read?"""
    last_column = PATCH * ((log_mel.shape[1] - 1) // PATCH)
    return frames is not None and bool((frames <= last_column).any())


def token_mask(valid: Tensor, rows: int) -> Tensor:
    """(batch, columns) valid frames -> (batch, 1, 1, 1 + columns * rows): may this token be read? [CLS] always."""
    tokens = (valid > 0).repeat_interleave(rows, dim=1)
    cls = torch.ones_like(tokens[:, :1])
    return torch.cat([cls, tokens], dim=1)[:, None, None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
