"""Classifiers that learnt from sounds as they are, tested on changed ones."""

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
    """What the classifier scores on clean test clips, and on the same changed by each condition.

    Args:
        method: gives the vectors.
        tasks: each is learnt from its clean training clips.
        classifier: learns.
        vectors: of some of a task's clips by a method.
        selection: leave out what is opened once; see ``Task.splits``.
        wanted: what is done to test clips.
    """
    clean = {task.name: vectors(method, task, task.files) for task in tasks}
    results = {WHOLE: {task.name: probe(clean[task.name], task, classifier, selection) for task in tasks}}
    for condition in wanted:
        heard, results[condition.name] = under(method, condition), {}
        for task in tasks:
            tested = np.unique(np.concatenate([split.test for split in task.splits(selection)]))
            changed = np.full_like(clean[task.name], np.nan)
            changed[tested] = vectors(heard, task, [task.files[place] for place in tested])
            results[condition.name][task.name] = probe(clean[task.name], task, classifier, selection, changed)
    return results


def under(method: Method, condition: Condition) -> Method:
    """The same method where every sound is changed before it is heard; the noise of a file is always the same."""

    def vectorise(files: Sequence[Path]) -> NDArray[np.float32]:
        parts = []
        for rate, waveforms in changed(files, method.sample_rate, condition):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "(?s).*full scale")  # louder is meant
                parts.append(method.hear(waveforms, rate))
        return np.concatenate(parts)

    return replace(
        method,
        name=f"{method.name}, {condition.name}",
        identity=identity(method.identity, condition.name, inspect.getsource(conditions)),
        vectorise=vectorise,
    )


def changed(
    files: Sequence[Path], sample_rate: int | None, condition: Condition
) -> Iterator[tuple[int, list[Waveform]]]:
    """Changed sounds and their rate, some at once; without a rate of the method's own each is heard at the file's."""
    for first in range(0, len(files), AT_ONCE if sample_rate else 1):
        some = files[first : first + (AT_ONCE if sample_rate else 1)]
        rate = sample_rate or audio_info(some[0]).rate
        yield rate, [condition.change(load_audio(file, rate), rate, noise_of(file)) for file in some]


def noise_of(file: Path) -> np.random.Generator:
    """A generator that depends on the file's name alone."""
    return np.random.default_rng(list(os.fsencode(file.name)))


def report(tasks: Sequence[Task], results: Mapping[str, Results], evaluation: str, selection: bool) -> str:
    """Markdown: a table for each method.

    Args:
        tasks: in the order of the columns.
        results: by the method's name.
        evaluation: what read the vectors.
        selection: was what is opened once left out?
    """
    metrics = ", ".join(f"{task.name} {task.metric.name}" for task in tasks)
    left_out = ", without the last fold or the test part" if selection else ""
    parts = [
        f"{evaluation} that learnt from whole, clean clips{left_out}, tested on changed ones; in %, 95 % intervals: "
        f"{metrics}. Cut clips are the middle of each, shorter ones stay whole; noise is pink, from 20 Hz on."
    ]
    for name, found in results.items():
        parts += [f"{name}:", table(tasks, found)]
    parts += interval_remarks(*results.values()) + remarks(tasks, selection, evaluation == LINEAR)
    return "\n\n".join(parts) + "\n"


def as_json(tasks: Sequence[Task], results: Mapping[str, Results], evaluation: str, selection: bool) -> dict[str, Any]:
    """What the tables say, for other programs."""
    found = {name: rows_as_json(tasks, own, evaluation, selection) for name, own in results.items()}
    common = {key: value for own in found.values() for key, value in own.items() if key != "results"}
    return {**common, "methods": {name: own["results"] for name, own in found.items()}}
