"""Approximate search in a LanceDB table that has an index of its vectors.

LanceDB finds the rows nearest to a point. A search ranks rows by the cosine with a direction d after their mean m was
subtracted. The rows nearest to m + r d are therefore candidates, for three usual distances r of rows from m. Those are
then ranked like the rows of any other collection.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.folder.formats import plain_text
from aasp_features.folder.lance_table import OWN_COLUMNS
from aasp_features.folder.results import Record, Results, from_arrow, open_lance

SAMPLE_BLOCKS, BLOCK_ROWS = 1024, 32  # neighbouring rows are read together
DISTANCES = (0.1, 0.5, 0.9)  # quantiles of the sample's
CANDIDATES, MIN_CANDIDATES = 5, 50  # for each hit, and for all of them, at each distance
PROBES = 20  # partitions of the index


class IndexedTable:
    """A table of ``aasp-embed`` with an index.

    Args:
        path: of the table.
        table: LanceDB's.
        record: checkpoint and settings of the run.
    """

    def __init__(self, path: Path, table: Any, record: Record) -> None:
        self.path, self.table, self.record = path, table, record

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean of at most 32,768 rows from all parts of the table, (d,)."""
        return np.asarray(self._sample.mean(axis=0, dtype=np.float64))

    @cached_property
    def _sample(self) -> NDArray[Any]:
        rows = self.table.count_rows()
        firsts = np.linspace(0, max(0, rows - BLOCK_ROWS), SAMPLE_BLOCKS).astype(np.int64)
        offsets = np.arange(rows) if rows <= SAMPLE_BLOCKS * BLOCK_ROWS else firsts[:, None] + np.arange(BLOCK_ROWS)
        return from_arrow(self.table.take_offsets(offsets.ravel().tolist()).select(["vector"]).to_arrow())[0]

    def rows_of(self, name: str) -> NDArray[Any]:
        """Return the vectors of a sound by its path, (n, d); n is 0 for one that the table lacks."""
        text = plain_text(name).replace("'", "''")
        return from_arrow(self.table.search().where(f"path = '{text}'").select(["vector"]).to_arrow())[0]

    def candidates(self, direction: NDArray[np.float64], top: int) -> Results:
        """Return the rows among which the ``top`` most similar to a (d,) direction are; ``row`` is LanceDB's row id."""
        lengths = np.quantile(np.linalg.norm(self._sample - self.mean, axis=1), DISTANCES)
        points = (self.mean + lengths[:, None] * direction).astype(np.float32)
        count = max(MIN_CANDIDATES, CANDIDATES * top)
        nearest = self.table.search(points).nprobes(PROBES).limit(count).with_row_id(True).to_arrow()
        rows, firsts = np.unique(nearest["_rowid"].to_numpy(), return_index=True)  # each once, in order
        found = nearest.take(firsts).drop_columns([*OWN_COLUMNS, "query_index", "_distance", "_rowid"])
        vectors, table = from_arrow(found)
        return Results(self.path, vectors, {"row": rows, **table}, self.record)


def open_index(path: Path) -> IndexedTable | None:
    """Return a table that has an index by Euclidean distance, LanceDB's default; None for all other collections."""
    if path.suffix != ".lance" or not path.exists():
        return None
    table, record = open_lance(path)
    names = [index.name for index in table.list_indices() if index.columns == ["vector"]]
    usable = any(table.index_stats(name).distance_type == "l2" for name in names)
    return IndexedTable(path, table, record) if usable else None


def build_index(path: Path) -> None:
    """Build the index of a table, or build it anew: partitions of vectors of 8 bits a number.

    Raises:
        ResultsError, FormatError: as of ``read_results``.
    """
    table, _ = open_lance(path)
    from lancedb.index import IvfSq

    table.create_index("vector", config=IvfSq(distance_type="l2"), replace=True)
