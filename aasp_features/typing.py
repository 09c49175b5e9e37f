"""Types of the embed calls, for type checkers: forms of sounds, and options.

``Array…`` are the forms that give numpy arrays, ``Tensor…`` those that give tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import Pooling
from aasp_features.inference import FrameEmbeddings

Array = NDArray[np.float32]
TensorFrames = FrameEmbeddings[Tensor, Tensor]

OneArraySound = (  # one clip, whatever its shape
    str
    | PathLike[str]
    | list[float]
    | np.ndarray[tuple[int], np.dtype[Any]]
    | tuple[NDArray[Any] | list[float], float]
    | Mapping[str, NDArray[Any] | list[float] | float | str | None]
)
ArraySound = OneArraySound | NDArray[Any]
TensorSound = Tensor | tuple[Tensor, float] | Mapping[str, Tensor | float | str | None]
ArraySounds = ArraySound | Sequence[ArraySound]
TensorSounds = TensorSound | Sequence[TensorSound]
Sounds = ArraySounds | TensorSounds | Sequence[ArraySound | TensorSound]


class EmbedChoices(TypedDict, total=False):
    """Options of ``AaSPEncoder.embed``."""

    pooling: Pooling | None
    last_layers: int | None
    batch_size: int | None
    window: int | None
    context: int | None
    channel_axis: int | None


class FrameChoices(EmbedChoices, total=False):
    """Options of ``AaSPEncoder.embed_frames``."""

    hop: float


class EncodeChoices(TypedDict, total=False):
    """Options of ``AaSPEncoder.encode`` that do not change the type of its result."""

    batch_size: int | None
    show_progress_bar: bool | None
    device: str | torch.device | None
    normalize_embeddings: bool
    sample_rate: int | None
