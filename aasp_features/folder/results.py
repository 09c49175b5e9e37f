"""What ``aasp-embed`` wrote -> vectors, table and record, from every format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError
from aasp_features.folder.formats import CHUNK_ROWS, INTEGERS, NUMBERS, check_format
from aasp_features.folder.output import side_file
from aasp_features.folder.state import fingerprint, read_sealed

Columns = dict[str, NDArray[Any]]
Record = dict[str, Any]
Content = tuple[NDArray[Any], Columns, Record]
TEXTS = {"checkpoint", "aasp_features", "output"}  # of a record, as are all sha256; the rest is JSON in metadata
ORDER = ["row", "path", "start", "end", "time", "seconds", "sample_rate", "channels"]


class ResultsError(AaSPError, ValueError):
    """A file that holds no vectors of sounds, or not whole; the sentence says why and what to do."""


@dataclass(frozen=True)
class Results:
    """Vectors of sounds, and the table of their rows; it iterates like a ``RowTable``.

    Attributes:
        path: of the file.
        vectors: (rows, d) float32 or float16; of ``.npy`` and ``.safetensors`` mapped from disk.
        table: an array for each column, ``row`` first: int64, float64 (NaN for no value), or str objects.
        record: the checkpoint and the settings of the run; empty where there is no record.
    """

    path: Path
    vectors: NDArray[Any]
    table: Columns
    record: Record

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        return [*self.table]

    def rows_of(self, name: str) -> NDArray[Any]:
        """Return the vectors of a sound by its path, (n, d); n is 0 for one that the table lacks."""
        return self.vectors[np.flatnonzero(self.table.get("path", np.empty(0, object)) == name)]

    def __iter__(self) -> Iterator[list[Any]]:
        for first in range(0, len(self.vectors), CHUNK_ROWS):
            chunk = [values[first : first + CHUNK_ROWS].tolist() for values in self.table.values()]
            for line in zip(*chunk, strict=True):
                yield [None if value != value else value for value in line]


def read_results(path: str | Path) -> Results:
    """Read the results of ``aasp-embed`` in any of its formats.

    ``.npz``, ``.parquet``, ``.h5``, ``.jsonl`` and ``.lance`` hold their own table. That of ``.npy`` and
    ``.safetensors`` is the ``.csv`` beside the file. The record of ``.npy`` and ``.jsonl`` is the ``.json`` beside it,
    which may be missing.

    Raises:
        ResultsError: see the class.
        FormatError: an ending that names no format, or a format whose library is not installed.
    """
    path = Path(path)
    check_format(path, "a file of vectors")
    if not path.exists():
        raise ResultsError(f"{path}: no such file; write it with aasp-embed.")
    with _readable(path):
        vectors, table, record = READERS[path.suffix](path)
    _check(path, vectors, table)
    return Results(path, vectors, {"row": np.arange(len(vectors)), **table}, record)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise ResultsError for any error of a library that reads."""
    try:
        yield
    except AaSPError:
        raise
    except Exception as error:  # of many kinds: each library's own
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise ResultsError(f"{path} is damaged, or not written by aasp-embed ({reason}).") from error


def read_earlier(out: Path) -> tuple[NDArray[Any], list[int]] | None:
    """Return the rows that an update starts from, and torch's threads that computed them; None for no results."""
    record = read_sealed(side_file(out, ".json"))
    return None if record is None else (read_results(out).vectors, record["threads"])


def _check(path: Path, vectors: NDArray[Any], table: Columns) -> None:
    """Check that vectors and table belong together."""
    if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16):
        raise ResultsError(f"{path} holds {vectors.dtype} of shape {vectors.shape}; a row for each sound is needed.")
    if "path" not in table:
        raise ResultsError(f"the table of {path} has no column path; restore the table that aasp-embed wrote.")
    lines = len(table["path"])
    if lines != len(vectors) or not np.array_equal(table.get("row", np.arange(lines)), np.arange(lines)):
        raise ResultsError(
            f"{path} has {len(vectors)} vectors, and its table of {lines} lines has other rows; restore both."
        )


def _read_npy(path: Path) -> Content:
    return np.load(path, mmap_mode="r"), _read_table(path), _read_record(path)


def _read_npz(path: Path) -> Content:
    with np.load(path) as file:
        table = {name: file[name] for name in file.files if name not in ("embeddings", "metadata")}
        return file["embeddings"], _in_order(table), _from_metadata(json.loads(str(file["metadata"])))


def _read_parquet(path: Path) -> Content:
    from pyarrow import parquet

    read = parquet.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (read.schema.metadata or {}).items()}
    return *from_arrow(read), _from_metadata(metadata)


def from_arrow(read: Any) -> tuple[NDArray[Any], Columns]:
    """Return the vectors and the other columns of an Arrow table."""
    vectors = read["vector"].combine_chunks()
    table = {name: read[name].to_numpy() for name in read.column_names if name != "vector"}
    return vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size), _in_order(table)


def _read_hdf5(path: Path) -> Content:
    import h5py

    with h5py.File(path) as file:
        names = {*file} - {"embeddings"}
        table = {name: file[name][:] if name in NUMBERS else file[name].asstr()[:] for name in names}
        return file["embeddings"][:], _in_order(table), _from_metadata(dict(file.attrs))


def _read_safetensors(path: Path) -> Content:
    """Map the tensor from disk; the library would read it whole."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(size, path.stat().st_size)))
    tensor, kinds = header["embeddings"], {"F32": np.float32, "F16": np.float16}
    offset = 8 + size + tensor["data_offsets"][0]
    rows = np.memmap(path, kinds[tensor["dtype"]], "r", offset, tuple(tensor["shape"]))
    return rows, _read_table(path), _from_metadata(header["__metadata__"])


def _read_jsonl(path: Path) -> Content:
    """Read the lines in chunks; the objects of one chunk exist at a time."""
    record, pieces, tables = _read_record(path), list[NDArray[Any]](), list[Columns]()
    dtype = record.get("settings", {}).get("dtype", "float32")
    with path.open(encoding="utf-8") as file:
        while chunk := [json.loads(line) for line in islice(file, CHUNK_ROWS)]:
            pieces.append(np.array([line.pop("vector") for line in chunk], dtype))
            tables.append({name: _column(name, [line[name] for line in chunk]) for name in chunk[0]})
    return np.concatenate(pieces), _joined(tables), record


def _read_lance(path: Path) -> Content:
    """Read a table; its rows are numbered as they come."""
    from aasp_features.folder.lance_table import OWN_COLUMNS

    table, record = open_lance(path)
    return *from_arrow(table.to_arrow().drop_columns(OWN_COLUMNS)), record


def open_lance(path: Path) -> tuple[Any, Record]:
    """Return the LanceDB table at a path, and its record.

    Raises:
        ResultsError, FormatError: as of ``read_results``.
    """
    from aasp_features.folder.lance_table import RECORD, connect

    check_format(path, "a file of vectors")
    if not (path / "_versions").is_dir():
        raise ResultsError(f"{path}: no such LanceDB table; write it with aasp-embed.")
    with _readable(path):
        table = connect(path).open_table(path.stem)
        return table, json.loads(table.schema.metadata[RECORD.encode()])


READERS: Mapping[str, Callable[[Path], Content]] = {  # one for each format that ``formats`` writes
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".h5": _read_hdf5,
    ".safetensors": _read_safetensors,
    ".jsonl": _read_jsonl,
    ".lance": _read_lance,
}


def _read_table(path: Path) -> Columns:
    """Read the ``.csv`` beside the vectors, in chunks."""
    table = side_file(path, ".csv")
    try:
        with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.reader(file)
            names, tables = next(lines, []), list[Columns]()
            while chunk := list(islice(lines, CHUNK_ROWS)):
                columns = zip(names, zip(*chunk, strict=True), strict=True)
                tables.append({name: _column(name, values) for name, values in columns})
    except FileNotFoundError as error:
        raise ResultsError(f"{path}: its table {table} is missing; put it beside the vectors.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise ResultsError(f"{table} is damaged, or no table of aasp-embed ({error}).") from error
    return _joined(tables)


def _read_record(path: Path) -> Record:
    """Read the ``.json`` beside the vectors; return an empty record where there is none."""
    file = side_file(path, ".json")
    if not file.exists():
        return {}
    record = read_sealed(file)
    if record is None or "files" not in record:
        raise ResultsError(f"{file} is damaged, or no record of aasp-embed; restore it, or move it elsewhere.")
    if record["files"].get(path.name) not in (None, fingerprint(path)):  # None: files that were renamed
        raise ResultsError(f"{path} is damaged, or of another run than {file}; restore both.")
    return {name: value for name, value in record.items() if name not in ("files", "sha256")}


def _from_metadata(metadata: Mapping[str, str]) -> Record:
    """Return the record that is a format's metadata, in which all but text is JSON."""
    texts = {name for name, value in metadata.items() if (name in TEXTS or "sha256" in name) and value != "null"}
    return {name: value if name in texts else json.loads(value) for name, value in metadata.items()}


def _column(name: str, values: Sequence[Any]) -> NDArray[Any]:
    """Return the values of a column; its name says of what kind they are."""
    if name in INTEGERS:
        return np.asarray(values, np.int64)
    if name in NUMBERS:
        return np.asarray([np.nan if value in ("", None) else value for value in values], np.float64)
    return np.asarray(values, object)


def _joined(tables: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([table[name] for table in tables]) for name in (tables[0] if tables else ())}


def _in_order(table: Columns) -> Columns:
    """Return columns of any format as those of ``Results``, in the order of the ``.csv``."""
    kinds = {**dict.fromkeys(NUMBERS, np.float64), **dict.fromkeys(INTEGERS, np.int64)}
    names = sorted(table, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: table[name].astype(kinds.get(name, np.object_)) for name in names}
