"""Rows and their table -> one file, in the format that its ending names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError
from aasp_features.folder.table import RowTable, plain_text

Rows = NDArray[Any]
Metadata = dict[str, str]
CHUNK_ROWS = 4096


class FormatError(AaSPError, ValueError):
    """An ending that names no format, or one whose library is not installed; the sentence says what to do."""


def write_npz(path: Path, rows: Rows, table: RowTable, metadata: Metadata) -> None:
    """``embeddings``, the table's columns, and ``metadata`` (JSON)."""
    with path.open("wb") as file:  # np.savez would add its own ending to another
        np.savez(file, **{"embeddings": rows, "metadata": np.array(json.dumps(metadata)), **_columns(table)})  # type: ignore[arg-type]


def write_parquet(path: Path, rows: Rows, table: RowTable, metadata: Metadata) -> None:
    """The table's columns and ``vector``, a list of fixed size; metadata in the schema's."""
    import pyarrow
    from pyarrow import parquet

    vector = pyarrow.list_(pyarrow.from_numpy_dtype(rows.dtype), rows.shape[1])
    types = {"row": pyarrow.int64(), "path": pyarrow.string(), "sample_rate": pyarrow.int32()}
    types["channels"] = pyarrow.int32()
    fields = [(name, types.get(name, pyarrow.float64())) for name in table.columns]
    schema = pyarrow.schema([*fields, ("vector", vector)], metadata=metadata)
    with parquet.ParquetWriter(path, schema) as writer:
        for first, lines in _chunks(table):
            block = np.ascontiguousarray(rows[first : first + len(lines)]).reshape(-1)
            vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block), rows.shape[1])
            columns = [list(values) for values in zip(*lines, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays([*map(pyarrow.array, columns), vectors], schema=schema))


def write_hdf5(path: Path, rows: Rows, table: RowTable, metadata: Metadata) -> None:
    """A data set for ``embeddings`` and one for each of the table's columns; metadata as attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs.update(metadata)
        data = file.create_dataset("embeddings", rows.shape, rows.dtype)
        for first in range(0, len(rows), CHUNK_ROWS):
            data[first : first + CHUNK_ROWS] = rows[first : first + CHUNK_ROWS]
        for name, values in _columns(table).items():
            text = values.dtype.kind == "U"
            file.create_dataset(name, data=values.astype(object) if text else values, dtype=_h5_text(text))


def write_safetensors(path: Path, rows: Rows, table: RowTable, metadata: Metadata) -> None:
    """The tensor ``embeddings``; metadata in the header. Written piece by piece, which the library does not do."""
    kind = {"<f4": "F32", "<f2": "F16"}[rows.dtype.str]
    tensor = {"dtype": kind, "shape": list(rows.shape), "data_offsets": [0, rows.nbytes]}
    header = json.dumps({"__metadata__": metadata, "embeddings": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for first in range(0, len(rows), CHUNK_ROWS):
            file.write(np.ascontiguousarray(rows[first : first + CHUNK_ROWS]).tobytes())


def write_jsonl(path: Path, rows: Rows, table: RowTable, metadata: Metadata) -> None:
    """One object a row, with the table's columns and ``vector``; the first line is ``{"metadata": …}``."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"metadata": metadata}) + "\n")
        for line in table:
            values = {name: _plain(value) for name, value in zip(table.columns, line, strict=True)}
            vector = ", ".join(map(str, rows[line[0]]))  # str of a float32 is its shortest
            file.write(json.dumps(values)[:-1] + f', "vector": [{vector}]}}\n')


WRITERS: dict[str, Callable[[Path, Rows, RowTable, Metadata], None]] = {
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".h5": write_hdf5,
    ".safetensors": write_safetensors,
    ".jsonl": write_jsonl,
}
LIBRARIES = {".parquet": ("pyarrow", "parquet"), ".h5": ("h5py", "hdf5")}  # module, extra


def check_format(path: Path) -> None:
    """Can this ending be written here?

    Raises:
        FormatError: see the class.
    """
    from importlib.util import find_spec

    if path.suffix not in {".npy", *WRITERS}:
        raise FormatError(f"--out must end in one of {', '.join(['.npy', *WRITERS])}, got {path}.")
    module, extra = LIBRARIES.get(path.suffix, ("", ""))
    if module and find_spec(module) is None:
        raise FormatError(f'--out {path}: {path.suffix} needs {module}: pip install "aasp-features[{extra}]".')


def _chunks(table: RowTable) -> Iterator[tuple[int, list[list[Any]]]]:
    lines = iter(table)
    while chunk := list(islice(lines, CHUNK_ROWS)):
        yield chunk[0][0], [[_plain(value) for value in line] for line in chunk]


def _columns(table: RowTable) -> dict[str, NDArray[Any]]:
    """The table as arrays, by column; None becomes NaN."""
    values: dict[str, list[Any]] = {name: [] for name in table.columns}
    for line in table:
        for name, value in zip(table.columns, line, strict=True):
            values[name].append(_plain(value))
    kinds = {"row": np.int64, "path": np.str_, "sample_rate": np.int64, "channels": np.int64}
    return {name: np.array(column, kinds.get(name, np.float64)) for name, column in values.items()}


def _plain(value: Any) -> Any:
    return plain_text(value) if isinstance(value, str) else value


def _h5_text(text: bool) -> Any:
    import h5py

    return h5py.string_dtype() if text else None
