"""The input grammar of every embed call: arrays, tensors, (array, rate), dicts, paths, files, and lists of them."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio.reading import check_rate, stream_audio
from aasp_features.audio.resampling import Resampler, resample_blocks, resample_on_device, stays_on_device
from aasp_features.errors import AaSPError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float32], "Tensor")
SingleSound = (  # forms that are one sound, never a batch
    str | os.PathLike[str] | bytes | bytearray | BinaryIO | tuple[Any, Any] | Mapping[str, Any]
)
BYTES = (bytes, bytearray, memoryview)
BLOCK_SECONDS, MAX_BLOCK = 20, 20 * 16000  # samples resampled at once, whose result is bounded at any rate
LOUD = 8.0  # 18 dB over full scale: float recordings go above 1, but not so far; 8-bit numbers held in floats reach 127
MAX_CHANNELS = 8
NO_FULL_SCALE = (
    "whole numbers of no stated range have no full scale; give np.asarray(samples, np.int16) if they are 16-bit "
    "samples, or divide them by what full scale is (32768.0)"
)
NOT_FINITE = "holds NaN or infinite samples, or numbers beyond float32; repair the sound."
ACCEPTED = (
    "a 1-D array or tensor, (array, rate), {'array': …, 'sampling_rate': …}, a path, an open file or its bytes, or a "
    "list or column of these; a 2-D float array is a batch"
)
KEYS = "'array' and 'sampling_rate', or 'bytes', or 'path'"
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class InputError(AaSPError, ValueError):
    """An input that cannot be embedded; the sentence says what was given and what is accepted."""


@dataclass
class Clip:
    """One input of an embed call, read when it is needed.

    Attributes:
        name: for messages: its index in the input, or its path.
        source: a path, an open file, or a decoder; (samples,) float32 mono samples; or these on a GPU, a tensor, at the
            model's rate already.
        rate: of the samples; not used for others.
        model_rate: rate that ``blocks`` yields.
        unheard: share of its energy above half the model's rate, once ``blocks`` were read.
    """

    name: str
    source: Any
    rate: int
    model_rate: int
    unheard: float = 0.0

    def blocks(self) -> Iterator[NDArray[np.float32] | Tensor]:
        """Yield (samples,) float32 mono blocks at the model's rate."""
        source, rate = self.source, self.rate
        if isinstance(source, str) or hasattr(source, "read"):
            stream = stream_audio(source, self.model_rate)
            yield from stream
            self.unheard = stream.info.unheard
        elif _is_tensor(source):
            yield from split(source, rate)
        else:
            if hasattr(source, "get_all_samples"):
                decoded = source.get_all_samples()
                source, rate = decoded.data.mean(dim=0).numpy(), check_rate(decoded.sample_rate)
            resampler = Resampler(rate, self.model_rate)
            yield from resample_blocks(split(source, rate), resampler)
            self.unheard = resampler.unheard


def split(samples: Array, rate: int) -> Iterator[Array]:
    """Cut samples into blocks of at most 20 s, and of as many samples as 20 s have at 16 kHz."""
    block = min(BLOCK_SECONDS * rate, MAX_BLOCK)
    return (samples[start : start + block] for start in range(0, len(samples), block))


@dataclass
class Inputs:
    """The input of a call.

    Attributes:
        clips: in order.
        single: one clip, so the result has no batch axis.
        as_tensor: results are tensors, as any input was one.
        device: of the results.
    """

    clips: list[Clip]
    single: bool
    as_tensor: bool
    device: Any


def read_inputs(
    inputs: Any, sample_rate: int | None = None, channel_axis: int | None = None, model_rate: int = 16000
) -> Inputs:
    """Understand the input of an embed call.

    Args:
        inputs: see the module; lists may mix forms and lengths.
        sample_rate: of raw arrays, in Hz; None means ``model_rate``.
        channel_axis: axis of channels in raw arrays, which are averaged over it.
        model_rate: what clips will be resampled to.

    Raises:
        InputError: not one of the accepted forms, no samples, NaN, a wrong dtype or number of dimensions, or a "batch"
            that looks like channels in columns.
        OptionError: a sample rate that is not one.
    """
    reader = _Reader(None if sample_rate is None else check_rate(sample_rate), channel_axis, model_rate)
    single, inputs = False, _plain(inputs)
    if isinstance(inputs, list) and not _is_numbers(inputs):
        clips = [reader.clip(item, f"clip {index}") for index, item in enumerate(inputs)]
    elif _is_array(inputs) and inputs.ndim == (2 if channel_axis is None else 3):
        reader.channel_axis = _channels_of_rows(inputs, channel_axis)
        clips = [reader.clip(row, f"row {index}") for index, row in enumerate(inputs)]
    else:
        clips, single = [reader.clip(inputs, "the input")], True
    if len(reader.devices) > 1:
        raise InputError(f"tensors of one call must lie on one device, got {sorted(map(str, reader.devices))}.")
    if reader.loud:
        warn_loud(reader.loud, stacklevel=4)  # where embed was called
    return Inputs(clips, single, bool(reader.devices), next(iter(reader.devices), None))


def _channels_of_rows(batch: Any, channel_axis: int | None) -> int | None:
    """Check an array of (batch, samples), or with channels; return the axis of channels in its rows."""
    if channel_axis is not None:
        if channel_axis not in (1, 2, -1, -2):
            raise InputError(f"channel_axis of a 3-D batch must be 1 or 2, got {channel_axis}; axis 0 is the batch.")
        return channel_axis % 3 - 1
    if not _is_tensor(batch) and batch.dtype.kind in "OUST":
        raise InputError(
            f"a table of {batch.shape[1]} columns holds no sounds; give one column, such as table['path']."
        )
    if not (batch.is_floating_point() if _is_tensor(batch) else batch.dtype.kind == "f"):
        raise InputError(
            f"a 2-D array of {batch.dtype} is ambiguous: a batch is 2-D float; for channels give channel_axis."
        )
    if batch.shape[1] <= MAX_CHANNELS < batch.shape[0]:
        raise InputError(
            f"an array of shape {tuple(batch.shape)} looks like {batch.shape[0]} samples of {batch.shape[1]} "
            "channels: give channel_axis=1; if its rows are clips, give a list of them."
        )
    if len(batch) == 2 and batch.shape[1] > MAX_CHANNELS:
        warnings.warn(
            f"an array of shape {tuple(batch.shape)} is two clips; if its rows are the channels of one sound, give "
            "channel_axis=0; a list of its rows is two clips without this warning.",
            stacklevel=4,
        )
    return None


def check_waveform(waveform: Any, lengths: Any, device: Any) -> None:
    """Check the arguments of ``AaSPEncoder.forward``.

    Raises:
        InputError: anything but a float tensor (batch, samples) on the encoder's device, at least 1 row, and integer
            lengths (batch,) within the rows, or None.
    """
    if not _is_tensor(waveform) or waveform.ndim != 2 or not waveform.is_floating_point() or len(waveform) == 0:
        raise InputError(
            f"forward takes a 2-D float tensor (batch, samples) at 16 kHz, got {_describe(waveform)}; embed takes "
            "arrays, files and single sounds."
        )
    if lengths is not None and (
        not _is_tensor(lengths) or tuple(lengths.shape) != (len(waveform),) or "int" not in str(lengths.dtype)
    ):
        raise InputError(f"lengths must be an integer tensor of {len(waveform)} rows, got {_describe(lengths)}.")
    if lengths is not None:
        low, high = map(int, lengths.aminmax())
        if not 1 <= low <= high <= waveform.shape[1]:
            raise InputError(f"lengths must be 1 to {waveform.shape[1]} samples, got {low} to {high}.")
    if waveform.device != device:
        raise InputError(f"the waveform lies on {waveform.device}, the encoder on {device}; move one of them by .to().")


class _Reader:
    """Reads one clip after the other; remembers the devices of tensors, and names and peaks of loud clips."""

    def __init__(self, sample_rate: int | None, channel_axis: int | None, model_rate: int) -> None:
        self.sample_rate, self.channel_axis, self.model_rate = sample_rate, channel_axis, model_rate
        self.devices: set[Any] = set()
        self.loud: list[tuple[str, float]] = []

    def clip(self, item: Any, name: str) -> Clip:
        if isinstance(item, (str, os.PathLike)):
            path = os.fsdecode(item)
            if URL.match(path):
                raise InputError(f"{path}: sounds are not downloaded; download it, and give the path or the bytes.")
            return Clip(path, path, 0, self.model_rate)
        if isinstance(item, BYTES):
            return Clip(name, _named(io.BytesIO(item), name), 0, self.model_rate)
        if hasattr(item, "read"):
            return Clip(name, _seekable(item, name), 0, self.model_rate)
        if hasattr(item, "get_all_samples"):  # of torchcodec, and of a data set's column; decoded in its turn
            return Clip(name, item, 0, self.model_rate)
        if hasattr(item, "sample_rate") and _is_tensor(getattr(item, "data", None)):  # torchcodec's AudioSamples
            return self._samples(item.data.mean(dim=0), self._rate(item.sample_rate, name), name)
        if isinstance(item, Mapping):
            if {"array", "sampling_rate"} <= set(item):
                return self._samples(item["array"], self._rate(item["sampling_rate"], name), name)
            held = item.get("path") if item.get("bytes") is None else item["bytes"]
            if held is None:
                raise InputError(f"{name}: a dict needs {KEYS}, got keys {sorted(map(str, item))}.")
            return self.clip(held, str(item.get("path") or name))
        if isinstance(item, tuple):
            if len(item) != 2 or (_is_array(item[1]) and item[1].ndim) or isinstance(item[0], (str, os.PathLike)):
                given = _describe(item)
                raise InputError(f"{name}: a tuple is (array, rate), got {given}; use a list for several clips.")
            return self._samples(item[0], self._rate(item[1], name), name)
        return self._samples(item, self.sample_rate or self.model_rate, name)

    def _rate(self, given: Any, name: str) -> int:
        try:
            rate = check_rate(given)
        except OptionError as error:
            raise OptionError(f"{name}: {error}") from None
        if self.sample_rate not in (None, rate):
            raise InputError(f"{name}: says {rate} Hz, but sample_rate={self.sample_rate} was given; drop one of them.")
        return rate

    def _samples(self, item: Any, rate: int, name: str) -> Clip:
        if _is_numbers(item):
            if all(isinstance(number, int) for number in item):
                raise InputError(f"{name}: {NO_FULL_SCALE}.")
            item = np.asarray(item, np.float32)
        item = _plain(item)
        if not _is_array(item):
            raise InputError(f"{name}: got {_describe(item)}; accepted are {ACCEPTED}.")
        self._check_shape(tuple(item.shape), name)
        if _is_tensor(item):
            self.devices.add(item.device)
            if stays_on_device(item, rate, self.model_rate):
                samples, unheard = resample_on_device(item, rate, self.model_rate, self.channel_axis)
                self._check_peak(float(samples.abs().max()), name)
                return Clip(name, samples, self.model_rate, self.model_rate, unheard)
            item = item.detach().cpu()
            item = (item.float() if item.is_floating_point() and item.itemsize < 4 else item).numpy()
        mono = scale_to_float(item, name)
        if self.channel_axis is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # said below
                mono = mono.mean(axis=self.channel_axis, dtype=np.float32)
        self._check_peak(peak_of(mono), name)
        return Clip(name, mono, rate, self.model_rate)

    def _check_shape(self, shape: tuple[int, ...], name: str) -> None:
        if 0 in shape:
            raise InputError(f"{name}: shape {shape} holds no samples; a sound has at least 1.")
        wanted = 1 if self.channel_axis is None else 2
        if len(shape) != wanted:
            hint = "channels need channel_axis=" if wanted == 1 else "with channel_axis an array is 2-D"
            raise InputError(f"{name}: shape {shape} is not {wanted}-D; accepted are {ACCEPTED}; {hint}.")
        if self.channel_axis is not None and not -2 <= self.channel_axis < 2:
            raise InputError(f"{name}: channel_axis must be one of the array's 2 axes, got {self.channel_axis}.")

    def _check_peak(self, peak: float, name: str) -> None:
        if not np.isfinite(peak):
            raise InputError(f"{name}: {NOT_FINITE}")
        if peak > LOUD:
            self.loud.append((name, peak))


def peak_of(samples: NDArray[np.float32]) -> float:
    """Return the largest absolute value of at least one sample; not finite if any is not."""
    return float(np.maximum(samples.max(), -samples.min()))


def warn_loud(loud: Sequence[tuple[str, float]], stacklevel: int) -> None:
    """Warn once for all clips of a call, names and peaks, far beyond full scale; they are taken as given."""
    name, peak = loud[0]
    more = f" (and {len(loud) - 1} more like it)" if len(loud) > 1 else ""
    warnings.warn(
        f"{name}: floats up to {peak:.4g} where full scale is 1{more}; if these are integers held in floats, divide "
        "them by their full scale (32768 for 16 bits) or give them as integers.",
        stacklevel=stacklevel,
    )


def scale_to_float(array: NDArray[Any], name: str = "array") -> NDArray[np.float32]:
    """Return samples as float32: floats unchanged, integers divided by their dtype's range, so that full scale is +-1.

    uint8 has its zero at 128. int64 is what Python's integers become, whatever was recorded, so its range says nothing.

    Raises:
        InputError: int64, bool, complex, other dtypes.
    """
    kind = array.dtype
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if kind == np.uint8:
        centred: NDArray[np.float32] = (array.astype(np.float32) - np.float32(128)) / np.float32(128)
        return centred
    if kind == np.int64:
        raise InputError(f"{name}: {NO_FULL_SCALE}.")
    if kind in (np.int8, np.int16, np.int32):
        return (array.astype(np.float64) / 2.0 ** (8 * kind.itemsize - 1)).astype(np.float32)
    raise InputError(f"{name}: samples of {kind} are not sound; give float or signed integers (or uint8).")


def _plain(held: Any) -> Any:
    """Return a column (Series, Arrow, data set) as an array, or as a list if it holds objects; others as they are."""
    if not _is_array(held) and hasattr(held, "__array__") and hasattr(held, "__len__"):
        held = np.asarray(held)
    if isinstance(held, np.ndarray) and held.ndim == 1 and held.dtype.kind in "OUST":
        return held.tolist()
    return list(held) if isinstance(held, Sequence) and not isinstance(held, (str, *BYTES, tuple)) else held


def _seekable(file: BinaryIO, name: str) -> BinaryIO:
    """Return an open file, read into memory where it cannot be sought in."""
    if getattr(file, "closed", False):
        raise InputError(f"{name}: a closed file; open it again.")
    if not isinstance(file.read(0), bytes):
        raise InputError(f"{name}: a file opened as text; open it as binary (mode 'rb').")
    if hasattr(file, "seek") and (not hasattr(file, "seekable") or file.seekable()):
        return file
    return _named(io.BytesIO(file.read()), name)


def _named(file: io.BytesIO, name: str) -> io.BytesIO:
    file.name = name  # what messages call it
    return file


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray) or _is_tensor(item)


def _is_tensor(item: Any) -> bool:
    """Return False without importing torch: where it was not imported, there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(item, torch.Tensor)


def _is_numbers(item: Any) -> bool:
    """Return whether this is a flat list of numbers, which is one waveform."""
    return (
        isinstance(item, list)
        and bool(item)
        and all(isinstance(x, (int, float)) and x is not True and x is not False for x in item)
    )


def _describe(item: Any) -> str:
    if isinstance(item, tuple):
        return f"a tuple of {len(item)} ({', '.join(type(part).__name__ for part in item)})"
    if _is_array(item):
        return f"a {type(item).__name__} of {item.dtype}, shape {tuple(item.shape)}"
    return f"{type(item).__name__}"
