"""Vectors -> one HTML page with a map of the sounds, which loads nothing but the sounds themselves."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError
from aasp_features.folder.formats import plain_text

NEIGHBOURS = 10
DATA = re.compile(r'<script id="data" type="application/json">(\{"of":.*\})</script>')
PCA_DIMENSIONS = 50


class MapError(AaSPError, RuntimeError):
    """A map that cannot be drawn; the sentence says what is missing."""


def check_map() -> None:
    """Check that a map can be drawn here.

    Raises:
        MapError: see the class.
    """
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise MapError('--map needs scikit-learn: pip install "aasp-features[map]".')


def map_run(out: Path, page: Path) -> None:
    """Draw the map of a run's results.

    Args:
        out: its ``.npy``, with the table beside it.
        page: as for ``write_map``, which also says what is raised.
    """
    with out.with_suffix(".csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = [
            {"path": row["path"], **{name: float(row[name]) for name in ("start", "end") if row.get(name)}}
            for row in csv.DictReader(file)
        ]
    write_map(page, np.load(out, mmap_mode="r"), table, of=out.name)


def is_map_of(page: Path, out: Path) -> bool:
    """Return whether ``page`` is a map of ``out``, by its name."""
    drawn = DATA.search(page.read_text(encoding="utf-8", errors="replace"))
    return drawn is not None and bool(json.loads(drawn[1])["of"] == out.name)


def write_map(
    page: Path, vectors: NDArray[Any], table: Iterable[dict[str, Any]], *, seed: int = 0, of: str = ""
) -> None:
    """Draw the map of vectors.

    Args:
        page: the ``.html`` file to write; it finds the sounds by their paths relative to its own.
        vectors: (rows, d), at least 1 row.
        table: ``path`` of each row, and ``start`` and ``end`` in seconds for a part.
        seed: of the projection; the same seed gives the same page.
        of: name of the vectors' file, written into the page.

    Raises:
        MapError: scikit-learn is not installed.
        OSError: the page cannot be written.
    """
    check_map()
    lines = list(table)
    names = [line["path"] for line in lines]
    nearest, cosines = neighbours(vectors)
    data = {
        "of": plain_text(of),
        "names": [plain_text(name) for name in names],
        "groups": folders(names),
        "sounds": [_address(page, line) for line in lines],
        "parts": [_part(line) for line in lines],
        "shards": [plain_text(_shard(name)) for name in names],
        "places": project(vectors, seed).round(4).tolist(),
        "nearest": nearest.tolist(),
        "cosines": cosines.round(3).tolist(),
    }
    template = resources.files("aasp_features.folder").joinpath("map_page.html").read_text(encoding="utf-8")
    safe = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no name can close the script
    page.write_text(template.replace("/*DATA*/", safe), encoding="utf-8")


def neighbours(vectors: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each row's most similar others, best first, and their cosines: (rows, k), k = min(10, rows - 1)."""
    from sklearn.neighbors import NearestNeighbors

    rows, count = np.asarray(vectors, np.float32), min(NEIGHBOURS, len(vectors) - 1)
    if count == 0:
        return np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
    distances, indices = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(rows).kneighbors()
    return indices, 1 - distances


def project(vectors: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Project (rows, d) to (rows, 2) in 0…1, by t-SNE on the first 50 principal components of the unit vectors."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    unit = np.asarray(vectors, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    rows = len(unit)
    if rows < 4:
        return np.column_stack([(np.arange(rows) + 1.0) / (rows + 1), np.full(rows, 0.5)])
    reduced = PCA(min(PCA_DIMENSIONS, rows - 1, unit.shape[1]), random_state=seed).fit_transform(unit)
    perplexity = min(30.0, (rows - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca" if reduced.std() > 1e-9 else "random", random_state=seed)
    places: NDArray[np.float64] = flat.fit_transform(reduced).astype(np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - (low + high) / 2) / max(float((high - low).max()), 1e-12) + 0.5
    return places


def folders(names: Sequence[str]) -> list[str]:
    """Return the first folder of each path below the folder that all share; empty for files directly in it."""
    parents = [os.path.dirname(os.path.abspath(name)) for name in names]
    shared = os.path.commonpath(parents) if parents else ""
    below = [os.path.relpath(parent, shared).split(os.sep)[0] for parent in parents]
    return ["" if name == os.curdir else plain_text(name) for name in below]


def _address(page: Path, line: dict[str, Any]) -> str:
    """Return the URL of a row's sound relative to the page; empty for a member of a shard."""
    if not os.path.isfile(line["path"]):
        return ""
    relative = os.path.relpath(line["path"], page.parent)
    start, end = _part(line) or (None, None)
    part = "" if start is None else f"#t={start:g}" if end is None else f"#t={start:g},{end:g}"
    return quote(os.fsencode(relative.replace(os.sep, "/"))) + part


def _part(line: dict[str, Any]) -> tuple[float, float | None] | None:
    """Return start and end of a row's part in seconds, end None for the file's; None for a whole sound."""
    start, end = line.get("start"), line.get("end")
    return (start or 0.0, end) if start or end is not None else None


def _shard(name: str) -> str:
    """Return the shard that holds a name; empty for a file, and for one that is gone."""
    return next((str(parent) for parent in Path(name).parents if parent.is_file()), "")
