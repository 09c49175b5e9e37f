"""Waveform → standardised log-mel spectrogram, by Kaldi's definition, batched and on any device.

Per 25 ms frame: mean removed, pre-emphasis 0.97, symmetric Hann window, power spectrum, 128 triangular mel
bands over 20-8,000 Hz, natural logarithm with floor 1.19e-7, then ``(X - mean) / std`` with two numbers from
the config. Frame t covers samples [160 t, 160 t + 400): no centring and no statistic of the whole clip,
so a spectrogram computed in pieces equals the whole.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, AaSPConfig

PRE_EMPHASIS = 0.97
MIN_HZ, MAX_HZ = 20.0, 8000.0
ENERGY_FLOOR = 1.1920928955078125e-07  # float32's epsilon, as in Kaldi
CACHED_FRAMES = 256  # go through all steps together on a CPU, so that what lies between stays in its cache
MAX_SAMPLE = 1e15  # squares of larger samples overflow float32; real audio stays within 1


class LogMel(nn.Module):
    """Log-mel frontend.

    Args:
        config: gives FFT length, number of bands, mean and standard deviation.
    """

    hann: Tensor
    filters: Tensor

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__()
        self.fft_length = config.fft_length
        self.mean, self.std = config.mean, config.std
        # In float32 as torchaudio has it: the rounding shows 100 dB under a frame's peak, where parity is asked too.
        hann = torch.hann_window(FRAME_LENGTH, periodic=False, dtype=torch.float32)
        filters = mel_filters(config.mels, config.fft_length, config.sample_rate)
        self.register_buffer("hann", hann, persistent=False)
        self.register_buffer("filters", filters.float().to(hann.device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Keep the tables float32 when a model's weights are converted; the device changes."""

        def moved(table: Tensor) -> Tensor:
            other = fn(table)
            return other if other.dtype == table.dtype else table.to(other.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the standardised log-mel of float waveforms at 16 kHz, in +-1.

        Args:
            waveform: (samples,) or (batch, samples); shorter than 400 samples is padded with zeros to 400.
            lengths: (batch,) valid samples of each row; the frames of the rest are zero in the result.

        Returns:
            (frames, mels) or (batch, frames, mels), float32, on the waveform's device; frames = 1 + ⌊(N - 400) / 160⌋.
        """
        if lengths is not None:  # what lies past a sound's end is not read
            waveform = waveform.masked_fill(~length_mask(lengths, waveform.shape[-1]), 0.0)
        if waveform.shape[-1] < FRAME_LENGTH:
            waveform = functional.pad(waveform, (0, FRAME_LENGTH - waveform.shape[-1]))
        with torch.autocast(waveform.device.type, enabled=False):
            log_mel = self._log_mel(waveform.float().clamp(-MAX_SAMPLE, MAX_SAMPLE))
        if lengths is None:
            return log_mel
        return log_mel.masked_fill(~length_mask(self.count_frames(lengths), log_mel.shape[-2])[..., None], 0.0)

    @staticmethod
    def count_frames(lengths: Tensor) -> Tensor:
        """Count the frames of each number of samples; ``windows.count_frames`` for tensors."""
        return 1 + (lengths.clamp(min=FRAME_LENGTH) - FRAME_LENGTH) // FRAME_HOP

    def _log_mel(self, waveform: Tensor) -> Tensor:
        frames = waveform.unfold(-1, FRAME_LENGTH, FRAME_HOP)  # (..., frames, 400), a view
        if waveform.device.type != "cpu":
            return self._of_frames(frames)
        torch.get_num_threads()  # asking makes it MKL's number in this thread, too; another gives other last bits
        at_once = max(1, CACHED_FRAMES // max(1, waveform.shape[:-1].numel()))
        return torch.cat([self._of_frames(piece) for piece in torch.split(frames, at_once, dim=-2)], dim=-2)

    def _of_frames(self, frames: Tensor) -> Tensor:
        frames = frames - frames.mean(dim=-1, keepdim=True)
        scaled = PRE_EMPHASIS * frames
        frames[..., 1:] -= scaled[..., :-1]
        frames[..., :1] -= scaled[..., :1]
        frames *= self.hann
        spectrum = torch.fft.rfft(frames, n=self.fft_length)  # (..., frames, fft_length / 2 + 1)
        power = spectrum.real.square() + spectrum.imag.square()
        energy = torch.matmul(power, self.filters).clamp(min=ENERGY_FLOOR)  # (..., frames, mels)
        return (energy.log() - self.mean) / self.std


class LogMelStream:
    """Log-mel frames of samples that come in blocks; all together equal those of the whole clip.

    Args:
        log_mel: the frontend, on any device. It computes each frame once.
    """

    def __init__(self, log_mel: LogMel) -> None:
        self._log_mel, self._device = log_mel, log_mel.hann.device
        self._tail, self._samples = torch.empty(0, device=self._device), 0

    def push(self, block: NDArray[np.float32] | Tensor) -> Tensor:
        """Take (samples,) float32 mono at 16 kHz; return the frames that are complete, (frames, mels), perhaps none."""
        self._samples += len(block)
        self._tail = torch.cat([self._tail, to_device(block, self._device)])
        if len(self._tail) < FRAME_LENGTH:
            return self._log_mel.filters.new_empty(0, self._log_mel.filters.shape[1])
        piece = self._compute()
        self._tail = self._tail[len(piece) * FRAME_HOP :]
        return piece

    def finish(self) -> Tensor:
        """Return the one frame of a clip shorter than 25 ms, padded with zeros, and warn; no frame of others."""
        if not 0 < self._samples < FRAME_LENGTH:
            return self._log_mel.filters.new_empty(0, self._log_mel.filters.shape[1])
        warnings.warn(
            f"a clip of {self._samples} samples at 16 kHz is shorter than one 25 ms frame; padded with zeros.",
            stacklevel=2,
        )
        return self._compute()

    def _compute(self) -> Tensor:
        with torch.inference_mode():
            piece: Tensor = self._log_mel(self._tail)
        return piece


def to_device(samples: NDArray[np.float32] | Tensor, device: torch.device) -> Tensor:
    """Copy samples to a device; pinned memory lets this thread go on while they travel from the CPU to a GPU."""
    tensor = torch.from_numpy(np.array(samples, order="C")) if isinstance(samples, np.ndarray) else samples
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return a (batch, size) bool mask, true before each of the (batch,) lengths; on their device."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def mel_filters(mels: int, fft_length: int, sample_rate: int) -> Tensor:
    """Compute Kaldi's triangular filters, equally spaced and linear in mel = 1127 ln(1 + f / 700).

    Returns:
        (fft_length / 2 + 1, mels) float64 on the CPU; the bin at the Nyquist frequency has no weight, as in Kaldi.
    """
    low, high = _mel(MIN_HZ), _mel(MAX_HZ)
    edges = torch.linspace(low, high, mels + 2, dtype=torch.float64, device="cpu")
    frequencies = torch.arange(fft_length // 2 + 1, dtype=torch.float64, device="cpu") * sample_rate / fft_length
    bins = (1.0 + frequencies / 700.0).log().mul(1127.0)[:, None]  # (bins, 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    filters[-1] = 0.0
    return filters


def _mel(frequency: float) -> float:
    return 1127.0 * math.log1p(frequency / 700.0)


def band_centres(mels: int) -> Tensor:
    """Return the centre frequencies of the bands in Hz, (mels,)."""
    low, high = _mel(MIN_HZ), _mel(MAX_HZ)
    centres = torch.linspace(low, high, mels + 2, dtype=torch.float64)[1:-1]
    return 700.0 * torch.expm1(centres / 1127.0)


def band_of(frequency: Tensor, mels: int) -> Tensor:
    """Return the bands of frequencies in Hz: b for the centre of band b, fractions between two centres."""
    low, high = _mel(MIN_HZ), _mel(MAX_HZ)
    return (1127.0 * torch.log1p(frequency / 700.0) - low) / (high - low) * (mels + 1) - 1
