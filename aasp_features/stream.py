"""Vectors along time of a live signal: the window plan of whole clips, pushed instead of pulled."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio.reading import check_rate
from aasp_features.audio.resampling import MAX_UNHEARD, Resampler, warn_unheard
from aasp_features.config import FRAME_LENGTH, PATCH, frame_dim
from aasp_features.errors import OptionError
from aasp_features.forked import mind_fork
from aasp_features.inference import FrameEmbeddings, WindowCutter, check_finite, run_network
from aasp_features.inputs import LOUD, InputError, peak_of, scale_to_float, split, warn_loud
from aasp_features.model.log_mel import LogMel, LogMelStream
from aasp_features.model.network import AaSPNetwork
from aasp_features.options import EmbedOptions
from aasp_features.windows import COLUMN_SECONDS, Window, column_time

WAIT_SECONDS = FRAME_LENGTH / 16000
MIN_SECONDS = 10.0  # of signal, before a stream that goes on is checked for energy above 8 kHz


class EmbeddingStream:
    """Stream of vectors: push blocks of a signal, get vectors with their times. ``AaSPEncoder.stream`` opens one.

    All vectors together equal ``encoder.embed_frames(…, window=stream.window, context=stream.context)`` of the whole.
    A window is encoded as soon as the signal has gone one frame past its end. So a vector comes out at most the
    requested latency after its column began, plus the rest of a block (and 20 ms of a resampler). ``finish`` returns
    the last ones.

    Args:
        log_mel, network: of the encoder.
        options: of the stream: pooling, last layers, window, context, precision.
        rate: of the blocks, in Hz.

    Attributes:
        window, context: in columns of 160 ms.

    Raises:
        OptionError: a rate that is not accepted.
    """

    def __init__(self, log_mel: LogMel, network: AaSPNetwork, options: EmbedOptions, rate: int) -> None:
        self.rate = check_rate(rate)
        self.window, self.context = options.window, options.context
        self._network, self._options = network, options
        self._resampler = Resampler(self.rate, network.config.sample_rate)
        self._log_mel = LogMelStream(log_mel)
        self._cutter = WindowCutter[Tensor](options.window, options.context, torch.cat)
        self._samples, self._columns, self._finished = 0, 0, False
        self._warned_loud = self._warned_unheard = False

    @property
    def seconds(self) -> float:
        """Seconds of signal taken so far."""
        return self._samples / self.rate

    def push(self, block: Any) -> FrameEmbeddings:
        """Take the next samples of the signal.

        Args:
            block: (samples,) or (samples, 1) array or tensor, mono, of any length; integers are scaled by their dtype's
                range.

        Returns:
            The vectors that are complete, none or more: (T, d) float32 and their times, numpy.

        Raises:
            InputError: not mono samples, NaN, or the stream was finished. The stream can go on after it.
            VectorError: the network answers with NaN or infinite numbers.
        """
        if self._finished:
            raise InputError("this stream was finished; open a new one for a new signal.")
        mind_fork()
        samples, peak = _samples(block)
        if peak > LOUD and not self._warned_loud:
            self._warned_loud = True
            warn_loud([("the stream", peak)], stacklevel=3)
        self._samples += len(samples)
        if self.seconds >= MIN_SECONDS:
            self._check_unheard()
        resampled = map(self._resampler.push, split(samples, self.rate))
        return self._encode(chain.from_iterable(map(self._cutter.push, map(self._log_mel.push, resampled))))

    def finish(self) -> FrameEmbeddings:
        """End the signal and return its last vectors.

        Raises:
            InputError: no sample was pushed, or the stream was finished before.
        """
        if self._finished or self._samples == 0:
            raise InputError("this stream was finished before." if self._finished else "no sample was pushed.")
        mind_fork()
        self._finished = True
        self._check_unheard()
        rest = self._log_mel.push(self._resampler.finish())
        return self._encode(
            [*self._cutter.push(rest), *self._cutter.push(self._log_mel.finish()), *self._cutter.finish()]
        )

    def _check_unheard(self) -> None:
        """Warn, once, if most energy so far lies above 8 kHz."""
        if not self._warned_unheard and self._resampler.unheard > MAX_UNHEARD:
            self._warned_unheard = True
            warn_unheard([("the stream", self._resampler.unheard)], stacklevel=3)

    def _encode(self, windows: Iterable[Window[Tensor]]) -> FrameEmbeddings:
        config = self._network.config
        vectors = [np.empty((0, frame_dim(config.dim, config.rows, self._options.pooling)), np.float32)]
        for window in windows:
            (columns,) = run_network(self._network, self._options, [window])
            vectors.append(check_finite(columns, "the stream").vectors)
        first, self._columns = self._columns, self._columns + sum(map(len, vectors))
        frames = self._cutter.frames if self._finished else PATCH * self._columns
        times = [column_time(frames, column) for column in range(first, self._columns)]
        return FrameEmbeddings(np.concatenate(vectors), np.asarray(times, np.float64))


def window_of_latency(latency: float | None, window: int, context: int) -> tuple[int, int]:
    """Return the window and context, in columns, whose vectors are never later than ``latency`` seconds.

    Args:
        latency: in seconds; a window waits for the one 25 ms frame that starts past its end. None sets no limit.
        window: the largest allowed.
        context: the largest allowed.

    Raises:
        OptionError: too short for a window of 3 columns.
    """
    if latency is None:
        return window, context
    window = min(int((latency - WAIT_SECONDS) / COLUMN_SECONDS + 1e-9), window)
    if window < 3:
        least = 3 * COLUMN_SECONDS + WAIT_SECONDS
        raise OptionError(f"latency must be at least {least:.3f} seconds, got {latency!r}.")
    return window, min(context, window // 4)


def _samples(block: Any) -> tuple[NDArray[np.float32], float]:
    """Return a block as float32, and its peak."""
    if isinstance(block, torch.Tensor):
        block = block.detach().cpu()
        block = block.float() if block.dtype == torch.bfloat16 else block  # numpy has no bfloat16
    array = np.asarray(block)
    if array.ndim == 2 and array.shape[1] == 1:  # as sound cards' libraries give it
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"a block of a stream is mono samples, 1-D or (samples, 1), got shape {array.shape}.")
    samples = scale_to_float(array, "the block")
    peak = peak_of(samples) if len(samples) else 0.0
    if not np.isfinite(peak):
        raise InputError("the block holds NaN or infinite samples.")
    return samples, peak
