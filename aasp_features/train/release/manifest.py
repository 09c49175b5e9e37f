"""A corpus' manifest.csv -> its sounds' sources, licences and seconds, as far as it tells them."""

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


class Sound(NamedTuple):
    """A row of the manifest; what it does not tell is empty, or None.

    Attributes:
        source: where the sound comes from: a URL, or a name.
        url: of the source, where it has a column of its own.
        commit: version of the source.
        licence: of the sound.
        seconds: its length.
    """

    source: str
    url: str
    commit: str
    licence: str
    seconds: float | None


def manifest_file(place: Path) -> Path:
    """Return the manifest that a file or folder means."""
    return place / MANIFEST_FILE if place.is_dir() else place


def read_manifest(place: Path) -> list[Sound]:
    """The rows of a manifest: CSV with any of the columns in ``COLUMNS``; others are not read.

    Args:
        place: the file, or the folder that holds ``manifest.csv``.

    Raises:
        TrainError: no manifest there, one without rows or without these columns, or seconds that are no number.
    """
    path = manifest_file(place)
    if not path.is_file():
        raise TrainError(f"{path}: no such manifest; give a CSV file, or a folder with {MANIFEST_FILE}.")
    try:
        reader = csv.DictReader(io.StringIO(read_bounded(path).decode("utf-8-sig"), newline=""))
        header = reader.fieldnames or []
        named = {key: next((name for name in names if name in header), "") for key, names in COLUMNS.items()}
        rows = [{key: (row.get(name) or "").strip() for key, name in named.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{path} is no CSV in UTF-8 ({error}).") from error
    if not rows or not any(named.values()):
        raise TrainError(f"{path} needs rows, and a column of source, url, commit, licence or seconds.")
    return [
        Sound(
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


def total_seconds(sounds: Sequence[Sound]) -> float | None:
    """Length of the sounds together; None unless every one tells its own."""
    told = [sound.seconds for sound in sounds if sound.seconds is not None]
    return sum(told) if len(told) == len(sounds) else None


def duration(seconds: float) -> str:
    """In hours, minutes or seconds, whichever reads best."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; no cell can break it."""
    return "\n".join([_row(header), "|---" * len(header) + "|", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
