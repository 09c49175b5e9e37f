"""Atomic writes whose failure is a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aasp_features import whole_file as plain
from aasp_features.train.errors import TrainError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; at the end, its file replaces ``path``.

    Raises:
        TrainError: It cannot be written, as on a full disk; ``path`` keeps its content.
    """
    try:
        with plain.whole_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise TrainError(
            f"{path} cannot be written ({error.strerror or error}); the earlier state is kept: free some space, then "
            "run the same command again."
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Replace a small text file atomically; errors as for ``whole_file``."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
