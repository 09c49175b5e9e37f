"""The network that is pre-trained and shipped: patch embedding, [CLS], positions, transformer blocks, norm."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aasp_features.config import PATCH, AaSPConfig
from aasp_features.errors import AaSPError
from aasp_features.model.log_mel import length_mask
from aasp_features.model.patch_embed import build_patch_embed
from aasp_features.model.transformer import NORM_EPSILON, Block, sincos_positions


class InputLengthError(AaSPError, ValueError):
    """A spectrogram that is longer than the network's window."""


class Features(NamedTuple):
    """What the network says of a batch of spectrograms.

    Attributes:
        tokens: (batch, columns, rows, dim).
        cls: (batch, dim).
        column_frames: (batch, columns) valid frames in each column, 0…16.
    """

    tokens: Tensor
    cls: Tensor
    column_frames: Tensor


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
        self.compile_options: dict[str, Any] | None = None
        self.apply(_initialise)
        nn.init.normal_(self.cls, std=0.02)

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None, last_layers: int | None = None) -> Features:
        """Encode standardised log-mels.

        Args:
            log_mel: (batch, frames, mels), at most ``window`` columns long.
            frame_lengths: (batch,) valid frames, on any device (a GPU is not waited for where they are on the CPU);
                None when all are.
            last_layers: average the normalised outputs of the last k blocks; None takes the config's.

        Raises:
            InputLengthError: more columns than the window.
        """
        masked = has_empty_columns(log_mel, frame_lengths)
        frame_lengths = None if frame_lengths is None else frame_lengths.to(log_mel.device)
        return self.encode(log_mel, frame_lengths, last_layers or self.config.last_layers, masked)

    def encode(self, log_mel: Tensor, frame_lengths: Tensor | None, last_layers: int, masked: bool) -> Features:
        """``forward`` without a look at values, so that it can be traced; ``masked``: are there empty columns?"""
        return self.features(*self.block_outputs(log_mel, frame_lengths, masked), last_layers)

    def features(self, outputs: Iterable[Tensor], column_frames: Tensor, last_layers: int) -> Features:
        """What ``block_outputs`` gives -> the average of the last blocks, normalised."""
        x = torch.stack([self.norm(output) for output in deque(outputs, maxlen=last_layers)]).mean(dim=0)
        batch, columns = column_frames.shape
        return Features(x[:, 1:].view(batch, columns, self.config.rows, -1), x[:, 0], column_frames)

    def block_outputs(
        self, log_mel: Tensor, frame_lengths: Tensor | None, masked: bool
    ) -> tuple[Iterator[Tensor], Tensor]:
        """What each block gives, (batch, 1 + tokens, dim), [CLS] first, before the last norm; and ``column_frames``.

        Arguments as in ``encode``.
        """
        tokens = self.embed_patches(log_mel, frame_lengths)  # (batch, columns, rows, dim)
        columns, rows = tokens.shape[1:3]
        column_frames = count_column_frames(log_mel, frame_lengths, columns)
        x = self.with_cls((tokens + self.positions[:columns]).flatten(1, 2))
        key_mask = token_mask(column_frames, rows) if masked else None
        return (output for output, _ in self.run_blocks(x, key_mask)), column_frames

    def run_blocks(self, x: Tensor, key_mask: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Each block's output, (batch, 1 + tokens, dim), and its MLP's part of it: the one loop over the blocks.

        Args:
            x: (batch, 1 + tokens, dim) with positions, [CLS] first.
            key_mask: (batch, 1, 1, 1 + tokens) true where a token may be read; None when all may.
        """
        for block in self.blocks:
            x, update = block(x, key_mask)
            yield x, update

    def compile_blocks(self, **options: Any) -> None:
        """Compile the blocks in place; all are one code, so it is compiled once, in the first call."""
        self.compile_options = {"dynamic": True, **options}
        for block in self.blocks:
            block.compile(**self.compile_options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self.compile_options is not None:  # modules drop it from their copies
            self.compile_blocks(**self.compile_options)

    def embed_patches(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """Patch tokens without positions, (batch, columns, rows, dim); see ``forward`` for arguments and errors."""
        if log_mel.shape[1] > PATCH * self.config.window:
            raise InputLengthError(
                f"a spectrogram of {log_mel.shape[1]} frames is longer than the window of "
                f"{PATCH * self.config.window}; use embed() or embed_frames(), which cut long audio into windows."
            )
        if frame_lengths is not None:  # whatever lies past a row's end is not read
            log_mel = log_mel.masked_fill(~length_mask(frame_lengths, log_mel.shape[1])[..., None], 0.0)
        return self.patch_embed(log_mel, frame_lengths)  # type: ignore[no-any-return]

    def with_cls(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, 1 + tokens, dim), [CLS] first."""
        return torch.cat([self.cls.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens], dim=1)


def count_column_frames(log_mel: Tensor, frame_lengths: Tensor | None, columns: int) -> Tensor:
    """Valid frames of every column, 0…16, (batch, columns)."""
    if frame_lengths is None:
        frame_lengths = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
    starts = PATCH * torch.arange(columns, device=log_mel.device)
    return (frame_lengths[:, None] - starts).clamp(0, PATCH)


def has_empty_columns(log_mel: Tensor, frame_lengths: Tensor | None) -> bool:
    """Does a row end before its last column begins, so that there are tokens that must not be read?"""
    last_column = PATCH * ((log_mel.shape[1] - 1) // PATCH)
    return frame_lengths is not None and bool((frame_lengths <= last_column).any())


def token_mask(column_frames: Tensor, rows: int) -> Tensor:
    """(batch, columns) valid frames -> (batch, 1, 1, 1 + columns * rows): may this token be read? [CLS] always."""
    tokens = (column_frames > 0).repeat_interleave(rows, dim=1)
    cls = torch.ones_like(tokens[:, :1])
    return torch.cat([cls, tokens], dim=1)[:, None, None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
