"""JSON that shows whether it was changed, and files that show whether they are those that were written."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

END_BYTES = 2**20


def seal(values: dict[str, Any], before: str = "", indent: int | None = None) -> str:
    """The values as JSON with a last key, ``sha256``: of the others, and of ``before``, which is not repeated."""
    return json.dumps({**values, "sha256": checksum(values, before)}, indent=indent) + "\n"


def unseal(text: bytes, before: str = "") -> dict[str, Any] | None:
    """What was sealed, with its ``sha256``; None where text or ``before`` are not what they were."""
    try:
        values = json.loads(text)
        rest = {name: value for name, value in values.items() if name != "sha256"}
        return values if values["sha256"] == checksum(rest, before) else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What was sealed in a file; None where it is missing or was changed."""
    try:
        return unseal(path.read_bytes())
    except OSError:
        return None


def checksum(values: dict[str, Any], before: str = "") -> str:
    """sha256 of plain values, whatever their order, after ``before``."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((before + text).encode()).hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """Size of a file, and sha256 of its first and last MiB: quick, however long it is."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(END_BYTES))
        file.seek(max(END_BYTES, size - END_BYTES))
        digest.update(file.read(END_BYTES))
    return {"bytes": size, "ends_sha256": digest.hexdigest()}


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there in full or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
