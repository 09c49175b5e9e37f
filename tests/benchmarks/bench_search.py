"""Time, memory and recall at 10 of search: exact, by a LanceDB index, and by FAISS's flat index where it is installed.

``python tests/benchmarks/bench_search.py [--rows 12000 1000000] [--like EMB.npy]`` prints a table. Rows are mixtures of
two vectors of EMB.npy (default: random ones) and noise. Recall compares with the order of plain numpy. Every side has a
process of its own and answers five queries, which are rows. Seconds are wall clock, and processor time in brackets.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cost import measured, run

from aasp_features import search
from aasp_features.folder.formats import write_csv
from aasp_features.folder.lance_index import build_index, open_index
from aasp_features.folder.lance_table import write_table
from aasp_features.folder.ledger import DoneSound, Outcome
from aasp_features.folder.results import Results, read_results

TOP, QUERIES, BLOCK = 10, 5, 10_000
COLUMNS = "first answer, s | next, s | anonymous memory, MB | mapped files, MB | recall at 10"
RECORD = {"checkpoint": "x", "checkpoint_sha256": "0", "aasp_features": "0", "settings": {}}


def write(folder: Path, rows: int, like: Path | None) -> np.ndarray:
    """Write vectors and their table as .npy and as .lance."""
    rng = np.random.default_rng(0)
    some = np.load(like) if like else rng.normal(size=(2000, 192)) * rng.uniform(0.5, 2, (2000, 1)) + 3
    some, noise = some.astype(np.float32), 0.2 * some.std(axis=0).astype(np.float32)
    vectors = np.lib.format.open_memmap(folder / "a.npy", "w+", np.float32, (rows, some.shape[1]))
    for first in range(0, rows, BLOCK):
        part = vectors[first : first + BLOCK]
        one, other = (some[rng.integers(len(some), size=len(part))] for _ in range(2))
        share = rng.random((len(part), 1), np.float32)
        part[:] = share * one + (1 - share) * other + noise * rng.normal(size=part.shape).astype(np.float32)
    vectors.flush()
    names = [f"/sounds/{number // 1000:04}/{number:07}.wav" for number in range(rows)]
    columns = ["row", "path", "seconds", "sample_rate", "channels"]
    write_csv(folder / "a.csv", columns, ([row, name, 5.0, 16000, 1] for row, name in enumerate(names)))
    sounds = (DoneSound(name, None, None, (160000, 1, 1), Outcome(1, 5.0, 16000, 1)) for name in names)
    own = read_results(folder / "a.npy")
    write_table(folder / "a.lance", Results(own.path, own.vectors, own.table, RECORD), sounds)
    return vectors


def true_order(vectors: np.ndarray, queries: list[int]) -> list[list[int]]:
    """The rows of plain numpy."""
    mean = sum(vectors[at : at + BLOCK].sum(axis=0, dtype=np.float64) for at in range(0, len(vectors), BLOCK))
    mean = mean / len(vectors)
    directions = vectors[queries] - mean
    scores = []
    for first in range(0, len(vectors), BLOCK):
        centred = vectors[first : first + BLOCK] - mean
        scores.append(centred @ directions.T / np.linalg.norm(centred, axis=1)[:, None])
    return np.argsort(-np.concatenate(scores), axis=0, kind="stable")[:TOP].T.tolist()


Finder = Callable[[np.ndarray], list[int]]


def by_search(given: Any) -> Finder:
    return lambda query: [int(Path(hit.path).stem) if hit.path else hit.row for hit in search(given, query, top=TOP)]


def by_faiss(folder: Path) -> Finder:
    import faiss

    vectors = np.load(folder / "a.npy")
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    vectors -= mean
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda query: index.search((query - mean)[None], TOP)[1][0].tolist()


SIDES: dict[str, Callable[[Path], Finder]] = {
    "no search: Python, imports": lambda folder: lambda query: [],
    "exact, array mapped from .npy": lambda folder: by_search(np.load(folder / "a.npy", mmap_mode="r")),
    "exact, .npy with its table": lambda folder: by_search(read_results(folder / "a.npy")),
    "exact, .lance": lambda folder: by_search(read_results(folder / "a.lance")),
    "index of .lance": lambda folder: by_search(open_index(folder / "a.lance")),
    "FAISS, flat": by_faiss,
}


def measure(side: str, folder: Path, queries: list[int]) -> None:
    """Print the times of every answer, the first with what was opened for it, and the rows."""
    mapped = np.load(folder / "a.npy", mmap_mode="r")
    given = [np.array(mapped[row]) for row in queries]
    times, found, finder = [(time.perf_counter(), time.process_time())], [], None
    for query in given:
        finder = finder or SIDES[side](folder)
        found.append(finder(query))
        times.append((time.perf_counter(), time.process_time()))
    print(json.dumps({"times": np.diff(times, axis=0).tolist(), "rows": found}))


def print_side(side: str, folder: Path, queries: list[int], truth: list[list[int]]) -> None:
    cost, out = run([__file__, "--measure", side, folder, *queries])
    answer = json.loads(out)
    (first, first_processor), *others = answer["times"]
    again, again_processor = np.median(others, axis=0)
    right = np.mean([len(set(own) & set(best)) / TOP for own, best in zip(answer["rows"], truth, strict=True)])
    seconds = f"{first:.2f} ({first_processor:.2f}) | {again:.2f} ({again_processor:.2f})"
    print(f"| {side} | {seconds} | {cost.anonymous:.0f} | {cost.mapped:.0f} | {right:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[12_000, 1_000_000])
    parser.add_argument("--like", type=Path)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        side, folder, *queries = given.measure
        measure(side, Path(folder), list(map(int, queries)))
        return
    sides = [side for side in SIDES if side != "FAISS, flat" or importlib.util.find_spec("faiss")]
    for rows in given.rows:
        print(f"\n| {rows} rows | {COLUMNS} |\n|--|--:|--:|--:|--:|--:|", flush=True)
        with tempfile.TemporaryDirectory() as name:
            folder, queries = Path(name), np.linspace(7, rows - 1, QUERIES).astype(int).tolist()
            truth = true_order(write(folder, rows, given.like), queries)
            for side in sides:
                if side == "index of .lance":
                    with measured() as built:
                        build_index(folder / "a.lance")
                print_side(side, folder, queries, truth)
        print(f"The index was built in {built.seconds:.0f} s ({built.processor:.0f} s).", flush=True)
    if len(sides) < len(SIDES):
        print("FAISS is not installed.")


if __name__ == "__main__":
    main()
