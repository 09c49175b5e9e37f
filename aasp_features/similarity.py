"""Search in vectors of sounds: the rows that are most similar to queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError, OptionError
from aasp_features.folder.results import Results, read_results
from aasp_features.options import check_count
from aasp_features.windows import COLUMN_SECONDS

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder

BLOCK_ROWS = 4096
Vector = NDArray[np.float64]
Query = str | PathLike[str] | NDArray[Any] | Sequence["Query"]
Collection = str | PathLike[str] | Results | tuple[NDArray[Any], Sequence[str]]


class SearchError(AaSPError, ValueError):
    """A query that cannot be compared with a collection; the sentence says why and what to do."""


class Hit(NamedTuple):
    """A row that was found.

    Attributes:
        score: cosine similarity to the query, -1 to 1, both without the mean of the collection.
        path: of the sound.
        start, end: of the part, segment or frame in seconds; None at the start or end of a whole sound.
        row: of the collection.
    """

    score: float
    path: str
    start: float | None
    end: float | None
    row: int


def search(
    collection: Collection,
    query: Query,
    *,
    unlike: Query = (),
    top: int = 20,
    start: float | None = None,
    end: float | None = None,
    encoder: AaSPEncoder | None = None,
) -> list[Hit]:
    """Return the rows of a collection that are most similar to a query, best first; equal ones in their order.

    The mean of the collection is subtracted from all vectors, which are then scaled to length 1. The score is the
    cosine similarity to the mean of the queries minus the mean of those of ``unlike``. The search is exact. It reads
    the collection in blocks, so its memory does not grow with mapped vectors.

    Args:
        collection: file that ``aasp-embed`` wrote, its ``Results``, or vectors (rows, d) with a name for each.
        query: sound or vector (d,), or a list of these. A path in the collection's table is not embedded again, and
            stands for the mean of its rows.
        unlike: sounds or vectors that the hits should differ from.
        top: number of hits.
        start, end: seconds; the part of the query's files to be embedded.
        encoder: for queries that are not in the table (default: the checkpoint of the collection's record).

    Raises:
        SearchError: no query, vectors of another dimension, or an encoder that is not the collection's.
        ResultsError: the collection cannot be read.
        OptionError: a ``top`` that is not accepted.
        AudioError: a query that cannot be embedded.
    """
    check_count("top", top)
    found = _open(collection)
    queries, others = _listed(query), _listed(unlike)
    if not queries:
        raise SearchError("there is no query; give at least one sound or vector.")
    vectors = _Queries(found, start, end, encoder)
    mean = mean_vector(found.vectors)
    wanted = np.mean([_unit(vectors.of(one) - mean) for one in queries], axis=0)
    if others:
        wanted = wanted - np.mean([_unit(vectors.of(one) - mean) for one in others], axis=0)
    return [_hit(found, row, score) for row, score in nearest_rows(found.vectors, mean, _unit(wanted), top)]


def mean_vector(vectors: NDArray[Any], block: int = BLOCK_ROWS) -> Vector:
    """Return the mean of (rows, d), (d,) float64, in constant memory."""
    total = np.zeros(vectors.shape[1])
    for _, rows in _blocks(vectors, block):
        for row_sum in np.add.reduceat(rows, range(0, len(rows), 64), axis=0):  # any block adds the same pieces
            total += row_sum
    return total / len(vectors)


def nearest_rows(
    vectors: NDArray[Any], mean: Vector, query: Vector, top: int, block: int = BLOCK_ROWS
) -> list[tuple[int, float]]:
    """Return the rows of largest cosine similarity, best first, with it.

    Args:
        vectors: (rows, d).
        mean: (d,), subtracted from each row.
        query: (d,) of length 1.
        top: number of rows.
        block: rows read at once; a multiple of 64.
    """
    rows, scores = np.empty(0, np.int64), np.empty(0)
    for first, values in _blocks(vectors, block):
        values -= mean
        lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
        own = np.einsum("ij,j->i", values, query) / np.maximum(lengths, np.finfo(np.float64).tiny)
        rows = np.concatenate([rows, np.arange(first, first + len(own))])
        scores = np.concatenate([scores, own])
        best = np.argsort(-scores, kind="stable")[:top]  # rows stay in order among equals
        rows, scores = rows[best], scores[best]
    return [(int(row), float(score)) for row, score in zip(rows, scores, strict=True)]


def _blocks(vectors: NDArray[Any], block: int) -> Iterator[tuple[int, Vector]]:
    """Yield copies of the rows in float64, so that no rounding depends on the block."""
    for first in range(0, len(vectors), block):
        yield first, np.array(vectors[first : first + block], np.float64)


class _Queries:
    """The vectors of queries: given, found in the table, or embedded as the record says."""

    def __init__(self, found: Results, start: float | None, end: float | None, encoder: AaSPEncoder | None) -> None:
        self.found, self.start, self.end, self.encoder = found, start, end, encoder
        self._ready = cache(self._checked_encoder)

    def of(self, query: str | PathLike[str] | NDArray[Any]) -> Vector:
        """Return the vector of one query, (d,) float64."""
        if not isinstance(query, (str, PathLike)):
            vector = np.asarray(query, np.float64)
        elif self.start is None and self.end is None and len(rows := self._rows(str(query))):
            vector = np.mean(np.array(self.found.vectors[rows], np.float64), axis=0)
        else:
            vector = self._embed(Path(query))
        if vector.shape != self.found.vectors.shape[1:] or not np.isfinite(vector).all():
            shape, width = vector.shape, self.found.vectors.shape[1]
            raise SearchError(f"a query is {shape}, or is not finite; the collection needs ({width},).")
        return vector

    def _rows(self, name: str) -> NDArray[np.int64]:
        return np.flatnonzero(np.asarray(self.found.table["path"], object) == name)

    def _embed(self, path: Path) -> Vector:
        from aasp_features.audio.reading import stream_audio

        encoder, settings = self._ready(), self.found.record["settings"]
        rate = encoder.config.sample_rate
        sound = np.concatenate(list(stream_audio(path, rate, start=self.start or 0.0, end=self.end)))
        options = {name: settings[name] for name in ("pooling", "last_layers", "window", "context")}
        if settings["frames"]:  # the mean of its frames
            vectors = encoder.embed_frames(sound, hop=settings["hop"], **options).embeddings
        else:
            vectors = encoder.embed(sound, **options)[None]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True) if settings["normalize"] else 1.0
        mean: Vector = np.mean(np.asarray(vectors, np.float64) / lengths, axis=0)
        return mean

    def _checked_encoder(self) -> AaSPEncoder:
        from aasp_features.encoder import AaSPEncoder
        from aasp_features.folder.options import config_sha256, weights_sha256

        path, record = self.found.path, self.found.record
        if "settings" not in record:
            raise SearchError(f"{path} has no record of its checkpoint; give a path in its table, or a vector.")
        encoder = self.encoder or AaSPEncoder.from_pretrained(record["checkpoint"])
        own = weights_sha256(encoder), config_sha256(encoder.config)
        if own != (record["settings"]["weights_sha256"], record["settings"]["config_sha256"]):
            raise SearchError(
                f"{path} was embedded with other weights than those of {encoder.config.name}; give the checkpoint of "
                f"then, which was named {record['checkpoint']}."
            )
        return encoder


def _open(collection: Collection) -> Results:
    """Return a collection as results."""
    if isinstance(collection, Results):
        return collection
    if not isinstance(collection, tuple):
        return read_results(Path(collection))
    vectors, names = np.asanyarray(collection[0]), list(map(str, collection[1]))
    if vectors.ndim != 2 or not len(vectors) or len(names) != len(vectors):
        raise SearchError(f"the collection is {vectors.shape} with {len(names)} names; give (rows, d) and their names.")
    return Results(Path("the collection"), vectors, {"path": np.array(names, object)}, {})


def _listed(query: Query) -> list[Any]:
    if isinstance(query, (str, PathLike)) or (isinstance(query, np.ndarray) and query.ndim == 1):
        return [query]
    if not isinstance(query, Iterable):
        raise OptionError("give a path, a vector (d,), or a list of these.")
    return list(query)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    if length < 1e-12:
        raise SearchError("a query equals the mean of the collection, or the others; give other queries.")
    return vector / length


def _hit(found: Results, row: int, score: float) -> Hit:
    start, end = (float(found.table[name][row]) if name in found.table else np.nan for name in ("start", "end"))
    if "time" in found.table:
        centre, half = float(found.table["time"][row]), found.record.get("settings", {}).get("hop", COLUMN_SECONDS) / 2
        start = max(0.0, (0.0 if np.isnan(start) else start) + centre - half)
        end = start + 2 * half
    first, last = (None if np.isnan(value) else value for value in (start, end))
    return Hit(score, str(found.table["path"][row]), first, last, row)
