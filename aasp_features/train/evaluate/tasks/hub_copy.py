"""Copies of public tasks on the Hugging Face Hub, in parquet tables that hold the sounds -> the official layout."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import Formatter
from typing import TYPE_CHECKING, Any

from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file, write_atomically

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

logger = logging.getLogger(__name__)
SOUND = "audio"  # the column of sounds: {bytes, path}
NUMBERED = re.compile(r"(.*)-\d{5}-of-(\d{5})")  # train-00000-of-00002-2f1ab7b824ec751f.parquet


@dataclass(frozen=True)
class HubCopy:
    """How a copy is packed, as its card says.

    Attributes:
        tables: pattern of the parquet files in its folder.
        clip: where a clip lies in the official layout, from the row's columns; ``{folder}`` is the table's folder.
        columns: that are read, and written to the list; the first one names the clip.
        listing: where the official list lies; empty where the copy does not replace it.
    """

    tables: str
    clip: str
    columns: tuple[str, ...]
    listing: str = ""

    def lies_in(self, folder: Path) -> bool:
        """Are there tables, and does the first have the columns?"""
        tables = sorted(folder.glob(self.tables))
        try:
            if tables:
                open_table(tables[0], (*self.columns, SOUND)).close()
        except TrainError:
            return False
        return bool(tables)

    def unpack(self, folder: Path, wanted: Collection[str] | None = None) -> None:
        """Write the clips and the list that are not there yet beside the tables; nothing where there are no tables.

        Interrupted, it goes on where it was; the list comes last.

        Args:
            folder: of the copy.
            wanted: clips by name; None means all.

        Raises:
            TrainError: a table is missing, damaged or another one, pyarrow is not installed, or nothing can be written.
        """
        if self.listing and (folder / self.listing).is_file():
            return
        rows: list[dict[str, Any]] = []
        for table in self._tables(folder):
            with open_table(table, (*self.columns, SOUND)) as file:
                for group in range(file.num_row_groups):
                    rows += self._unpack_rows(folder, table, file, group, wanted)
        if not self.listing or not rows:
            return
        name, times = Counter(row[self.columns[0]] for row in rows).most_common(1)[0]
        if times > 1:
            raise TrainError(f"{folder}: {times} clips of its tables are called {name}.")
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        make_folder((folder / self.listing).parent)
        write_atomically(folder / self.listing, text.getvalue())

    def _tables(self, folder: Path) -> list[Path]:
        """All of them, in order.

        Raises:
            TrainError: their names tell that some are missing, as of a download that was interrupted.
        """
        tables = sorted(folder.glob(self.tables))
        matches = [(table.parent, NUMBERED.match(table.name)) for table in tables]
        series = Counter((parent, match[1], int(match[2])) for parent, match in matches if match)
        for (parent, name, wanted), found in series.items():
            if found != wanted:
                raise TrainError(f"{parent} holds {found} of {wanted} tables {name}-*.parquet; download the rest.")
        return tables

    def _unpack_rows(
        self, folder: Path, table: Path, file: ParquetFile, group: int, wanted: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """Those of one group; its sounds are only read where a file is missing."""
        rows: list[dict[str, Any]] = read_columns(table, file, group, self.columns).to_pylist()
        places = [folder / self._place(table, row) for row in rows]
        asked = [wanted is None or str(row[self.columns[0]]) in wanted for row in rows]
        missing = [number for number, place in enumerate(places) if asked[number] and not place.is_file()]
        if missing:
            sounds = read_columns(table, file, group, (SOUND,)).column(SOUND)
            for number in missing:
                content = (sounds[number].as_py() or {}).get("bytes")
                if not content:
                    raise TrainError(f"{table}: {places[number].name} has no sound.")
                make_folder(places[number].parent)
                with whole_file(places[number]) as temporary:
                    temporary.write_bytes(content)
            logger.info("%s: %d clips unpacked", table, len(missing))
        return rows

    def _place(self, table: Path, row: dict[str, Any]) -> PurePath:
        """Of a clip, inside the folder whatever the table says."""
        names = {field: row[field] for _, field, _, _ in Formatter().parse(self.clip) if field in row}
        for column, name in names.items():
            if name is None or str(name) in ("", ".", "..") or set(str(name)) & set("/\\\0"):
                raise TrainError(f"{table}: {column} {name!r} cannot be part of a file's name.")
        return PurePath(self.clip.format(folder=table.parent.name, **names))


def open_table(table: Path, columns: Sequence[str]) -> ParquetFile:
    """A table that has these columns.

    Raises:
        TrainError: it cannot be read, lacks one, has no sounds, or pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
        from pyarrow.types import is_struct
    except ImportError:
        raise TrainError(f'{table} needs pyarrow to be unpacked: pip install "aasp-features[parquet]".') from None
    try:
        file = ParquetFile(table)
    except (OSError, ArrowException) as error:
        raise TrainError(_unreadable(table, error)) from error
    schema = file.schema_arrow
    lacking = [name for name in columns if name not in schema.names]
    if not lacking and is_struct(schema.field(SOUND).type):
        return file
    file.close()
    raise TrainError(f"{table}: has no column {lacking[0] if lacking else f'{SOUND} of bytes and path'!r}.")


def read_columns(table: Path, file: ParquetFile, group: int, columns: Sequence[str]) -> Any:
    """Of one group of rows.

    Raises:
        TrainError: they cannot be read.
    """
    from pyarrow import ArrowException

    try:
        return file.read_row_group(group, list(columns))
    except (OSError, ArrowException) as error:
        raise TrainError(_unreadable(table, error)) from error


def make_folder(folder: Path) -> None:
    """And those above it.

    Raises:
        TrainError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(
            f"{folder} cannot be made ({error.strerror or error}); a copy is unpacked where it lies: move it to "
            "where files can be written."
        ) from error


def _unreadable(table: Path, error: Exception) -> str:
    return f"{table} cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]}); download it again."
