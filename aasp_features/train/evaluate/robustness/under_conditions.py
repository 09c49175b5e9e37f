"""Tests of classifiers on changed sounds, after training on unchanged ones."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio.reading import audio_info, load_audio
from aasp_features.train.evaluate.classifier import Classifier
from aasp_features.train.evaluate.methods import Method, Waveform, identity
from aasp_features.train.evaluate.probe import ProbeResult, probe
from aasp_features.train.evaluate.report import LINEAR, interval_remarks, remarks, table
from aasp_features.train.evaluate.report import as_json as rows_as_json
from aasp_features.train.evaluate.robustness import conditions
from aasp_features.train.evaluate.robustness.conditions import CONDITIONS, Condition
from aasp_features.train.evaluate.task import Task

WHOLE = "whole and clean"
AT_ONCE = 32  # sounds
Results = Mapping[str, Mapping[str, ProbeResult]]  # condition -> task -> result
Vectors = Callable[[Method, Task, Sequence[Path]], NDArray[np.float32]]


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
        identity=identity(method.identity, condition.name, inspect.getsource(conditions)),
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
