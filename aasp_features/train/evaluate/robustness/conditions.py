"""Changes of test sounds: cut, noise, telephone band, codec and gain."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.audio.reading import load_audio
from aasp_features.train.evaluate.methods import Waveform

Change = Callable[[Waveform, int, np.random.Generator], Waveform]
TELEPHONE_HZ = 300.0, 3400.0
MIN_HZ = 20.0  # pink noise would have most of its power at inaudible frequencies
OPUS_RATE = 48_000  # Hz; the codec's rate
OPUS_BITS = 16_000  # bit/s


@dataclass(frozen=True)
class Condition:
    """A name for tables, and a function of (samples,), a rate in Hz and a noise generator that returns samples."""

    name: str
    change: Change


def cut(waveform: Waveform, rate: int, generator: np.random.Generator, *, seconds: float) -> Waveform:
    """Cut the middle of a sound; shorter sounds stay whole."""
    wanted = max(1, round(seconds * rate))
    first = max(0, (len(waveform) - wanted) // 2)
    return waveform[first : first + wanted]


def with_noise(waveform: Waveform, rate: int, generator: np.random.Generator, *, decibels: float) -> Waveform:
    """Add pink noise from 20 Hz on, ``decibels`` below the sound's power; silence stays."""
    spectrum = np.fft.rfft(generator.standard_normal(len(waveform)))
    frequencies = np.fft.rfftfreq(len(waveform), 1 / rate)
    audible = frequencies >= MIN_HZ
    noise = np.fft.irfft(spectrum * audible / np.sqrt(np.maximum(frequencies, MIN_HZ)), len(waveform))
    power, noise_power = np.mean(np.square(waveform, dtype=np.float64)), np.mean(noise**2)
    scale = np.sqrt(power / max(noise_power, 1e-30)) * 10 ** (-decibels / 20)
    return np.asarray(waveform + scale * noise, np.float32)


def telephone(waveform: Waveform, rate: int, generator: np.random.Generator) -> Waveform:
    """Keep only 300 to 3,400 Hz."""
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    frequencies = np.fft.rfftfreq(len(waveform), 1 / rate)
    spectrum[(frequencies < TELEPHONE_HZ[0]) | (frequencies > TELEPHONE_HZ[1])] = 0.0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def through_opus(waveform: Waveform, rate: int, generator: np.random.Generator) -> Waveform:
    """Code at 16 kbit/s and decode; the length stays."""
    given = resampled(waveform, rate, OPUS_RATE)
    decoded = load_audio(io.BytesIO(opus_file(fitted(given, max(1, len(given))))), OPUS_RATE)
    return fitted(resampled(decoded, OPUS_RATE, rate), len(waveform))


def resampled(waveform: Waveform, rate: int, other: int) -> Waveform:
    """Resample to another rate."""
    return waveform if rate == other else np.asarray(soxr.resample(waveform, rate, other), np.float32)


def opus_file(waveform: Waveform) -> bytes:
    """Encode (samples,) at ``OPUS_RATE`` as an Ogg file."""
    content = io.BytesIO()
    with av.open(content, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=OPUS_RATE, layout="mono")
        stream.bit_rate = OPUS_BITS
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform[None]), format="flt", layout="mono")
        frame.sample_rate = OPUS_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return content.getvalue()


def fitted(waveform: Waveform, length: int) -> NDArray[np.float32]:
    """Append zeros or remove samples at the end."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def amplified(waveform: Waveform, rate: int, generator: np.random.Generator, *, decibels: float) -> Waveform:
    """Amplify without clipping at full scale."""
    return (waveform * 10 ** (decibels / 20)).astype(np.float32)


CONDITIONS = (
    *(Condition(f"cut to {seconds:g} s", partial(cut, seconds=seconds)) for seconds in (0.25, 0.5, 1.0, 2.0, 5.0)),
    *(Condition(f"noise at {db} dB SNR", partial(with_noise, decibels=db)) for db in (20, 10, 0)),
    Condition("telephone band", telephone),
    Condition("Opus, 16 kbit/s", through_opus),
    *(Condition(f"{db:+d} dB", partial(amplified, decibels=db)) for db in (20, -20)),
)
