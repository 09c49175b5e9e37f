"""Copies of public tasks on the Hugging Face Hub, in parquet tables that hold the sounds -> the official layout."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file, write_atomically

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

logger = logging.getLogger(__name__)
SOUND = "audio"  # the column of sounds: {bytes, path}


@dataclass(frozen=True)
class HubCopy:
    """How a copy is packed, as its card says.

    Attributes:
        tables: pattern of the parquet files in its folder.
        clip: where a clip lies in the official layout, from the row's columns; ``{folder}`` is the table's folder.
        columns: that are read, and written to the list.
        listing: where the official list lies; empty where the copy does not replace it.
    """

    tables: str
    clip: str
    columns: tuple[str, ...]
    listing: str = ""

    def unpack(self, folder: Path) -> None:
        """Write the clips and the list that are not there yet beside the tables; nothing where there are no tables.

        Interrupted, it goes on where it was; the list comes last.

        Raises:
            TrainError: a table cannot be read or is another one, pyarrow is not installed, or nothing can be written.
        """
        tables = sorted(folder.glob(self.tables))
        if not tables or (self.listing and (folder / self.listing).is_file()):
            return
        rows = [row for table in tables for row in self._unpack_table(folder, table)]
        if self.listing:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns)
            writer.writeheader()
            writer.writerows(rows)
            make_folder((folder / self.listing).parent)
            write_atomically(folder / self.listing, text.getvalue())

    def _unpack_table(self, folder: Path, table: Path) -> list[dict[str, Any]]:
        """A table's rows, without their sounds, which are files then."""
        arrow_error = arrow_or_sentence(table)
        try:
            with open_table(table, (*self.columns, SOUND)) as file:
                groups = [self._unpack_rows(folder, table, file, group) for group in range(file.num_row_groups)]
        except (OSError, arrow_error) as error:
            raise TrainError(f"{table} cannot be read ({(str(error).splitlines() or [''])[0]}).") from error
        rows = [row for group in groups for row in group]
        logger.info("%s: unpacked, %d clips", table, len(rows))
        return rows

    def _unpack_rows(self, folder: Path, table: Path, file: ParquetFile, group: int) -> list[dict[str, Any]]:
        """Those of one group; its sounds are only read where a file is missing."""
        rows: list[dict[str, Any]] = file.read_row_group(group, list(self.columns)).to_pylist()
        places = [folder / self._place(table, row) for row in rows]
        if missing := [number for number, place in enumerate(places) if not place.is_file()]:
            sounds = file.read_row_group(group, [SOUND]).column(SOUND)
            for number in missing:
                make_folder(places[number].parent)
                with whole_file(places[number]) as temporary:
                    temporary.write_bytes(sounds[number].as_py()["bytes"])
        return rows

    def _place(self, table: Path, row: dict[str, Any]) -> PurePath:
        """Of a clip, inside the folder whatever the table says."""
        names = {name: str(value) for name, value in row.items()}
        if wrong := [name for name in names.values() if name in ("", ".", "..") or set(name) & set("/\\\0")]:
            raise TrainError(f"{table}: {wrong[0]!r} cannot be part of a file's name.")
        return PurePath(self.clip.format(folder=table.parent.name, **names))


def arrow_or_sentence(table: Path) -> type[Exception]:
    """What pyarrow raises.

    Raises:
        TrainError: it is not installed.
    """
    try:
        from pyarrow import ArrowException
    except ImportError:
        raise TrainError(f'{table} needs pyarrow to be unpacked: pip install "aasp-features[parquet]".') from None
    return ArrowException  # type: ignore[no-any-return]


def open_table(table: Path, columns: tuple[str, ...]) -> ParquetFile:
    """A table that has these columns.

    Raises:
        TrainError: it lacks one.
    """
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(table)
    if lacking := [name for name in columns if name not in file.schema_arrow.names]:
        file.close()
        raise TrainError(f"{table}: has no column {lacking[0]!r}.")
    return file


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
