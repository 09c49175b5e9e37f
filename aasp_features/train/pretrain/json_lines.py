"""Files to which a run appends a JSON object a line, and which a kill may cut off in mid-line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import write_atomically


def read_json_lines(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a file, in order; a last line that was cut off is left out, and a file that is not there is empty.

    Args:
        path: of the file.
        keys: that every object has.

    Raises:
        TrainError: a whole line is no such object.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    if lines and _parsed(lines[-1], keys) is None:  # torn, or nothing
        lines.pop()
    found = [_parsed(line, keys) for line in lines]
    if None in found:
        where, told = f"{path}, line {found.index(None) + 1}", ", ".join(keys)
        raise TrainError(f"{where}, is damaged: it is no object of numbers with {told}; restore or delete it.")
    return [one for one in found if one is not None]


def append_json_line(path: Path, values: dict[str, Any]) -> None:
    """Write a line; what a full disk leaves of it is a torn one.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def write_json_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Replace a file, atomically; nothing is written where it holds these lines already.

    Raises:
        TrainError: it cannot be written.
    """
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if path.is_file() and path.read_bytes() != text.encode():
        write_atomically(path, text)


def _parsed(line: bytes, keys: Sequence[str]) -> dict[str, Any] | None:
    """None for what is no object with these numbers."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        return None
    if not isinstance(values, dict) or not all(isinstance(value, int | float) for value in values.values()):
        return None
    if not values.keys() >= set(keys):
        return None
    return values
