"""JSON that anybody may have written: bounded, no key twice, no NaN; whatever is wrong is a ValueError."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def read_json(text: str | bytes, most: int) -> Any:
    """What a text says.

    Args:
        text: UTF-8 if bytes.
        most: characters or bytes that are read; what is longer is not looked into.

    Raises:
        ValueError: too long, not JSON (NaN and Infinity are not), nested too deeply, a key twice in one object; the
            message has no full stop.
    """
    if len(text) > most:
        raise ValueError(f"longer than the {most} bytes that it may have")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(decoded, object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:40]!r} stands there twice")
    return values


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no number")
