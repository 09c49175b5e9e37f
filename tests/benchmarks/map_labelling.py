"""Labelling on the map: how well the page ranks the rest after 5, 10 and 20 marks, beside scikit-learn on full vectors.

``python tests/benchmarks/map_labelling.py EMB.npy --table labels.csv``; needs chromium and chromedriver. For each
class, a first sound is marked; then the top of the page's list is confirmed or rejected, as its label says, and so on.
Average precision of the sounds that are left, mean over the classes.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from map_speed import open_browser
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from aasp_features.folder import read_results
from aasp_features.folder.map_page import map_run

COUNTS = (5, 10, 20)
JUDGED = """
const [name, first, truth, counts] = arguments, found = [];
marks.clear(); against.clear(); change([first], name, false);
for (let count = 1; count <= Math.max(...counts); count++) {
  if (counts.includes(count)) found.push([[...marks.keys()], [...against.keys()], rank(name).map(([row]) => row)]);
  const next = rank(name)[0][0]; change([next], name, !truth[next]);
}
return found;
"""


def by_scikit_learn(vectors: np.ndarray, yes: list[int], no: list[int], rest: list[int]) -> np.ndarray:
    """Return scores of the rest: logistic regression of marks against rejections, and against the rest a little."""
    truth = np.repeat([1, 0, 0], [len(yes), len(no), len(rest)])
    weight = np.repeat([1 / len(yes), 1 / max(1, len(no)), 0.25 / len(rest)], [len(yes), len(no), len(rest)])
    model = LogisticRegression(C=100.0, max_iter=2000).fit(vectors[[*yes, *no, *rest]], truth, weight)
    return model.decision_function(vectors[rest])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    given = parser.parse_args()
    results = read_results(given.vectors)
    with given.table.open(newline="") as file:
        label_of = {Path(row["file"]).name: row["label"] for row in csv.DictReader(file)}
    labels = np.array([label_of[Path(name).name] for name in results.table["path"]])
    unit = np.asarray(results.vectors, np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit -= unit.mean(axis=0)
    unit /= np.sqrt((unit**2).sum(axis=1).mean())
    scores: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        map_run(given.vectors, Path(folder) / "map.html")
        browser = open_browser()
        browser.get((Path(folder) / "map.html").as_uri())
        for name in np.unique(labels):
            truth = labels == name
            first = int(np.flatnonzero(truth)[0])
            found = browser.execute_script(JUDGED, str(name), first, truth.tolist(), COUNTS)
            for count, (yes, no, order) in zip(COUNTS, found, strict=True):
                page = average_precision_score(truth[order], -np.arange(len(order)))
                plain = average_precision_score(truth[order], by_scikit_learn(unit, yes, no, order))
                for side, value in (("page", page), ("scikit-learn", plain), ("confirmed", len(yes) / count)):
                    scores.setdefault((side, count), []).append(float(value))
        browser.quit()
    print("| | " + " | ".join(f"{count} marks" for count in COUNTS) + " |\n|---" + "|---" * len(COUNTS) + "|")
    for side in ("page", "scikit-learn", "confirmed"):
        print(f"| {side} | " + " | ".join(f"{np.mean(scores[side, count]):.2f}" for count in COUNTS) + " |")


if __name__ == "__main__":
    main()
