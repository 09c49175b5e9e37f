"""A cache of vectors on disk, in blocks, so interrupted computations continue."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from aasp_features.folder.progress import ProgressLines
from aasp_features.sounds.sound import Sound
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.methods import Method
from aasp_features.train.whole_file import whole_file

BLOCK = 256  # files
CHECKSUM = 32  # bytes after a block's values: sha256 of its key and its values


def vector_cache(folder: Path | None) -> Path:
    """Return the folder of cached vectors (default: in XDG_CACHE_HOME or ~/.cache)."""
    return folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aasp-features" / "vectors"


def with_progress(method: Method, name: str, files: Sequence[Path], cache: Path | None) -> NDArray[np.float32]:
    """Return the vectors of files, with progress on stderr: a bar, or lines outside a terminal."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(f"{method.name}: {name}", total=len(files))
            return task_vectors(method, files, cache, lambda count: progress.advance(bar, count))
    lines = ProgressLines(
        lambda line: typer.echo(f"{method.name}: {name}: {line}", err=True),
        lambda: len(files),
        lambda done, total, speed: f"{done:.0f} of {total:.0f} files, {speed:.1f} a second",
    )
    lines(0)
    return task_vectors(method, files, cache, lines)


def task_vectors(
    method: Method, files: Sequence[Path], cache: Path | None, on_block: Callable[[int], None] = lambda count: None
) -> NDArray[np.float32]:
    """Return the vectors of files, (clips, d) float32.

    Args:
        method: Method of the vectors.
        files: Files; a block's key hashes their contents, not their names.
        cache: Cache folder; None does not cache.
        on_block: Function of the number of files in each finished block.

    Raises:
        TrainError: The method returns no finite vector for each file, or the cache cannot be written.
        AudioError: A file cannot be read.
    """
    blocks = []
    for first in range(0, len(files), BLOCK):
        part = files[first : first + BLOCK]
        blocks.append(_computed(method, part) if cache is None else _kept(method, part, cache))
        on_block(len(part))
    if len({block.shape[1] for block in blocks}) != 1:
        raise TrainError(f"{method.name} returned vectors of several lengths, {sorted({b.shape[1] for b in blocks})}.")
    return np.concatenate(blocks)


def _kept(method: Method, files: Sequence[Path], cache: Path) -> NDArray[np.float32]:
    """Return a block from the cache, or compute it; it is cached unless a file changed meanwhile."""
    contents = [Sound(path).content() for path in files]
    key = hashlib.sha256("\0".join([method.identity, *(content.sha256 for content in contents)]).encode())
    entry = cache / f"{key.hexdigest()}.npy"
    if (block := _read(entry)) is None:
        block = _computed(method, files)
        after = [Sound(path).content(before) for path, before in zip(files, contents, strict=True)]
        if [content.sha256 for content in after] == [content.sha256 for content in contents]:
            _write(entry, block)
    return block


def _computed(method: Method, files: Sequence[Path]) -> NDArray[np.float32]:
    try:
        block = np.asarray(method.embed_files(files), np.float32)
    except ValueError as error:
        raise TrainError(f"{method.name}: {error}") from error
    if block.ndim != 2 or len(block) != len(files):
        raise TrainError(f"{method.name} returned an array of shape {block.shape} for {len(files)} sounds.")
    if not (finite := np.isfinite(block).all(axis=1)).all():
        raise TrainError(f"{method.name}: its vector of {files[int(np.argmin(finite))]} is not finite.")
    return block


def _read(entry: Path) -> NDArray[np.float32] | None:
    """Return a block, or None if it does not exist or is damaged."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    if _checksum(entry, content[:-CHECKSUM]) != content[-CHECKSUM:]:
        return None
    block: NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
    return block


def _write(entry: Path, block: NDArray[np.float32]) -> None:
    content = io.BytesIO()
    np.save(content, block)
    with whole_file(entry) as temporary:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.getvalue() + _checksum(entry, content.getvalue()))


def _checksum(entry: Path, content: bytes) -> bytes:
    return hashlib.sha256(entry.stem.encode() + content).digest()
