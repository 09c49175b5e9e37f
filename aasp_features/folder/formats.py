"""The table of a run's rows, and rows and table -> one file, in the format that its ending names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError
from aasp_features.folder.ledger import Outcome
from aasp_features.folder.options import RunOptions
from aasp_features.folder.segments import segment_times
from aasp_features.sounds.sound import Sound
from aasp_features.windows import grid_times

Rows = NDArray[Any]
Metadata = dict[str, str]
CHUNK_ROWS = 4096
ERROR_COLUMNS = ["path", "error"]
INTEGERS = ("row", "sample_rate", "channels")  # columns of the table; those of other names than these hold text
NUMBERS = (*INTEGERS, "start", "end", "time", "seconds")


class Table(Protocol):
    """Names of columns, and, any number of times, an iterator over one list of their values a row."""

    @property
    def columns(self) -> list[str]:
        """Names of the values."""

    def __iter__(self) -> Iterator[list[Any]]: ...


class FormatError(AaSPError, ValueError):
    """An ending that names no format, or a format whose library is not installed; the sentence says what to do."""


class RowTable:
    """Table of the rows; iterate, any number of times, for one list of values a row.

    Args:
        sounds: of the run.
        outcomes: returns an iterator over their outcomes.
        options: of the run.

    Attributes:
        columns: names of the values: row, path, start and end of parts and segments (seconds of the file), then
            seconds, sample_rate and channels of the original; or, for frame vectors, time in seconds.
    """

    def __init__(
        self, sounds: Sequence[Sound], outcomes: Callable[[], Iterator[Outcome]], options: RunOptions | None = None
    ) -> None:
        self.sounds, self.outcomes, self.options = sounds, outcomes, options or RunOptions()
        parts = any(sound.start is not None or sound.end is not None for sound in sounds)
        self._parts = parts or self.options.segment is not None
        facts = ["time"] if self.options.frames else ["seconds", "sample_rate", "channels"]
        self.columns = ["row", "path", *(["start", "end"] if self._parts else []), *facts]

    def __iter__(self) -> Iterator[list[Any]]:
        row = 0
        for sound, outcome in zip(self.sounds, self.outcomes(), strict=True):
            for facts in self.facts(sound, outcome) if outcome.rows else []:
                yield [row, sound.name, *facts]
                row += 1

    def facts(self, sound: Sound, outcome: Outcome) -> Iterator[list[Any]]:
        """Yield the values of each row of a sound, after its path."""
        part = [sound.start, sound.end] if self._parts else []
        facts = [outcome.seconds, outcome.sample_rate, outcome.channels]
        if self.options.frames:
            yield from ([*part, time] for time in grid_times(outcome.frames, self.options.hop))
        elif self.options.segment is None:
            yield [*part, *facts]
        else:
            begins = sound.start or 0.0
            times = segment_times(outcome.rows, self.options.segment, self.options.overlap, outcome.seconds)
            yield from ([begins + start, begins + end, *facts] for start, end in times)

    def failures(self) -> Iterator[list[str]]:
        """Yield path and reason of each sound that failed."""
        for sound, outcome in zip(self.sounds, self.outcomes(), strict=True):
            if outcome.error is not None:
                yield [sound.name, outcome.error]


def write_csv(path: Path, columns: list[str], rows: Iterable[list[Any]]) -> None:
    """Write a CSV file, with six digits of seconds, and names as the file system has them."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in rows:
            table.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in row])


def write_json_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write a JSON object a line; other bytes than UTF-8 in names come back as they were."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def plain_text(name: str) -> str:
    """Return a name for formats that hold UTF-8 only, with other bytes in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_npz(path: Path, rows: Rows, table: Table, metadata: Metadata) -> None:
    """Write ``embeddings``, the table's columns, and ``metadata`` (JSON)."""
    with path.open("wb") as file:  # np.savez would add its own ending to another
        np.savez(file, **{"embeddings": rows, "metadata": np.array(json.dumps(metadata)), **_columns(table)})  # type: ignore[arg-type]


def write_parquet(path: Path, rows: Rows, table: Table, metadata: Metadata) -> None:
    """Write the table's columns and ``vector``, a list of fixed size; metadata in the schema's."""
    import pyarrow
    from pyarrow import parquet

    vector = pyarrow.list_(pyarrow.from_numpy_dtype(rows.dtype), rows.shape[1])
    types = {name: pyarrow.float64() for name in NUMBERS}
    types |= {"row": pyarrow.int64(), "sample_rate": pyarrow.int32(), "channels": pyarrow.int32()}
    fields = [(name, types.get(name, pyarrow.string())) for name in table.columns]
    schema = pyarrow.schema([*fields, ("vector", vector)], metadata=metadata)
    with parquet.ParquetWriter(path, schema) as writer:
        for first, lines in _chunks(table):
            block = np.ascontiguousarray(rows[first : first + len(lines)]).reshape(-1)
            vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block), rows.shape[1])
            columns = [list(values) for values in zip(*lines, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays([*map(pyarrow.array, columns), vectors], schema=schema))


def write_hdf5(path: Path, rows: Rows, table: Table, metadata: Metadata) -> None:
    """Write a data set for ``embeddings`` and one for each of the table's columns; metadata as attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs.update(metadata)
        data = file.create_dataset("embeddings", rows.shape, rows.dtype)
        for first in range(0, len(rows), CHUNK_ROWS):
            data[first : first + CHUNK_ROWS] = rows[first : first + CHUNK_ROWS]
        for name, values in _columns(table).items():
            text = values.dtype.kind == "U"
            kind = h5py.string_dtype() if text else None
            file.create_dataset(name, data=values.astype(object) if text else values, dtype=kind)


def write_safetensors(path: Path, rows: Rows, table: Table, metadata: Metadata) -> None:
    """Write the tensor ``embeddings``, piece by piece, which the library does not do; metadata in the header."""
    kind = {"<f4": "F32", "<f2": "F16"}[rows.dtype.str]
    tensor = {"dtype": kind, "shape": list(rows.shape), "data_offsets": [0, rows.nbytes]}
    header = json.dumps({"__metadata__": metadata, "embeddings": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for first in range(0, len(rows), CHUNK_ROWS):
            file.write(np.ascontiguousarray(rows[first : first + CHUNK_ROWS]).tobytes())


def write_jsonl(path: Path, rows: Rows, table: Table, metadata: Metadata) -> None:
    """Write an object a row, with the table's columns and ``vector``; the metadata is in the record beside it only."""
    with path.open("w", encoding="utf-8") as file:
        for line in table:
            values = {name: _plain(value) for name, value in zip(table.columns, line, strict=True)}
            vector = ", ".join(map(str, rows[line[0]]))  # str of a float32 is its shortest
            file.write(json.dumps(values)[:-1] + f', "vector": [{vector}]}}\n')


WRITERS: dict[str, Callable[[Path, Rows, Table, Metadata], None]] = {
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".h5": write_hdf5,
    ".safetensors": write_safetensors,
    ".jsonl": write_jsonl,
}


def write_vectors(path: Path, rows: Rows, table: Table, record: dict[str, Any]) -> None:
    """Write a file of vectors in the format that its ending names; most formats hold the table and the record, too."""
    if path.suffix == ".npy":
        np.save(path, rows)
    else:
        metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
        WRITERS[path.suffix](path, rows, table, metadata)


ENDINGS = [".npy", *WRITERS, ".lance"]
LIBRARIES = {".parquet": ("pyarrow", "parquet"), ".h5": ("h5py", "hdf5"), ".lance": ("lancedb", "lance")}  # and extra


def check_format(path: Path, what: str = "--out") -> None:
    """Check that the format of ``path``, which is ``what``, can be read and written here.

    Raises:
        FormatError: see the class.
    """
    from importlib.util import find_spec

    if path.suffix not in ENDINGS:
        raise FormatError(f"{what} must end in one of {', '.join(ENDINGS)}, got {path}.")
    module, extra = LIBRARIES.get(path.suffix, ("", ""))
    if module and find_spec(module) is None:
        raise FormatError(f'{what} {path}: {path.suffix} needs {module}: pip install "aasp-features[{extra}]".')


def _chunks(table: Table) -> Iterator[tuple[int, list[list[Any]]]]:
    lines = iter(table)
    while chunk := list(islice(lines, CHUNK_ROWS)):
        yield chunk[0][0], [[_plain(value) for value in line] for line in chunk]


def _columns(table: Table) -> dict[str, NDArray[Any]]:
    """Return the table as arrays, by column; None becomes NaN."""
    values: dict[str, list[Any]] = {name: [] for name in table.columns}
    for line in table:
        for name, value in zip(table.columns, line, strict=True):
            values[name].append(_plain(value))
    kinds = {**dict.fromkeys(NUMBERS, np.float64), **dict.fromkeys(INTEGERS, np.int64)}
    return {name: np.array(column, kinds.get(name, np.str_)) for name, column in values.items()}


def _plain(value: Any) -> Any:
    return plain_text(value) if isinstance(value, str) else value
