"""Sound files -> samples: what decodes which file, to its end; and resampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError

Blocks = Iterator[tuple[int, NDArray[np.float32]]]  # rate in Hz, and (samples, channels) in +-1


class AudioError(AaSPError, ValueError):
    """A file that cannot be read as sound; the sentence names it."""


@dataclass(frozen=True)
class AudioInfo:
    """Facts of a sound file.

    Attributes:
        seconds: duration; by the header, and exact once the file was read.
        rate: samples per second.
        channels: number of channels.
        unheard: share of the energy above half the rate that the file was resampled to, once it was read.
    """

    seconds: float
    rate: int
    channels: int
    unheard: float = 0.0
