"""Scores that tell sounds of unknown classes from known ones: ``python tests/benchmarks/other.py FOLDER …``.

Each FOLDER has a labels.csv, such as ESC-10. Two classes are held out at a time, at most ten times, and one fold.
A classifier learns the other classes on the other folds; AUROC says how well a score ranks the clips of unknown classes
in the fold above those of known ones. All scores are "higher is less known".
"""

import argparse

import numpy as np
import torch
from events import part_of
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from aasp_features import AaSPEncoder
from aasp_features.train.evaluate.classifier import moments
from aasp_features.train.evaluate.classify import read_task
from aasp_features.train.evaluate.held_out import class_means
from aasp_features.train.evaluate.logistic import FIXED_C, fit, rotate, row_space
from aasp_features.train.evaluate.task import Task


def scores_of(vectors: np.ndarray, train: np.ndarray, test: np.ndarray, task: Task) -> dict[str, np.ndarray]:
    """Scores of the test clips by a classifier of the training clips."""
    mean, std = moments(vectors[train])
    axes = row_space((vectors[train] - mean) / std)
    one, other = (rotate((vectors[part] - mean) / std, axes) for part in (train, test))
    logits = fit(one, task.labels[train], FIXED_C).decision_function(other)
    logits = np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits
    known = class_means(vectors[train], part_of(task, train))
    distances = known.distances(torch.from_numpy(vectors[test])).numpy()
    return {
        "distance to the nearest class mean": distances,
        "energy, -logsumexp of the logits": -logsumexp(logits, axis=1),
        "largest logit, negative": -logits.max(axis=1),
        "largest probability, negative": -softmax(logits, axis=1).max(axis=1),
    }


def measure(task: Task, vectors: np.ndarray) -> tuple[int, dict[str, float]]:
    """Mean AUROC of each score, and the number of pairs of classes and folds behind it."""
    count, found = len(task.classes), {}
    for first in range(0, count, max(1, count // 10)):
        unknown = np.isin(task.labels, [first, (first + count // 3) % count])
        for fold in task.folds:
            test = task.parts == fold
            if 0 < unknown[test].sum() < test.sum():
                for name, scores in scores_of(vectors, ~test & ~unknown, test, task).items():
                    found.setdefault(name, []).append(roc_auc_score(unknown[test], scores))
    return len(found[name]), {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    encoder, columns = AaSPEncoder.from_pretrained(), {}
    for folder in parser.parse_args().folders:
        task = read_task(folder)
        vectors = np.concatenate([encoder.embed(task.files[at : at + 50]) for at in range(0, len(task.files), 50)])
        count, columns[f"{task.name} ({len(task.classes)} classes, {count} trials)"] = measure(task, vectors)
        print(columns, flush=True)
    print("| | " + " | ".join(columns) + " |\n|---|" + "--:|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{column[name]:.3f}" for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
