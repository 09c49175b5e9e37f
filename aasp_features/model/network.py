"""The network that is pre-trained and shipped: patch embedding, [CLS], positions, transformer blocks, norm."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aasp_features.config import PATCH, AaSPConfig
from aasp_features.errors import AaSPError, OptionError
from aasp_features.model.log_mel import length_mask
from aasp_features.model.patch_embed import build_patch_embed
from aasp_features.model.transformer import NORM_EPSILON, Block, sincos_positions


class InputLengthError(AaSPError, ValueError):
    """A spectrogram that is longer than the network's window."""


class Features(NamedTuple):
    """Output of the network for a batch of spectrograms.

    Attributes:
        tokens: (batch, columns, rows, dim).
        cls: (batch, dim).
        column_frames: (batch, columns) valid frames in each column, 0…16.
    """

    tokens: Tensor
    cls: Tensor
    column_frames: Tensor


class AaSPNetwork(nn.Module):
    """Spectrogram → tokens. Its state dict is what a checkpoint stores.

    Args:
        config: gives the architecture.
    """

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
        self._random = None if self.cls.is_meta else _first_values(self)  # None once this was checked

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None, last_layers: int | None = None) -> Features:
        """Encode standardised log-mels.

        Args:
            log_mel: (batch, frames, mels), at most ``window`` columns long.
            frame_lengths: (batch,) valid frames, on any device; on the CPU, no GPU is waited for. None when all are.
            last_layers: average the normalised outputs of the last k blocks; None takes the config's.

        Raises:
            InputLengthError: more columns than the window.
        """
        masked = has_empty_columns(log_mel, frame_lengths)
        frame_lengths = None if frame_lengths is None else frame_lengths.to(log_mel.device)
        outputs, column_frames = self.encode(log_mel, frame_lengths, last_layers or self.config.last_layers, masked)
        return self.features(outputs, column_frames)

    def encode(
        self, log_mel: Tensor, frame_lengths: Tensor | None, last_layers: int, masked: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Run the blocks, with no look at values, so that it can be traced.

        Args:
            log_mel: as of ``forward``.
            frame_lengths: as of ``forward``, on the device of ``log_mel``.
            last_layers: how many blocks' outputs are returned.
            masked: whether there are empty columns; see ``has_empty_columns``.

        Returns:
            The outputs of the last blocks, (batch, 1 + tokens, dim) each, [CLS] first, before the last norm; and the
            valid frames of each column, (batch, columns).
        """
        tokens = self.embed_patches(log_mel, frame_lengths)  # (batch, columns, rows, dim)
        columns, rows = tokens.shape[1:3]
        column_frames = count_column_frames(log_mel, frame_lengths, columns)
        key_mask = token_mask(column_frames, rows) if masked else None
        x = self.with_cls((tokens + self.positions[:columns].to(self.cls.dtype)).flatten(1, 2))
        outputs: deque[Tensor] = deque(maxlen=last_layers)
        for block in self.blocks:
            x = block(x, key_mask)
            outputs.append(x)
        return list(outputs), column_frames

    def features(self, outputs: Sequence[Tensor], column_frames: Tensor) -> Features:
        """Normalise and average blocks' outputs; takes what ``encode`` returns."""
        x = torch.stack([self.norm(output) for output in outputs]).mean(dim=0)
        batch, columns = column_frames.shape
        return Features(x[:, 1:].view(batch, columns, -1, x.shape[-1]), x[:, 0], column_frames)

    def embed_patches(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """Return patch tokens without positions, (batch, columns, rows, dim); arguments are those of ``forward``."""
        if log_mel.shape[1] > PATCH * self.config.window:
            raise InputLengthError(
                f"a spectrogram of {log_mel.shape[1]} frames is longer than the window of "
                f"{PATCH * self.config.window}; use embed() or embed_frames(), which cut long audio into windows."
            )
        log_mel = log_mel.to(self.cls.dtype)  # of converted weights
        if frame_lengths is not None:  # whatever lies past a row's end is not read
            log_mel = log_mel.masked_fill(~length_mask(frame_lengths, log_mel.shape[1])[..., None], 0.0)
        return self.patch_embed(log_mel, frame_lengths)  # type: ignore[no-any-return]

    def with_cls(self, tokens: Tensor) -> Tensor:
        """Put [CLS] before tokens, (batch, tokens, dim): (batch, 1 + tokens, dim)."""
        return torch.cat([self.cls.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens], dim=1)

    def compile_blocks(self, **options: Any) -> None:
        """Compile the blocks in place. They share their code, so the first call compiles it once."""
        self.compile_options = {"dynamic": True, **options}
        for block in self.blocks:
            block.compile(**self.compile_options)

    def check_dtype(self) -> None:
        """Raise OptionError unless the weights are float32 or bfloat16."""
        if (dtype := self.cls.dtype) not in (torch.float32, torch.bfloat16):
            raise OptionError(
                f"the encoder's weights were converted to {str(dtype).removeprefix('torch.')}, and it computes with "
                "float32 or bfloat16 weights; load it again."
            )

    def warn_if_random(self, stacklevel: int) -> None:
        """Warn, at most once, that the weights are still those of the constructor."""
        random, self._random = self._random, None
        if random is not None and torch.equal(random, _first_values(self)):
            warnings.warn(
                "this encoder's weights are random; its vectors are those of an untrained network: use "
                "AaSPEncoder.from_pretrained(), or load weights.",
                stacklevel=stacklevel,
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self.compile_options is not None:  # modules drop it from their copies
            self.compile_blocks(**self.compile_options)


def count_column_frames(log_mel: Tensor, frame_lengths: Tensor | None, columns: int) -> Tensor:
    """Count the valid frames of every column, 0…16: (batch, columns)."""
    if frame_lengths is None:
        frame_lengths = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
    starts = PATCH * torch.arange(columns, device=log_mel.device)
    return (frame_lengths[:, None] - starts).clamp(0, PATCH)


def has_empty_columns(log_mel: Tensor, frame_lengths: Tensor | None) -> bool:
    """Return whether a row ends before its last column begins, so that some tokens must not be read."""
    last_column = PATCH * ((log_mel.shape[1] - 1) // PATCH)
    return frame_lengths is not None and bool((frame_lengths <= last_column).any())


def token_mask(column_frames: Tensor, rows: int) -> Tensor:
    """Return which tokens may be read, (batch, 1, 1, 1 + columns * rows); ``column_frames`` is (batch, columns).

    [CLS], the first, may always be read.
    """
    tokens = (column_frames > 0).repeat_interleave(rows, dim=1)
    cls = torch.ones_like(tokens[:, :1])
    return torch.cat([cls, tokens], dim=1)[:, None, None]


def _first_values(network: nn.Module) -> Tensor:
    """Return the first value of each parameter; any way in which weights come in changes some."""
    return torch.stack([weight.detach().flatten()[0].float().to("cpu") for weight in network.parameters()])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
