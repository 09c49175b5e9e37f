"""Lists of public tasks."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError


def read_lines(path: Path) -> list[str]:
    """Return the nonempty lines of a text.

    Raises:
        TrainError: It does not exist, or is not UTF-8 text.
    """
    return [line for line in map(str.strip, _text(path).splitlines()) if line]


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a comma-separated table with a header.

    Raises:
        TrainError: It does not exist or is not such a table, or a row lacks one of ``columns``.
    """
    try:
        rows = list(csv.DictReader(_text(path).splitlines(), strict=True))
    except csv.Error as error:
        raise TrainError(f"{path} is not a comma-separated table ({error}).") from None
    for number, row in enumerate(rows, start=2):
        if lacking := [column for column in columns if not row.get(column)]:
            raise TrainError(f"{path}: row {number} has no {lacking[0]!r}.")
    if not rows:
        raise TrainError(f"{path} has no rows.")
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        TrainError: It does not exist, or is not an object.
    """
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise TrainError(f"{path} is not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise TrainError(f"{path} is not a JSON object.")
    return found


def known(value: str, accepted: Mapping[str, str], path: Path, clip: str) -> str:
    """Return our name of a list's part.

    Raises:
        TrainError: The list's part is unknown.
    """
    if value not in accepted:
        raise TrainError(f"{path}: {clip} is in the part {value!r}, but parts must be {', '.join(accepted)}.")
    return accepted[value]


def first_there(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of several paths that exists in a folder, or the first path."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise TrainError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrainError(f"{path} cannot be read as UTF-8 text ({error}).") from None
