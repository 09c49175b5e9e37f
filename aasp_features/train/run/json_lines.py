"""Files of one JSON object per line, whose last line may be truncated by a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import write_whole


def read_json_lines(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of a file in order. A truncated last line is skipped; a missing file is empty.

    Args:
        path: Path of the file.
        keys: Keys that every object has.

    Raises:
        TrainError: A complete line is not such an object.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    if lines and _parsed(lines[-1], keys) is None:  # truncated or empty
        lines.pop()
    found = [_parsed(line, keys) for line in lines]
    if None in found:
        line, needed = found.index(None) + 1, ", ".join(keys)
        raise TrainError(
            f"{path}, line {line} is damaged: it is no object of numbers with {needed}; restore or delete it."
        )
    return [one for one in found if one is not None]


def append_json_line(path: Path, values: dict[str, Any]) -> None:
    """Append a line; a full disk leaves a truncated one.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def write_json_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Replace a file atomically, unless it holds these lines already.

    Raises:
        TrainError: It cannot be written.
    """
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if path.is_file() and path.read_bytes() != text.encode():
        write_whole(path, text)


def _parsed(line: bytes, keys: Sequence[str]) -> dict[str, Any] | None:
    """Parse an object of numbers with these keys; None if the line is none."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        return None
    if not isinstance(values, dict) or not all(isinstance(value, int | float) for value in values.values()):
        return None
    if not values.keys() >= set(keys):
        return None
    return values
