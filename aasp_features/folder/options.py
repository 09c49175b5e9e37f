"""What a user may ask of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from aasp_features.config import Pooling, frame_dim, pooled_dim
from aasp_features.encoder import AaSPEncoder
from aasp_features.inputs import InputError
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS, grid_offsets


@dataclass(frozen=True)
class RunOptions:
    """Options that decide what is written; everything else only decides how fast.

    Attributes:
        pooling, layers, batch_size: as in ``AaSPEncoder.embed``; a run fills in the batch size.
        frames: vectors along time instead of one for each sound; ``hop`` seconds apart.
        dtype: ``float32`` or ``float16``, of what is written.
        normalize: scale every vector to length 1.

    Raises:
        InputError: a hop or dtype that is not accepted.
    """

    pooling: Pooling | None = None
    layers: int | None = None
    batch_size: int | None = None
    frames: bool = False
    hop: float = COLUMN_SECONDS
    dtype: str = "float32"
    normalize: bool = False

    def __post_init__(self) -> None:
        try:
            grid_offsets(self.hop)
        except ValueError as error:
            raise InputError(str(error)) from error
        if self.hop != COLUMN_SECONDS and not self.frames:
            raise InputError("hop is the distance of frames: it needs frames.")
        if self.dtype not in ("float32", "float16"):
            raise InputError(f"dtype must be float32 or float16, got {self.dtype!r}.")

    def width(self, encoder: AaSPEncoder) -> int:
        """Numbers in a row."""
        pooling, config = self.pooling or encoder.config.pooling, encoder.config
        return (frame_dim if self.frames else pooled_dim)(config.dim, config.rows, pooling)

    def settings(self, encoder: AaSPEncoder) -> dict[str, Any]:
        """Everything but the sounds that decides the bytes: options, checkpoint, versions, device, threads."""
        pooling, layers, batch_size = encoder.check_options(self.pooling, self.layers, self.batch_size)
        return {
            "checkpoint": encoder.config.name,
            "checkpoint_sha256": encoder.sha256,
            **asdict(self),
            "pooling": pooling,
            "layers": layers,
            "batch_size": batch_size,
            "window": encoder.config.window,
            "context": encoder.config.context,
            "precision": encoder.precision,
            "compiled": encoder.compiled,
            "aasp_features": __version__,
            "torch": torch.__version__,
            "device": encoder.device.type,
            "threads": torch.get_num_threads(),
        }
