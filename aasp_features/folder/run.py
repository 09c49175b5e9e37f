"""Files -> vectors and tables on disk: the whole of ``aasp-embed`` but its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aasp_features.audio import AudioInfo
from aasp_features.config import Pooling
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.decode_pool import DecodePool
from aasp_features.folder.writers import OutputError, RowFile, write_table

COLUMNS = ["row", "path", "seconds", "sample_rate", "channels"]


@dataclass(frozen=True)
class RunResult:
    """How a run went: rows written, and the files that failed with their reasons."""

    rows: int
    failures: dict[Path, str]


def default_workers() -> int:
    """Decoding threads: one for each CPU this process may use, 8 at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, available)


def embed_files(
    encoder: AaSPEncoder,
    files: Sequence[Path],
    out: Path,
    *,
    pooling: Pooling | None = None,
    layers: int | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    on_file: Callable[[Path, str | None], None] = lambda path, error: None,
) -> RunResult:
    """Embed files; write ``out`` (rows x d float32), its ``.csv``, and ``.errors.csv`` if any file failed.

    Rows stand in the order of ``files``; a file that cannot be read has none. Older results stay until the new ones
    are complete.

    Args:
        encoder: computes the vectors.
        files: what to embed.
        out: path of the ``.npy`` file.
        pooling, layers, batch_size: as in ``AaSPEncoder.embed``.
        workers: decoding threads.
        on_file: called for every file when it is done, with its error if it failed.

    Raises:
        OutputError: the disk is full or fails; nothing of the new results is left.
    """
    pool = DecodePool(files, encoder, workers or default_workers())
    failures: dict[int, str] = {}
    try:
        with RowFile(out, len(files)) as rows:
            for place, result in encoder.embed_windows(pool, batch_size, pooling, layers):
                if isinstance(result, Exception):
                    failures[place] = _reason(result, files[place])
                else:
                    rows.write(place, result)
                on_file(files[place], failures.get(place))
            places = rows.finish()
        write_table(out.with_suffix(".csv"), COLUMNS, _table(files, places, pool.infos))
        _write_failures(out.with_suffix(".errors.csv"), files, failures)
    except OSError as error:
        raise OutputError(f"{out}: writing failed ({error.strerror or error}); no new results were left.") from error
    return RunResult(len(places), {files[place]: reason for place, reason in sorted(failures.items())})


def _table(files: Sequence[Path], places: list[int], infos: dict[int, AudioInfo]) -> list[list[object]]:
    rows: list[list[object]] = []
    for row, place in enumerate(places):
        info = infos[place]
        rows.append([row, str(files[place]), f"{info.seconds:.6f}", info.rate, info.channels])
    return rows


def _write_failures(path: Path, files: Sequence[Path], failures: dict[int, str]) -> None:
    if failures:
        write_table(
            path, ["path", "error"], [[str(files[place]), reason] for place, reason in sorted(failures.items())]
        )
    else:
        path.unlink(missing_ok=True)  # of an earlier run


def _reason(error: Exception, path: Path) -> str:
    """The error's sentence without the path in front, which has a column of its own."""
    return (str(error) or type(error).__name__).removeprefix(f"{path}: ")
