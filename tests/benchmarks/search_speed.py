"""Seconds and peak memory of exact search, and of FAISS's flat index where it is installed.

``python tests/benchmarks/search_speed.py [--rows 12000 1000000]`` prints a table. Vectors are random, of 192 float32.
"""

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aasp_features import search

WIDTH, TOP = 192, 20


def write(path: Path, rows: int) -> None:
    """Write random vectors, piece by piece."""
    rng = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for first in range(0, rows, 10_000):
        vectors[first : first + 10_000] = rng.normal(size=vectors[first : first + 10_000].shape) + 3
    vectors.flush()


def by_faiss(path: Path) -> list[int]:
    import faiss

    vectors = np.load(path)
    vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(WIDTH)
    index.add(vectors)
    return index.search(vectors[7:8], TOP)[1][0].tolist()


def by_search(path: Path) -> list[int]:
    vectors = np.load(path, mmap_mode="r")
    return [hit.row for hit in search((vectors, range(len(vectors))), vectors[7], top=TOP)]


def measure(kind: str, path: Path) -> None:
    """Print seconds, peak memory in MB and the rows that were found."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = {"search": by_search, "faiss": by_faiss}[kind](path)
    seconds, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.2f} | {peak / 1024:.0f} (+{(peak - before) / 1024:.0f}) | {' '.join(map(str, rows[:5]))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[12_000, 1_000_000])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    print("| rows | by | seconds | peak MB | first rows |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in arguments.rows:
            write(Path(folder) / "a.npy", rows)
            for kind in ["search", *(["faiss"] if importlib.util.find_spec("faiss") else [])]:
                command = [sys.executable, __file__, "--measure", kind, str(Path(folder) / "a.npy")]
                done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
                print(f"| {rows} | {kind} | {done} |", flush=True)


if __name__ == "__main__":
    main()
