"""Copies of public tasks on the Hugging Face Hub, unpacked from parquet tables to the official layout."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import Formatter
from typing import TYPE_CHECKING, Any

from aasp_features.train.data.sources import SOUND, find_tables, open_table, reading
from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file, write_whole

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubCopy:
    """Layout of a copy, from its card.

    Attributes:
        tables: Pattern of the parquet files in its folder.
        clip: Path of a clip in the official layout, from the row's columns; ``{folder}`` is the table's folder.
        columns: Columns that are read and written to the list; the first one names the clip.
        listing: Path of the official list; empty if the copy does not replace it.
    """

    tables: str
    clip: str
    columns: tuple[str, ...]
    listing: str = ""

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder holds tables, the first of which has the columns."""
        tables = sorted(folder.glob(self.tables))
        try:
            if tables:
                open_table(tables[0], (*self.columns, SOUND)).close()
        except TrainError:
            return False
        return bool(tables)

    def unpack(self, folder: Path, wanted: Collection[str] | None = None) -> None:
        """Write the missing clips and the list; nothing happens without tables.

        An interrupted call can be repeated; the list is written last.

        Args:
            folder: Folder of the copy.
            wanted: Names of the clips (default: all).

        Raises:
            TrainError: A table is missing, damaged or another one, pyarrow is missing, or a file cannot be written.
        """
        if self.listing and (folder / self.listing).is_file():
            return
        rows: list[dict[str, Any]] = []
        for table in find_tables(folder, self.tables):
            with open_table(table, (*self.columns, SOUND)) as file:
                for group in range(file.num_row_groups):
                    rows += self._unpack_rows(folder, table, file, group, wanted)
        if not self.listing or not rows:
            return
        name, times = Counter(row[self.columns[0]] for row in rows).most_common(1)[0]
        if times > 1:
            raise TrainError(f"{folder}: {times} clips of its tables are named {name}; download the tables again.")
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        _make_folder((folder / self.listing).parent)
        write_whole(folder / self.listing, text.getvalue())

    def _unpack_rows(
        self, folder: Path, table: Path, file: ParquetFile, group: int, wanted: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """Unpack one group of rows; its sounds are read only if a file is missing."""
        with reading(table):
            rows: list[dict[str, Any]] = file.read_row_group(group, list(self.columns)).to_pylist()
        paths = [folder / self._clip_path(table, row) for row in rows]
        asked = [wanted is None or str(row[self.columns[0]]) in wanted for row in rows]
        missing = [number for number, path in enumerate(paths) if asked[number] and not path.is_file()]
        if missing:
            with reading(table):
                sounds = file.read_row_group(group, [SOUND]).column(SOUND)
            for number in missing:
                content = (sounds[number].as_py() or {}).get("bytes")
                if not content:
                    raise TrainError(f"{table}: {paths[number].name} has no sound.")
                _make_folder(paths[number].parent)
                with whole_file(paths[number]) as temporary:
                    temporary.write_bytes(content)
            logger.info("%s: %d clips unpacked", table, len(missing))
        return rows

    def _clip_path(self, table: Path, row: dict[str, Any]) -> PurePath:
        """Return a clip's path, which is inside the folder for any content of the table."""
        names = {field: row[field] for _, field, _, _ in Formatter().parse(self.clip) if field in row}
        for column, name in names.items():
            if name is None or str(name) in ("", ".", "..") or set(str(name)) & set("/\\\0"):
                raise TrainError(f"{table}: {column} {name!r} cannot be part of a file name.")
        return PurePath(self.clip.format(folder=table.parent.name, **names))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(
            f"{folder} cannot be created ({error.strerror or error}); move the copy, which is unpacked in place, to a "
            "writable folder."
        ) from error
