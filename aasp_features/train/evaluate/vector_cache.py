"""Vectors of a task's files by a method, kept on disk block by block: computed once, and gone on with after a kill."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.methods import Method

BLOCK = 256  # files


def default_cache() -> Path:
    """Where vectors are kept unless told otherwise: XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aasp-features" / "vectors"


def task_vectors(
    method: Method, files: Sequence[Path], cache: Path | None, on_block: Callable[[int], None] = lambda count: None
) -> NDArray[np.float32]:
    """(clips, d) float32, one row for each file.

    Args:
        method: says how.
        files: each block's key holds their paths, sizes and times of change.
        cache: a folder; None keeps nothing.
        on_block: called with the number of files of every block that is done.

    Raises:
        TrainError: the method gives no finite vector for each file.
        AudioError: a file that cannot be read.
    """
    blocks = []
    for first in range(0, len(files), BLOCK):
        part = files[first : first + BLOCK]
        place = None if cache is None else cache / f"{_key(method, part)}.npy"
        block = None if place is None else _read(place, len(part))
        if block is None:
            block = _computed(method, part)
            if place is not None:
                _write(place, block)
        blocks.append(block)
        on_block(len(part))
    if len({block.shape[1] for block in blocks}) != 1:
        raise TrainError(f"{method.name}: gives vectors of several lengths, {sorted({b.shape[1] for b in blocks})}.")
    return np.concatenate(blocks)


def _computed(method: Method, files: Sequence[Path]) -> NDArray[np.float32]:
    try:
        block = np.asarray(method.vectorise(files), np.float32)
    except ValueError as error:
        raise TrainError(f"{method.name}: {error}") from error
    if block.ndim != 2 or len(block) != len(files):
        raise TrainError(f"{method.name}: gave an array of shape {block.shape} for {len(files)} sounds.")
    if not (finite := np.isfinite(block).all(axis=1)).all():
        raise TrainError(f"{method.name}: its vector of {files[int(np.argmin(finite))]} is not finite.")
    return block


def _key(method: Method, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(method.identity.encode())
    for path in files:
        status = path.stat()
        digest.update(f"\0{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read(place: Path, count: int) -> NDArray[np.float32] | None:
    """None if it is not there, or not what was written."""
    try:
        block = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = block.dtype == np.float32 and block.ndim == 2 and len(block) == count
    return block if whole and np.isfinite(block).all() else None


def _write(place: Path, block: NDArray[np.float32]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, block)
    partial.replace(place)
