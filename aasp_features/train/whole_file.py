"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aasp_features.train.errors import TrainError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to; the file there is brought to the disk and becomes ``path`` at the end.

    Raises:
        TrainError: it cannot be written, as on a full disk; what ``path`` held before is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise TrainError(
            f"{path} cannot be written ({error.strerror or error}); what was written before is kept: make room, and "
            "give the same command again."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file: readers see the old one or the new one.

    Raises:
        TrainError: see ``whole_file``.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
