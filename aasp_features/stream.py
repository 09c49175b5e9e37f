"""Frames of a live signal, as it comes: the window plan of whole clips, pushed instead of pulled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio.reading import Resampler, check_rate
from aasp_features.audio.unheard import MOST, warn_unheard
from aasp_features.config import FRAME_LENGTH, PATCH, frame_dim
from aasp_features.errors import OptionError
from aasp_features.forked import mind_fork
from aasp_features.inference import FrameEmbeddings, FrameVectors, check_finite, run_network
from aasp_features.inputs import LOUD, InputError, peak_of, scale_to_float, split, warn_loud
from aasp_features.model.log_mel import LogMel, LogMelStream
from aasp_features.model.network import AaSPNetwork
from aasp_features.options import EmbedOptions
from aasp_features.windows import COLUMN_SECONDS, CutWindow, WindowCutter, column_time

WAIT_SECONDS = FRAME_LENGTH / 16000
HEARD_SECONDS = 10.0  # of signal, before a stream that goes on is judged


class EmbeddingStream:
    """Push blocks of a signal, get vectors with their times; ``AaSPEncoder.stream`` opens one.

    All together they equal ``encoder.embed_frames(…, window=stream.window, context=stream.context)`` of the whole. A
    window is encoded as soon as the signal has gone one frame past its end: a vector comes out at most the latency that
    was asked for after its column began, and the rest of a block (and of a resampler: 20 ms). The last ones come from
    ``finish``.

    Args:
        log_mel, network: of the encoder.
        options: of the stream: pooling, last layers, window, context, precision.
        rate: of the blocks, in Hz.

    Attributes:
        window, context: in columns of 160 ms.

    Raises:
        OptionError: a rate that is not one.
    """

    def __init__(self, log_mel: LogMel, network: AaSPNetwork, options: EmbedOptions, rate: int) -> None:
        self.rate = check_rate(rate)
        self.window, self.context = options.window, options.context
        self._network, self._options, config = network, options, network.config
        self._resampler = Resampler(self.rate, config.sample_rate)
        self._log_mel = LogMelStream(log_mel)
        self._cutter = WindowCutter[Tensor](options.window, options.context, torch.cat)
        self._samples, self._columns, self._finished, self._loud = 0, 0, False, False
        self._unheard = False
        self._width = frame_dim(config.dim, config.rows, options.pooling)

    @property
    def seconds(self) -> float:
        """Of signal taken so far."""
        return self._samples / self.rate

    def push(self, block: Any) -> FrameEmbeddings:
        """Take the next samples of the signal.

        Args:
            block: (samples,) array or tensor, mono, of any length; integers are scaled by their dtype's range.

        Returns:
            The frames that are complete, none or more: (T, d) float32 and their times, numpy.

        Raises:
            InputError: not mono samples, NaN, or the stream was finished. The stream can go on after it.
            VectorError: the network answers with NaN or infinite numbers.
        """
        if self._finished:
            raise InputError("this stream was finished; open a new one for a new signal.")
        mind_fork()
        samples, peak = _samples(block)
        if peak > LOUD and not self._loud:
            self._loud = True
            warn_loud([("the stream", peak)], stacklevel=3)
        self._samples += len(samples)
        if self.seconds >= HEARD_SECONDS:
            self._check_heard()
        return self._encode(window for one in split(samples, self.rate) for window in self._windows(one))

    def _check_heard(self) -> None:
        """Warn, once, if most energy so far lies where the model hears nothing."""
        if not self._unheard and self._resampler.unheard > MOST:
            self._unheard = True
            warn_unheard([("the stream", self._resampler.unheard)], stacklevel=3)

    def _windows(self, samples: NDArray[np.float32]) -> Iterator[CutWindow[Tensor]]:
        return self._cutter.push(self._log_mel.push(self._resampler.push(samples)))

    def finish(self) -> FrameEmbeddings:
        """End the signal and take its last frames.

        Raises:
            InputError: no sample was pushed, or the stream was finished before.
        """
        if self._finished or self._samples == 0:
            raise InputError("this stream was finished before." if self._finished else "no sample was pushed.")
        mind_fork()
        self._finished = True
        self._check_heard()
        pieces = [self._log_mel.push(self._resampler.finish()), self._log_mel.finish()]
        windows = [window for piece in pieces for window in self._cutter.push(piece)]
        return self._encode([*windows, *self._cutter.finish()])

    def _encode(self, windows: Iterable[CutWindow[Tensor]]) -> FrameEmbeddings:
        given = FrameVectors()
        for window in windows:
            for columns in run_network(self._network, self._options, [window]):
                given.add(check_finite(columns, "the stream"))
        if not given.parts:
            return FrameEmbeddings(np.empty((0, self._width), np.float32), np.empty(0))
        vectors = given.vectors()
        first, self._columns = self._columns, self._columns + len(vectors)
        frames = PATCH * self._columns if not self._finished else self._cutter.frames
        times = [column_time(frames, column) for column in range(first, self._columns)]
        return FrameEmbeddings(vectors, np.asarray(times))


def window_of_latency(latency: float | None, window: int, context: int) -> tuple[int, int]:
    """Window and context, in columns, whose vectors are never later than ``latency`` seconds.

    Args:
        latency: seconds; a window waits for the one 25 ms frame that starts past its end. None is any.
        window, context: the largest allowed.

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
    """A block as float32, and its peak."""
    if isinstance(block, torch.Tensor):
        block = block.detach().cpu()
        block = block.float() if block.dtype == torch.bfloat16 else block  # which numpy has not
    array = np.asarray(block)
    if array.ndim != 1:
        raise InputError(f"a block of a stream is 1-D mono samples, got shape {array.shape}.")
    samples = scale_to_float(array, "the block")
    peak = peak_of(samples) if len(samples) else 0.0
    if not np.isfinite(peak):
        raise InputError("the block holds NaN or infinite samples.")
    return samples, peak
