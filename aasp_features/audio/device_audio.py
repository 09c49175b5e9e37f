"""Waveforms that lie on a GPU: scaled, mixed down and resampled there, so that they never travel to the CPU and back.

Resampling is torchaudio's, which the extra ``gpu`` installs. Where torchaudio is missing or does not load, the waveform
takes the CPU's path to soxr, which leaves less of what lies past the new Nyquist frequency.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from math import gcd
from typing import Any

import torch
from torch import Tensor

from aasp_features.audio.unheard import EDGE, unheard_share

FULL_SCALE = {torch.int8: 2.0**7, torch.int16: 2.0**15, torch.int32: 2.0**31}
KAISER_BEST = {  # as resampy calls it: the stop band lies under -115 dB
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
LARGEST_KERNEL = 2000  # phases of the resampler; odd rates such as 44,101 Hz would have 16,000, of gigabytes


@cache
def resampler() -> Callable[..., Tensor] | None:
    """Return ``torchaudio.functional.resample``; None where torchaudio is missing or does not load."""
    try:
        resample: Callable[..., Tensor] = importlib.import_module("torchaudio.functional").resample
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return resample


def stays_on_device(waveform: Any, rate: int, sample_rate: int) -> bool:
    """Can this be brought to ``sample_rate`` where it lies? Else it takes the CPU's path."""
    on_gpu = waveform.device.type != "cpu" and (waveform.is_floating_point() or waveform.dtype in FULL_SCALE)
    phases = sample_rate // gcd(rate, sample_rate)
    return on_gpu and (rate == sample_rate or (phases <= LARGEST_KERNEL and resampler() is not None))


def to_rate(waveform: Tensor, rate: int, sample_rate: int, channel_axis: int | None = None) -> Tensor:
    """Mono float32 samples at another rate, on the waveform's device.

    Args:
        waveform: (samples,), or with channels; floats, or signed integers, which are scaled by their dtype's range.
        rate, sample_rate: of the waveform, and wanted; in Hz.
        channel_axis: averaged over; None where there is none.

    Returns:
        (samples,) float32.
    """
    samples = waveform.detach().float() / FULL_SCALE.get(waveform.dtype, 1.0)
    if channel_axis is not None:
        samples = samples.mean(dim=channel_axis)
    resample = resampler()
    if rate == sample_rate or resample is None:
        return samples
    return resample(samples, rate, sample_rate, **KAISER_BEST)


def share_lost(before: Tensor, after: Tensor) -> float:
    """Of a waveform's energy, by resampling; as ``UnheardEnergy`` has it."""
    inner = after[EDGE : len(after) - EDGE]
    return unheard_share(*(float(one.var(correction=0)) for one in (before, inner))) if len(inner) else 0.0
