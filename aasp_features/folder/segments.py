"""Segments of a sound: pieces of equal length, each of which gets a vector of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import OptionError
from aasp_features.windows import COLUMN_SECONDS


def check_segment(segment: float | None, overlap: float, frames: bool) -> None:
    """Raise OptionError unless sounds can be cut into segments of so many seconds, or are not cut (None)."""
    if segment is None:
        if overlap:
            raise OptionError("needs segment: it is the overlap of one with the next.", option="overlap")
        return
    if frames:
        raise OptionError("gives a vector a segment, and frames gives several; choose one.", option="segment")
    if not (math.isfinite(segment) and segment >= COLUMN_SECONDS):
        raise OptionError(f"must be at least {COLUMN_SECONDS} seconds, got {segment}.", option="segment")
    if not 0 <= overlap <= segment - COLUMN_SECONDS / 2:
        raise OptionError(
            f"must be 0 to {segment - COLUMN_SECONDS / 2:g} seconds for segments of {segment:g}, got {overlap}.",
            option="overlap",
        )


def cut_segments(
    blocks: Iterable[NDArray[np.float32]], segment: float, overlap: float, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Cut audio into segments, holding one at a time; see ``segment_times``.

    Args:
        blocks: (samples,) in order.
        segment, overlap: seconds.
        sample_rate: of the blocks, in Hz.
    """
    step, held, first, index = segment - overlap, np.empty(0, np.float32), 0, 0  # first: sample that is held
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= (stop := round((index * step + segment) * sample_rate) - first):
            yield held[round(index * step * sample_rate) - first : stop]
            index += 1
        start = min(len(held), round(index * step * sample_rate) - first)
        held, first = held[start:], first + start
    if index == 0 or len(held) > round((index * step + overlap) * sample_rate) - first:
        yield held


def segment_times(count: int, segment: float, overlap: float, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield start and end of the segments of a sound of so many seconds.

    Segment k starts at k * (segment - overlap). The last one ends with the sound and may be shorter; it is there if it
    holds more than the overlap.
    """
    for index in range(count):
        start = index * (segment - overlap)
        yield start, min(start + segment, seconds)
