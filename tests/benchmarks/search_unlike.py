"""Does ``search(..., unlike=...)`` help, and with which weight?

``python tests/benchmarks/search_unlike.py EMB.npy LABELS.csv`` prints the precision of the first 30 hits for vectors of
labelled clips, with a list of ``file,label`` (ESC-10). Queries are 1 or 3 clips of a class, 40 draws for each class;
``unlike`` are the 3 best hits of other classes. Hits exclude queries and ``unlike`` for every weight, 0 included.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from aasp_features import search, similarity
from aasp_features.folder import Results, read_results

WEIGHTS, HITS, DRAWS, WRONG = [0, 0.1, 0.2, 0.3, 0.5, 0.75, 1], 30, 40, 3


def precisions(results: Results, labels: np.ndarray, queries: np.ndarray) -> list[float]:
    label, vectors = labels[queries[0]], results.vectors
    like = [vectors[row] for row in queries]
    ranked = [hit.row for hit in search(results, like, top=len(labels))]
    wrong = [row for row in ranked if labels[row] != label][:WRONG]
    shares = []
    for weight in WEIGHTS:
        similarity.UNLIKE_WEIGHT = weight
        hits = search(results, like, unlike=[vectors[row] for row in wrong], top=HITS + len(queries) + WRONG)
        rows = [hit.row for hit in hits if hit.row not in {*queries, *wrong}][:HITS]
        shares.append(float(np.mean(labels[rows] == label)))
    return shares


def main() -> None:
    results, rng = read_results(sys.argv[1]), np.random.default_rng(0)
    with open(sys.argv[2], newline="") as file:
        known = {Path(line["file"]).name: line["label"] for line in csv.DictReader(file)}
    labels = np.array([known[Path(path).name] for path in results.table["path"]])
    print(f"| queries | {' | '.join(f'weight {weight}' for weight in WEIGHTS)} |\n|---{'|---' * len(WEIGHTS)}|")
    for count in (1, 3):
        own = [np.flatnonzero(labels == label) for label in sorted(set(labels)) for _ in range(DRAWS)]
        shares = [precisions(results, labels, rng.choice(rows, count, replace=False)) for rows in own]
        print(f"| {count} | {' | '.join(f'{100 * share:.1f} %' for share in np.mean(shares, axis=0))} |")


if __name__ == "__main__":
    main()
