"""Resampling: by soxr in blocks on the CPU, by torchaudio for waveforms that are on a GPU and stay there.

Both measure the share of a sound's energy above half the new rate, where the model hears nothing, on the samples before
and after: what is gone lay above. A constant offset does not count.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

MAX_UNHEARD = 0.5  # of the energy, without a warning
QUIET = 1e-8  # of full scale's square: what lies below -80 dB is taken for silence
CHUNK = 2**15  # samples at once, which stay in a processor's cache
EDGE = 160  # samples at the ends of what was resampled, where a constant offset rings
KAISER_BEST = {  # as resampy calls it: the stop band lies under -115 dB
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
MAX_PHASES = 2000  # of the GPU's resampler; odd rates such as 44,101 Hz would have 16,000, of gigabytes


class Resampler:
    """A mono sound in blocks -> the same at another rate; n > 0 samples in give at least 1 out.

    Args:
        rate: of what goes in, in Hz.
        sample_rate: of what comes out, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        self._same, self._down = rate == sample_rate, rate > sample_rate
        self._given, self._last = 0, np.empty(0, np.float32)
        self._before, self._after = _Power(), _Power()
        self._held, self._left_out = np.empty(0, np.float32), EDGE

    @property
    def unheard(self) -> float:
        """Share of the energy so far that lies above half of ``sample_rate``, 0 to 1; 0 where there is hardly any."""
        return _share_gone(self._before.value, self._after.value) if self._after.samples else 0.0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (samples,) float32; return those that are ready."""
        if self._same or len(block) == 0:
            return block
        out: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        self._given, self._last = self._given + len(out), block[-1:]
        self._measure(block, out)
        return out

    def finish(self) -> NDArray[np.float32]:
        """Return the rest."""
        if self._same or len(self._last) == 0:
            return np.empty(0, np.float32)
        rest: NDArray[np.float32] = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        if self._given + len(rest) == 0:  # fewer samples in than one sample out: keep the sound's last value
            rest = self._last.copy()
        self._measure(self._last[:0], rest)
        return rest

    def _measure(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
        """Add to the energies, without the edges of what was resampled."""
        if not self._down:
            return
        self._before.add(before)
        ready = np.concatenate([self._held, after])
        ready, self._held = ready[:-EDGE], ready[-EDGE:]
        self._after.add(ready[self._left_out :])
        self._left_out -= min(self._left_out, len(ready))


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


def _share_gone(before: float, after: float) -> float:
    return max(0.0, 1 - after / before) if QUIET < before < np.inf else 0.0


def resample_blocks(blocks: Iterable[NDArray[np.float32]], resampler: Resampler) -> Iterator[NDArray[np.float32]]:
    """Resample a mono sound block by block; see ``Resampler``."""
    for block in blocks:
        if len(out := resampler.push(block)):
            yield out
    if len(rest := resampler.finish()):
        yield rest


def warn_unheard(shares: Iterable[tuple[str, float]], stacklevel: int) -> None:
    """Warn once for all sounds of a call or run, names and shares, whose energy lies mostly above 8 kHz."""
    found = [(name, share) for name, share in shares if share > MAX_UNHEARD]
    if not found:
        return
    names = ", ".join(name for name, _ in found[:3]) + (", …" if len(found) > 3 else "")
    what = f"{100 * found[0][1]:.0f} % of its energy" if len(found) == 1 else "most of their energy"
    who = names if len(found) == 1 else f"{len(found)} sounds ({names})"
    warnings.warn(f"{who}: {what} lies above 8 kHz, where the model hears nothing.", stacklevel=stacklevel + 1)


@cache
def gpu_resample() -> Callable[..., Tensor] | None:
    """Return ``torchaudio.functional.resample``, of the extra ``gpu``; None where it is missing or does not load."""
    try:
        resample: Callable[..., Tensor] = importlib.import_module("torchaudio.functional").resample
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return resample


def stays_on_device(waveform: Tensor, rate: int, sample_rate: int) -> bool:
    """Return whether a tensor can be resampled where it is; else it takes the CPU's path."""
    kind = waveform.dtype
    sound = kind.is_floating_point or (kind.is_signed and not kind.is_complex and kind.itemsize <= 4)
    phases = sample_rate // gcd(rate, sample_rate)
    possible = rate == sample_rate or (phases <= MAX_PHASES and gpu_resample() is not None)
    return waveform.device.type != "cpu" and sound and possible


def resample_on_device(
    waveform: Tensor, rate: int, sample_rate: int, channel_axis: int | None = None
) -> tuple[Tensor, float]:
    """Scale, mix down and resample a waveform on its device.

    Args:
        waveform: (samples,), or with channels; floats, or signed integers, which are scaled by their dtype's range.
        rate: of the waveform, in Hz.
        sample_rate: wanted, in Hz.
        channel_axis: averaged over; None where there is none.

    Returns:
        (samples,) float32, and the share of its energy that is gone; see ``Resampler.unheard``.
    """
    full_scale = 1.0 if waveform.is_floating_point() else 2.0 ** (8 * waveform.itemsize - 1)
    samples = waveform.detach().float() / full_scale
    if channel_axis is not None:
        samples = samples.mean(dim=channel_axis)
    resample: Any = gpu_resample()
    if rate == sample_rate or resample is None:
        return samples, 0.0
    out = resample(samples, rate, sample_rate, **KAISER_BEST)
    inner = out[EDGE : len(out) - EDGE]
    if rate < sample_rate or not len(inner):
        return out, 0.0
    return out, _share_gone(*(float(one.var(correction=0)) for one in (samples, inner)))
