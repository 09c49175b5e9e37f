"""A corpus' manifest.csv: the sources, licences and lengths of its sounds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError

MANIFEST_FILE = "manifest.csv"
COLUMNS = {
    "source": ("source", "source_repo"),
    "url": ("url",),
    "commit": ("commit",),
    "licence": ("licence", "license"),
    "seconds": ("seconds",),
}


class ManifestRow(NamedTuple):
    """A row of the manifest; missing values are empty or None.

    Attributes:
        source: Origin of the sound, a URL or a name.
        url: URL of the source, from a column of its own.
        commit: Version of the source.
        licence: Licence of the sound.
        seconds: Length of the sound.
    """

    source: str
    url: str
    commit: str
    licence: str
    seconds: float | None


def manifest_file(location: Path) -> Path:
    """Return the manifest at a path, or in a folder."""
    return location / MANIFEST_FILE if location.is_dir() else location


def read_manifest(location: Path) -> list[ManifestRow]:
    """Read a manifest: CSV with any of the columns in ``COLUMNS``; others are ignored.

    Args:
        location: The file, or the folder of ``manifest.csv``.

    Raises:
        TrainError: There is no manifest, it has no rows or none of these columns, or a length is not a number.
    """
    path = manifest_file(location)
    if not path.is_file():
        raise TrainError(f"{path} does not exist; give a CSV file, or a folder with {MANIFEST_FILE}.")
    try:
        reader = csv.DictReader(io.StringIO(read_bounded(path).decode("utf-8-sig"), newline=""))
        header = reader.fieldnames or []
        named = {key: next((name for name in names if name in header), "") for key, names in COLUMNS.items()}
        rows = [{key: (row.get(name) or "").strip() for key, name in named.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{path} is not UTF-8 CSV ({error}).") from error
    if not rows or not any(named.values()):
        raise TrainError(f"{path} needs rows, and a column of source, url, commit, licence or seconds.")
    return [
        ManifestRow(
            row["source"], row["url"], row["commit"], row["licence"], _seconds(row["seconds"], f"{path}, row {number}")
        )
        for number, row in enumerate(rows, start=1)
    ]


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise TrainError(f"{where}: seconds must be a number of at least 0, got {text!r}.")
    return seconds


def total_seconds(sounds: Sequence[ManifestRow]) -> float | None:
    """Return the total length of the sounds, or None if one is unknown."""
    told = [sound.seconds for sound in sounds if sound.seconds is not None]
    return sum(told) if len(told) == len(sounds) else None


def duration(seconds: float) -> str:
    """Format seconds as hours, minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with escaped cells."""
    return "\n".join([_row(header), "|---" * len(header) + "|", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
