"""Files -> blocks of samples: what decodes which file, and whether it really reached the file's end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError

Blocks = Iterator[tuple[int, NDArray[np.float32]]]  # rate in Hz, and (samples, channels) in +-1


class AudioError(AaSPError, ValueError):
    """A file that cannot be read as sound; the sentence names it."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself: duration in seconds, samples per second, channels.

    ``unheard``, once it has been read, is the share of its energy above half the rate that it was resampled to.
    """

    seconds: float
    rate: int
    channels: int
    unheard: float = 0.0


class Decoder(Protocol):
    """Reads an open file, which it does not close.

    Attributes:
        info: from the header.
        exact: ``info`` counts the samples exactly, and ``blocks`` begins at any of them with what the whole has there.
    """

    info: AudioInfo
    exact: bool

    def blocks(self, samples: int, first: int) -> Blocks:
        """Blocks of about so many samples, from sample ``first`` on, once.

        ``first`` is 0 where the decoder is not exact. The rate may change where files were joined.

        Raises:
            AudioError: damaged, or the file holds more than what was decoded.
        """

    def close(self) -> None:
        """Stop using the file."""
