"""A task's splits, one after the other: train a classifier on frozen vectors, test it on what was held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import Classifier, Examples, standardise
from aasp_features.train.evaluate.metrics import Scores, interval
from aasp_features.train.evaluate.task import Places, Split, Task


@dataclass(frozen=True)
class ProbeResult:
    """The task's metric in %.

    Attributes:
        value: mean over splits and seeds.
        splits: of each, by name, mean over seeds.
        seeds: of each seed, mean over splits.
        interval: 95 %, a bootstrap of all clips that were held out, together.
        tested: these clips, as places in the task.
        scores: of them, for each seed.
    """

    value: float
    splits: dict[str, float]
    seeds: list[float]
    interval: tuple[float, float]
    tested: Places
    scores: list[Scores]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Places of the classes that were likeliest on average over the seeds."""
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
        task: gives the splits and the metric.
        classifier: ``logistic_regression``, ``linear_layer`` or ``nearest_neighbours``.
        selection: leave out what is opened once; see ``Task.splits``.
        changed: (clips, d) vectors of the same clips that are tested instead, such as in noise.

    Raises:
        TrainError: clips that cannot be learnt from, such as too few, or all of one class.
    """
    splits, found = task.splits(selection), []
    for split in splits:
        tested = vectors if changed is None else changed
        parts = vectors[split.train], vectors[split.validation], tested[split.test]
        train, validation, test = standardise(*parts)
        held = Examples(validation, task.labels[split.validation], task.groups[split.validation])
        given = Examples(train, task.labels[split.train], task.groups[split.train])
        try:
            found.append(classifier(given, held if len(validation) else None, test, len(task.classes), task.metric))
        except ValueError as error:  # scikit-learn's, of a task that is too small
            reason = str(error).splitlines()[0].rstrip(".")
            raise TrainError(f"task {task.name} cannot be learnt from ({split.name}: {reason}).") from error
    return judged(task, splits, found)


def judged(task: Task, splits: Sequence[Split], found: Sequence[Sequence[Scores]]) -> ProbeResult:
    """What scores are worth.

    Args:
        task: gives the metric.
        splits: whose test parts were scored.
        found: for each split, its scores by each seed.
    """
    values = np.array([[task.value(split.test, s) for s in runs] for split, runs in zip(splits, found, strict=True)])
    tested = np.concatenate([split.test for split in splits])
    scores = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    drawn = [np.mean([task.value(tested[draw], one[draw]) for one in scores]) for draw in task.resamples(tested)]
    names = [split.name for split in splits]
    return ProbeResult(
        float(values.mean()),
        dict(zip(names, values.mean(axis=1).tolist(), strict=True)),
        values.mean(axis=0).tolist(),
        interval([float(value) for value in drawn]),
        tested,
        scores,
    )
