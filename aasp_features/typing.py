"""Types of the embed calls, for type checkers: forms of sounds, and options.

``Array…`` are the forms that give numpy arrays, ``Tensor…`` those that give tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, BinaryIO, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import Pooling
from aasp_features.inference import FrameEmbeddings

Array = NDArray[np.float32]
TensorFrames = FrameEmbeddings[Tensor, Tensor]


class Decoder(Protocol):
    """torchcodec's ``AudioDecoder``, which also the columns of ``datasets`` hold."""

    def get_all_samples(self) -> Any:
        """Return the samples, with their rate."""


class DecodedSamples(Protocol):
    """torchcodec's ``AudioSamples``: ``data`` is (channels, samples)."""

    data: Tensor
    sample_rate: int


class Column(Protocol):
    """A column of sounds: a Series of pandas or polars, an Arrow array."""

    def __array__(self) -> NDArray[Any]: ...
    def __len__(self) -> int: ...


OneArraySound = (  # one clip, whatever its shape
    str
    | PathLike[str]
    | bytes
    | bytearray
    | BinaryIO
    | Decoder
    | np.ndarray[tuple[int], np.dtype[Any]]
    | tuple[NDArray[Any] | list[float], float]
    | Mapping[str, NDArray[Any] | list[float] | float | str | bytes | None]
)
ArraySound = OneArraySound | NDArray[Any]
TensorSound = Tensor | DecodedSamples | tuple[Tensor, float] | Mapping[str, Tensor | float | str | None]
ArraySounds = ArraySound | Column | Sequence[ArraySound | list[float] | float]
TensorSounds = TensorSound | Sequence[TensorSound]
Sounds = ArraySound | TensorSound | Column | Sequence[ArraySound | TensorSound | list[float] | float]


class EmbedChoices(TypedDict, total=False):
    """Options of ``AaSPEncoder.embed``."""

    pooling: Pooling | None
    last_layers: int | None
    batch_size: int | None
    window: int | None
    context: int | None
    channel_axis: int | None
    progress: bool


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
