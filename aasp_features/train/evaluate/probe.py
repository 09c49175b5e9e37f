"""Probes: a classifier of frozen vectors is trained and tested on each split of a task."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import numpy as np
import typer
from numpy.typing import NDArray

from aasp_features.folder import progress
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import Classifier, Examples, standardise
from aasp_features.train.evaluate.metrics import Scores, exact_interval, interval, one_hot, quiet_scikit_learn
from aasp_features.train.evaluate.task import FOLDS, Indices, Split, Task


@dataclass(frozen=True)
class ProbeResult:
    """The task's metric in %.

    Attributes:
        value: Mean over splits and seeds; see ``judged_together``.
        splits: Value of each split by name, mean over seeds.
        seeds: Value of each seed, mean over splits.
        interval: 95 % bootstrap interval over all held-out clips.
        tested: Held-out clips, as indices of the task.
        scores: Their scores, for each seed.
        exact: Whether the interval is Clopper and Pearson's, used where a bootstrap fails.
    """

    value: float
    splits: dict[str, float]
    seeds: list[float]
    interval: tuple[float, float]
    tested: Indices
    scores: list[Scores]
    exact: bool = False

    @property
    def cell(self) -> str:
        """Value and interval, for tables."""
        low, high = self.interval
        return f"{self.value:.1f} ({low:.1f}–{high:.1f})"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Indices of the most likely classes, on average over the seeds."""
        return np.asarray(np.mean(self.scores, axis=0).argmax(axis=1))


def probe(
    vectors: NDArray[np.float32],
    task: Task,
    classifier: Classifier,
    selection: bool = False,
    changed: NDArray[np.float32] | None = None,
) -> ProbeResult:
    """Train and test on each split of a task.

    Args:
        vectors: (clips, d), one row for each of the task's files.
        task: Source of splits and metric.
        classifier: ``logistic_regression``, ``linear_layer`` or ``nearest_neighbours``.
        selection: Whether to hold back the final test data; see ``Task.splits``.
        changed: (clips, d) vectors of the same clips under a change, such as noise, which are tested instead.

    Raises:
        TrainError: The clips do not suffice, for instance because all have one class.
    """
    splits, found = task.splits(selection), []
    for split in splits:
        tested = vectors if changed is None else changed
        parts = vectors[split.train], vectors[split.validation], tested[split.test]
        train, validation, test = standardise(*parts)
        held = Examples(validation, task.labels[split.validation], task.groups[split.validation])
        given = Examples(train, task.labels[split.train], task.groups[split.train])
        try:
            with quiet_scikit_learn():
                found.append(classifier(given, held if len(validation) else None, test, len(task.classes), task.metric))
        except ValueError as error:  # from scikit-learn, for tasks that are too small
            reason = str(error).splitlines()[0].rstrip(".")
            raise TrainError(f"task {task.name} is too small ({split.name}: {reason}); give it more clips.") from error
    return judged(task, splits, found)


def judged(task: Task, splits: Sequence[Split], found: Sequence[Sequence[Scores]]) -> ProbeResult:
    """Evaluate scores.

    Args:
        task: Source of the metric.
        splits: Splits whose test parts were scored.
        found: Scores by each seed, for each split.
    """
    values = np.array([[task.value(split.test, s) for s in runs] for split, runs in zip(splits, found, strict=True)])
    tested = np.concatenate([split.test for split in splits])
    scores = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    together = judged_together(task, splits)
    seeds = np.array([task.value(tested, one) for one in scores]) if together else values.mean(axis=0)
    bounds, exact = interval_of(task, tested, scores, float(seeds.mean()))
    names = [split.name for split in splits]
    return ProbeResult(
        float(seeds.mean()),
        dict(zip(names, values.mean(axis=1).tolist(), strict=True)),
        seeds.tolist(),
        bounds,
        tested,
        scores,
        exact,
    )


def judged_together(task: Task, splits: Sequence[Split]) -> bool:
    """Return whether the metric is computed once over all held-out clips instead of averaged over splits.

    That is so if a split tests a single class, where a mean over classes is not informative.
    """
    tested = [one_hot(task.labels[split.test], len(task.classes)).any(axis=0) for split in splits]
    counts = [int(classes.sum()) for classes in tested]
    whole = int(np.any(tested, axis=0).sum())
    return task.metric.by_class and min(counts) == 1 < whole


def interval_of(
    task: Task, tested: Indices, scores: Sequence[Scores], value: float
) -> tuple[tuple[float, float], bool]:
    """Return the 95 % interval of a metric's value, and whether it is exact.

    A bootstrap fails if every draw has one value, and draws may lack classes of under five clips. Then the interval is
    Clopper and Pearson's with the number of groups as clips. For means over classes, it is the number of classes times
    the harmonic mean of their groups, which preserves the variance.
    """
    drawn = [float(np.mean([task.value(tested[draw], one[draw]) for one in scores])) for draw in task.resamples(tested)]
    low, high = interval(drawn)
    clips = one_hot(task.labels[tested], len(task.classes)).sum(axis=0)
    rare = task.metric.by_class and task.labels.ndim == 1 and clips[clips > 0].min() < FOLDS
    if low < high and not rare:
        return (low, high), False
    count = float(len(np.unique(task.groups[tested])))
    if task.metric.by_class:
        units = task.units(tested)[clips > 0]
        count = min(count, len(units) ** 2 / float(np.sum(1 / units)))
    return exact_interval(value, count), True


def measure(
    name: str, vectors: NDArray[np.float32], task: Task, classifier: Classifier, selection: bool = False
) -> ProbeResult:
    """Probe one task's vectors, and print a line on stderr."""
    with telling_time(f"{name}: {task.name}: fitting"):
        result = probe(vectors, task, classifier, selection)
    low, high = result.interval
    typer.echo(f"{name}: {task.name} {result.value:.1f} ({low:.1f}-{high:.1f})", err=True)
    return result


@contextmanager
def telling_time(doing: str) -> Iterator[None]:
    """Print a line on stderr every ten seconds while work without countable steps runs."""
    done, begun = Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(progress.LINE_EVERY):
            typer.echo(f"{doing} for {progress.clock(time.monotonic() - begun)}", err=True)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
