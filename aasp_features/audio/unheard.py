"""The share of a sound's energy that lies above half the model's rate, where the model hears nothing.

It is measured on the samples before and after they are resampled: what is gone lay above. A constant offset does not
count.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST = 0.5  # of the energy
QUIET = 1e-8  # of full scale's square: what lies below -80 dB is taken for silence
CHUNK = 2**15  # samples at once, which stay in a processor's cache
EDGE = 160  # samples at the ends of what was resampled, where a constant offset rings


class UnheardEnergy:
    """Takes blocks of a mono sound before and after resampling, at constant memory.

    Attributes:
        share: of the energy so far that is gone, 0 to 1; 0 where there is hardly any.
    """

    def __init__(self) -> None:
        self._before, self._after = _Power(), _Power()
        self._held, self._left_out = np.empty(0, np.float32), EDGE

    def add(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
        """Take a block, and what came out of the resampler."""
        self._before.add(before)
        if len(after) > EDGE:
            pieces, self._held = [self._held, after[:-EDGE]], after[-EDGE:].copy()
        else:
            waiting = np.concatenate([self._held, after])
            pieces, self._held = [waiting[:-EDGE]], waiting[-EDGE:]
        for piece in pieces:
            self._after.add(piece[self._left_out :])
            self._left_out -= min(self._left_out, len(piece))

    @property
    def share(self) -> float:
        """See the class."""
        return unheard_share(self._before.value, self._after.value) if self._after.samples else 0.0


class _Power:
    """Mean square of a signal around its mean."""

    def __init__(self) -> None:
        self.samples, self._centre, self._sum, self._squares = 0, np.float32(0), 0.0, 0.0

    def add(self, block: NDArray[np.float32]) -> None:
        if len(block) == 0:
            return
        if self.samples == 0:  # near the mean, so that what is left keeps its digits
            self._centre = block[:CHUNK].mean()
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(block), CHUNK):
                centred = block[start : start + CHUNK] - self._centre
                self._sum += float(centred.sum())
                self._squares += float(np.dot(centred, centred))
        self.samples += len(block)

    @property
    def value(self) -> float:
        return self._squares / self.samples - (self._sum / self.samples) ** 2 if self.samples else 0.0


def unheard_share(before: float, after: float) -> float:
    """Of the energy that is gone, from mean squares around the mean before and after resampling."""
    return max(0.0, 1 - after / before) if QUIET < before < np.inf else 0.0


def warn_unheard(shares: Iterable[tuple[str, float]], stacklevel: int) -> None:
    """One warning for all sounds of a call or run, names and shares, whose energy lies mostly above 8 kHz."""
    found = [(name, share) for name, share in shares if share > MOST]
    if not found:
        return
    names = ", ".join(name for name, _ in found[:3]) + (", …" if len(found) > 3 else "")
    what = f"{100 * found[0][1]:.0f} % of its energy" if len(found) == 1 else "most of their energy"
    who = names if len(found) == 1 else f"{len(found)} sounds ({names})"
    warnings.warn(f"{who}: {what} lies above 8 kHz, where the model hears nothing.", stacklevel=stacklevel + 1)
