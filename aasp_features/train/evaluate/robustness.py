"""Tests of classifiers on changed sounds, after training on unchanged ones: cut, noisy, coded, loud or quiet."""

from __future__ import annotations

import inspect
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.audio.reading import audio_info, load_audio
from aasp_features.train.evaluate.classifier import Classifier
from aasp_features.train.evaluate.methods import Method, Waveform, identity
from aasp_features.train.evaluate.probe import ProbeResult, probe
from aasp_features.train.evaluate.report import LINEAR, interval_remarks, remarks, table
from aasp_features.train.evaluate.report import as_json as rows_as_json
from aasp_features.train.evaluate.task import Task

Change = Callable[[Waveform, int, np.random.Generator], Waveform]
TELEPHONE_HZ = 300.0, 3400.0
MIN_HZ = 20.0  # pink noise would have most of its power at inaudible frequencies
OPUS_RATE = 48_000  # Hz; the codec's rate
OPUS_BITS = 16_000  # bit/s
WHOLE = "whole and clean"
AT_ONCE = 32  # sounds
Results = Mapping[str, Mapping[str, ProbeResult]]  # condition -> task -> result
Vectors = Callable[[Method, Task, Sequence[Path]], NDArray[np.float32]]


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


def measure(
    method: Method,
    tasks: Sequence[Task],
    classifier: Classifier,
    vectors: Vectors,
    selection: bool = False,
    wanted: Sequence[Condition] = CONDITIONS,
) -> Results:
    """Return the classifier's results on clean test clips, and on clips changed by each condition.

    Args:
        method: Source of the vectors.
        tasks: Tasks, each learned from its clean training clips.
        classifier: Classifier to train.
        vectors: Function that returns the vectors of some of a task's clips by a method.
        selection: Whether to hold back the final test data; see ``Task.splits``.
        wanted: Conditions of the test clips.
    """
    clean = {task.name: vectors(method, task, task.files) for task in tasks}
    results = {WHOLE: {task.name: probe(clean[task.name], task, classifier, selection) for task in tasks}}
    for condition in wanted:
        changed_method, results[condition.name] = under(method, condition), {}
        for task in tasks:
            tested = np.unique(np.concatenate([split.test for split in task.splits(selection)]))
            changed = np.full_like(clean[task.name], np.nan)
            changed[tested] = vectors(changed_method, task, [task.files[index] for index in tested])
            results[condition.name][task.name] = probe(clean[task.name], task, classifier, selection, changed)
    return results


def under(method: Method, condition: Condition) -> Method:
    """Return the method with every sound changed first; a file's noise is always the same."""

    def embed_files(files: Sequence[Path]) -> NDArray[np.float32]:
        parts = []
        for rate, waveforms in changed(files, method.sample_rate, condition):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "(?s).*full scale")  # intended
                parts.append(method.embed(waveforms, rate))
        return np.concatenate(parts)

    return replace(
        method,
        name=f"{method.name}, {condition.name}",
        identity=identity(method.identity, condition.name, inspect.getsource(sys.modules[__name__])),
        embed_files=embed_files,
    )


def changed(
    files: Sequence[Path], sample_rate: int | None, condition: Condition
) -> Iterator[tuple[int, list[Waveform]]]:
    """Yield changed sounds in batches with their rate, one by one if each keeps its file's rate."""
    for first in range(0, len(files), AT_ONCE if sample_rate else 1):
        some = files[first : first + (AT_ONCE if sample_rate else 1)]
        rate = sample_rate or audio_info(some[0]).rate
        yield rate, [condition.change(load_audio(file, rate), rate, noise_of(file)) for file in some]


def noise_of(file: Path) -> np.random.Generator:
    """Return a generator that depends on the file's name alone."""
    return np.random.default_rng(list(os.fsencode(file.name)))


def robustness_report(tasks: Sequence[Task], results: Mapping[str, Results], evaluation: str, selection: bool) -> str:
    """Return the results in Markdown, a table for each method.

    Args:
        tasks: Tasks in the order of the columns.
        results: Results by method name.
        evaluation: Name of the evaluation.
        selection: Whether the final test data were held back.
    """
    metrics = ", ".join(f"{task.name} {task.metric.name}" for task in tasks)
    left_out = ", without the last fold or the test part" if selection else ""
    parts = [
        f"{evaluation}, trained on whole, clean clips{left_out} and tested on changed ones; in %, 95 % intervals: "
        f"{metrics}. Cuts keep the middle of a clip; shorter clips stay whole. Noise is pink, from 20 Hz on."
    ]
    for name, found in results.items():
        parts += [f"{name}:", table(tasks, found)]
    parts += interval_remarks(*results.values()) + remarks(tasks, selection, evaluation == LINEAR)
    return "\n\n".join(parts) + "\n"


def as_json(tasks: Sequence[Task], results: Mapping[str, Results], evaluation: str, selection: bool) -> dict[str, Any]:
    """Return the tables for other programs."""
    found = {name: rows_as_json(tasks, own, evaluation, selection) for name, own in results.items()}
    common = {key: value for own in found.values() for key, value in own.items() if key != "results"}
    return {**common, "methods": {name: own["results"] for name, own in found.items()}}
