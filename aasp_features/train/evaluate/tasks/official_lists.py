"""Lists that come with public tasks; whatever is not as it should be is a sentence."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError


def read_lines(path: Path) -> list[str]:
    """Lines of a text, without empty ones.

    Raises:
        TrainError: it is not there, or no UTF-8 text.
    """
    return [line for line in map(str.strip, _text(path).splitlines()) if line]


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table with commas and a header.

    Raises:
        TrainError: it is not there, is no such table, lacks one of ``columns``, or a row has no value there.
    """
    try:
        rows = list(csv.DictReader(_text(path).splitlines(), strict=True))
    except csv.Error as error:
        raise TrainError(f"{path}: is no table with commas ({error}).") from None
    for number, row in enumerate(rows, start=2):
        if lacking := [column for column in columns if not row.get(column)]:
            raise TrainError(f"{path}: row {number} has no {lacking[0]!r}.")
    if not rows:
        raise TrainError(f"{path}: holds no rows.")
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """An object.

    Raises:
        TrainError: it is not there, or something else.
    """
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise TrainError(f"{path}: is no JSON ({error}).") from None
    if not isinstance(found, dict):
        raise TrainError(f"{path}: is no JSON object.")
    return found


def known(value: str, accepted: Mapping[str, str], path: Path, clip: str) -> str:
    """What a list calls a part -> what we call it.

    Raises:
        TrainError: none of these.
    """
    if value not in accepted:
        raise TrainError(f"{path}: {clip} is in the part {value!r}, which is none of {', '.join(accepted)}.")
    return accepted[value]


def first_there(folder: Path, names: Sequence[str]) -> Path:
    """The first of several places that exists in a folder; if none does, the first name's."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise TrainError(f"{path} is not there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrainError(f"{path} cannot be read as UTF-8 text ({error}).") from None
