"""Scores that tell sounds of unknown classes from known ones: ``python tests/benchmarks/other.py FOLDER …``.

Each FOLDER has a labels.csv, such as ESC-10. Two classes are held out at a time, at most ten times, and one fold.
A classifier learns the other classes on the other folds. AUROC says how well a score ranks the clips of unknown classes
in the fold above those of known ones; the second number is the share of them that is above 95 % of the known ones.
"""

import argparse

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from aasp_features import AaSPEncoder
from aasp_features.train.evaluate.classifier import FIXED_C, fit, moments, rotate, row_space
from aasp_features.train.evaluate.classify import read_task
from aasp_features.train.evaluate.task import Task


def distances(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """1 minus the cosine with the nearest class mean, both taken from the mean of all."""
    centre = train.mean(axis=0, dtype=np.float64)
    means = np.stack([train[labels == label].mean(axis=0) - centre for label in np.unique(labels)])
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (test - centre, means)]
    return 1 - (unit[0] @ unit[1].T).max(axis=1)


def scores_of(vectors: np.ndarray, train: np.ndarray, test: np.ndarray, task: Task) -> dict[str, np.ndarray]:
    """Scores of the test clips by a classifier of the training clips."""
    mean, std = moments(vectors[train])
    axes = row_space((vectors[train] - mean) / std)
    one, other = (rotate((vectors[part] - mean) / std, axes) for part in (train, test))
    logits = fit(one, task.labels[train], FIXED_C).decision_function(other)
    logits = np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits
    return {
        "distance to the nearest class mean": distances(vectors[train], task.labels[train], vectors[test]),
        "energy, -logsumexp of the logits": -logsumexp(logits, axis=1),
        "largest logit, negative": -logits.max(axis=1),
        "largest probability, negative": -softmax(logits, axis=1).max(axis=1),
    }


def caught(unknown: np.ndarray, scores: np.ndarray) -> float:
    """Share of unknown clips above 95 % of the known ones."""
    return float(np.mean(scores[unknown] > np.quantile(scores[~unknown], 0.95)))


def measure(task: Task, vectors: np.ndarray) -> tuple[int, dict[str, str]]:
    """Mean AUROC of each score and share of unknown clips that it catches, and the number of trials."""
    count = len(task.classes)
    found: dict[str, list[tuple[float, float]]] = {}
    for first in range(0, count, max(1, count // 10)):
        unknown = np.isin(task.labels, [first, (first + count // 3) % count])
        for fold in task.folds:
            test = task.parts == fold
            if 0 < unknown[test].sum() < test.sum():
                for name, scores in scores_of(vectors, ~test & ~unknown, test, task).items():
                    measures = roc_auc_score(unknown[test], scores), caught(unknown[test], scores)
                    found.setdefault(name, []).append(measures)
    means = {name: np.mean(values, axis=0) for name, values in found.items()}
    return len(found[name]), {name: f"{auroc:.3f}, {share:.0%}" for name, (auroc, share) in means.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    encoder, columns = AaSPEncoder.from_pretrained(), {}
    for folder in parser.parse_args().folders:
        task = read_task(folder)
        vectors = np.concatenate([encoder.embed(task.files[at : at + 50]) for at in range(0, len(task.files), 50)])
        count, columns[f"{task.name} ({len(task.classes)} classes, {count} trials)"] = measure(task, vectors)
    print("| | " + " | ".join(columns) + " |\n|---|" + "--:|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
