"""Search: the rows of a collection that are most similar to sounds or vectors; ``aasp_features.search``.

The vectors of a checkpoint may share a large part, so the collection's mean is subtracted before the cosine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError, OptionError
from aasp_features.folder.lance_index import IndexedTable, open_index
from aasp_features.folder.options import RunOptions, config_sha256, weights_sha256
from aasp_features.folder.results import Results, read_results
from aasp_features.options import check_count
from aasp_features.sounds.discovery import Discovery, named_sounds
from aasp_features.sounds.sound import Sound
from aasp_features.windows import COLUMN_SECONDS

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder

Name = str | os.PathLike[str]
Query = Name | tuple[Name, float | None, float | None] | NDArray[Any]
Vectors = NDArray[np.float64]
BLOCK_ROWS = 4096
UNLIKE_WEIGHT = 0.3  # on ESC-10 0.2 to 0.5 help, and 1 does harm: sounds that are confused share most of their vectors


class SearchError(AaSPError, ValueError):
    """A query or a collection that cannot be searched with; the sentence says why and what to do."""


class Hit(NamedTuple):
    """A row of the collection.

    Attributes:
        score: cosine with the query, -1 to 1, after the mean was subtracted.
        row: index in the collection; of a table with an index, LanceDB's row id.
        path: of the sound; empty for a plain array of vectors.
        start, end: seconds of the file; None where the collection does not tell.
    """

    score: float
    row: int
    path: str
    start: float | None
    end: float | None


def search(
    collection: Name | Results | IndexedTable | NDArray[Any],
    query: Query | list[Query],
    *,
    top: int = 20,
    unlike: Query | Sequence[Query] = (),
    model: AaSPEncoder | Name | None = None,
) -> list[Hit]:
    """Return the most similar rows of a collection, the best first; equal scores stand in the order of the rows.

    Let u(x) be x minus the collection's mean, scaled to length 1. Rows are ranked by the cosine of u(row) with
    mean u(queries) - 0.3 mean u(unlike). A sound with several rows (segments, frames) counts as the mean of their u,
    scaled to length 1. The search is exact, except in a ``.lance`` table with an index: its hits are approximate, and
    the mean is that of at most 32,768 rows.

    Args:
        collection: file of vectors that ``aasp-embed`` wrote; or the same, read; or an array (rows, d).
        query: one or a list of: a path; ``(path, start, end)`` in seconds; a vector (d,), or vectors (n, d) of a sound.
            A path that the collection's table has is not embedded again. Others are embedded as the collection was.
        top: number of rows.
        unlike: sounds or vectors that the rows should not be similar to.
        model: encoder, folder or Hub name of the collection's checkpoint (default: as its record says).

    Raises:
        SearchError: a query that cannot be read, or vectors of another dimension or model.
        OptionError: a number of rows or a model that is not accepted.
        ResultsError, FormatError: as of ``read_results``.
    """
    check_count("top", top)
    found, likes, unlikes = _as_collection(collection), _as_list(query), _as_list(unlike)
    if not likes:
        raise SearchError("give at least one query: a path, or a vector.")
    mean = found.mean if isinstance(found, IndexedTable) else mean_vector(found.vectors)
    rows = _QueryRows(found, len(mean), model)
    direction = _direction([rows.of(each) for each in likes], mean)
    if unlikes:
        direction = direction - UNLIKE_WEIGHT * _direction([rows.of(each) for each in unlikes], mean)
    if np.linalg.norm(direction) < 1e-12:
        raise SearchError("the query equals the mean of the collection; give another.")
    return _best(found, mean, _unit(direction), top)


def _best(found: Results | IndexedTable, mean: Vectors, direction: Vectors, top: int) -> list[Hit]:
    """Return the rows with the highest scores."""
    results = found.candidates(direction, top) if isinstance(found, IndexedTable) else found
    scores = score_rows(results.vectors, mean, direction)
    if not np.isfinite(scores).all():
        raise SearchError(f"row {int(np.argmin(np.isfinite(scores)))} of the collection, or a query, is not finite.")
    best = np.argsort(-scores, kind="stable")[:top]
    return [_hit(results, int(row), float(scores[row])) for row in best]


def mean_vector(vectors: NDArray[Any]) -> Vectors:
    """Return the mean of the rows, (d,)."""
    blocks = range(0, len(vectors), BLOCK_ROWS)
    total = sum(np.asarray(vectors[first : first + BLOCK_ROWS]).sum(axis=0, dtype=np.float64) for first in blocks)
    return np.asarray(total / max(1, len(vectors)))


def score_rows(
    vectors: NDArray[Any], mean: Vectors, direction: Vectors, block: int = BLOCK_ROWS
) -> NDArray[np.float64]:
    """Return the cosine of each row minus the mean with a vector of length 1, (rows,); 0 for a row that is the mean.

    ``block`` rows are in memory at a time. A score depends on its own row alone, where a matrix product's last bits
    may depend on the rows beside it.
    """
    scores = np.zeros(len(vectors))
    for first in range(0, len(vectors), block):
        centred = vectors[first : first + block] - mean  # float64
        lengths = np.sqrt(np.einsum("ij,ij->i", centred, centred))
        products = np.einsum("ij,j->i", centred, direction)
        np.divide(products, lengths, out=scores[first : first + block], where=lengths != 0)
    return scores


def _as_collection(collection: Name | Results | IndexedTable | NDArray[Any]) -> Results | IndexedTable:
    if isinstance(collection, (Results, IndexedTable)):
        return collection
    if isinstance(collection, (str, os.PathLike)):
        return open_index(Path(collection)) or read_results(Path(collection))
    vectors = np.asarray(collection)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise SearchError(f"a collection is a path or floats (rows, d), got {vectors.dtype} of shape {vectors.shape}.")
    return Results(Path("the array"), vectors, {}, {})


def _as_list(queries: Any) -> list[Query]:
    if isinstance(queries, list) or (isinstance(queries, tuple) and not queries):
        return list(queries)
    return [queries]


def _direction(rows: list[Vectors], mean: Vectors) -> Vectors:
    """Return the mean over queries of their directions from the mean."""
    directions: Vectors = np.stack([_unit(_unit(each - mean).mean(axis=0)) for each in rows])
    return np.asarray(directions.mean(axis=0))


def _unit(vectors: Vectors) -> Vectors:
    lengths, units = np.linalg.norm(vectors, axis=-1, keepdims=True), np.zeros_like(vectors)
    np.divide(vectors, lengths, out=units, where=lengths != 0)
    return units


class _QueryRows:
    """Vectors of queries; the model is loaded for the first that needs it."""

    def __init__(self, collection: Results | IndexedTable, dimension: int, model: AaSPEncoder | Name | None) -> None:
        self.collection, self.dimension, self.model = collection, dimension, model
        self.encoder: AaSPEncoder | None = None

    def of(self, query: Query) -> Vectors:
        """Return the vectors of a query, (n, d)."""
        if isinstance(query, tuple):
            rows = self._embed(*named_sounds([query]))
        elif isinstance(query, (str, os.PathLike)):
            known = self.collection.rows_of(os.fspath(query))
            rows = known if len(known) else self._embed(*named_sounds([(query, None, None)]))
        else:
            rows = np.atleast_2d(np.asarray(query))
        if rows.ndim != 2 or rows.shape[1] != self.dimension or not len(rows):
            raise SearchError(
                f"the collection has vectors of {self.dimension} numbers, got a query of shape {rows.shape}."
            )
        return rows.astype(np.float64)

    def _embed(self, sound: Sound) -> NDArray[Any]:
        """Embed a sound by a run with the settings of the collection's."""
        from aasp_features.folder.run import AllFailedError, embed_sounds

        if self.encoder is None:
            self.encoder = self._load()
        settings, found = self.collection.record["settings"], Discovery()
        options = {field.name: settings[field.name] for field in fields(RunOptions) if field.name in settings}
        found.sounds.append(sound)
        reasons: list[str | None] = []
        with TemporaryDirectory() as folder:
            out = Path(folder) / "query.npy"
            try:
                embed_sounds(self.encoder, found, out, RunOptions(**options), on_sound=lambda _, e: reasons.append(e))
            except AllFailedError as error:
                raise SearchError(f"{sound.name}: {reasons[-1]}") from error
            return np.array(read_results(out).vectors)

    def _load(self) -> AaSPEncoder:
        """Return the encoder that the record names, once its weights are known to be those."""
        from aasp_features.checkpoints import BUNDLED
        from aasp_features.encoder import AaSPEncoder

        path, record, given = self.collection.path, self.collection.record, self.model
        if "settings" not in record:
            raise SearchError(
                f"{path} has no record of its model; give queries by their path in its table, or vectors."
            )
        settings, name = record["settings"], record["checkpoint"]
        if given is None and name not in BUNDLED:
            raise OptionError(f"is needed: {path} was made with {name}; give its folder or Hub name.", option="model")
        if isinstance(given, AaSPEncoder):
            encoder = given
        else:
            encoder = AaSPEncoder.from_pretrained(str(given or name), precision=settings["precision"])
        own = {"weights_sha256": weights_sha256(encoder), "config_sha256": config_sha256(encoder.config)}
        if not own.items() <= settings.items():
            raise OptionError(f"{encoder.config.name} is not that which made {path} ({name}).", option="model")
        return encoder


def hit_sounds(hits: Iterable[Hit]) -> list[Sound]:
    """Return the sounds of hits, from their starts to their ends; each shard is listed once."""
    return named_sounds((hit.path, hit.start, hit.end) for hit in hits)


def _hit(results: Results, row: int, score: float) -> Hit:
    """Return a row with its times in the file."""
    columns = {name: values[row] for name, values in results.table.items()}
    row = int(columns.get("row", row))
    numbers = {name: float(columns.get(name, np.nan)) for name in ("start", "end", "seconds", "time")}
    known = {name: value for name, value in numbers.items() if not np.isnan(value)}
    start, end = known.get("start", 0.0), known.get("end")
    if "time" in known:  # the centre of a frame
        centre, half = start + known["time"], results.record.get("settings", {}).get("hop", COLUMN_SECONDS) / 2
        start, end = max(start, centre - half), centre + half
    elif end is None and "seconds" in known:
        end = start + known["seconds"]
    told = {"start", "end", "seconds", "time"} & known.keys()
    return Hit(score, row, str(columns.get("path", "")), start if told else None, end)
