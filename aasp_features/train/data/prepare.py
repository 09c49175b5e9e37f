"""A source of any size as a prepared corpus: shards of 16 kHz FLAC, an index, statistics and a report.

While it is made, its folder also holds

- ``source.json``: the identity of the source and the length of a shard;
- ``shard-00000.npz``, behind its shard: the facts of its sounds. A shard with this file is finished;
- ``.sounds.PID/``: sounds on their way into a shard, of one process and its children, which may outlive it a little;
- ``prepare.lock``: held by the process that prepares.
"""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import tarfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError
from aasp_features.config import FRAME_LENGTH
from aasp_features.contents import sha256
from aasp_features.folder.lock import FileLock
from aasp_features.folder.progress import ProgressLines
from aasp_features.folder.state import read_sealed, seal
from aasp_features.sounds.sound import Sound
from aasp_features.train.data.prepare_report import MEASURED, corpus_report, corpus_statistics, measure
from aasp_features.train.data.prepared import BEGUN_FILE, CORPUS_FILE, FORMAT, INDEX_FILE, SOUND
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.data.sources import Row, Source
from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file, write_whole

logger = logging.getLogger(__name__)
LOCK_FILE, SOUNDS = "prepare.lock", ".sounds"
RECORD = np.dtype([("row", "<i8"), ("shard", "<i4"), ("offset", "<i8"), ("size", "<i8"), *MEASURED.descr])
ROWS_AHEAD = 4  # under way for each process


class Stored(NamedTuple):
    """One sound on its way into a shard: its row in the source, its file, its JSON and its facts."""

    row: int
    file: Path
    facts: bytes
    measured: tuple[Any, ...]


class Shard(NamedTuple):
    """A finished shard: a record of each sound, and the hash and number of its bytes."""

    records: NDArray[Any]
    sha256: str
    bytes: int


def prepare(source: Source, out: Path, shard_seconds: float, workers: int | None = None) -> dict[str, Any]:
    """Prepare a corpus, or continue; return the content of its ``corpus.json``.

    A killed call can be repeated: finished shards are kept, and the result is that of an uninterrupted one, byte for
    byte. Broken sounds and those under 25 ms are logged and counted.

    Args:
        source: The source.
        out: Folder of the corpus; new, empty, or one that was begun from this source.
        shard_seconds: Seconds of sound after which a shard ends.
        workers: Number of processes that decode (default: one per CPU); 1 decodes in this one.

    Raises:
        TrainError: The folder holds something else, no sound can be used, a process died, or a file cannot be written.
        LockedError: Another process prepares there.
    """
    begun = {"format": FORMAT, "source": source.identity(), "shard_seconds": shard_seconds}
    out.mkdir(parents=True, exist_ok=True)
    lock, threads = FileLock(out / LOCK_FILE), torch.get_num_threads()
    lock.acquire()
    try:
        torch.set_num_threads(1)  # as the processes; another number would give other last bits
        if (corpus := _begin(out, begun)) is None:
            corpus = _prepare(source, out, shard_seconds, workers or os.cpu_count() or 1, begun)
        _clean(out, [BEGUN_FILE, "shard-*.npz", f"{SOUNDS}.*"])
        with suppress(OSError):  # where an open file cannot be deleted
            lock.path.unlink()
        return corpus
    finally:
        torch.set_num_threads(threads)
        lock.release()


def _begin(out: Path, begun: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a finished corpus is; else leave a folder that this source may be prepared in."""
    corpus = read_sealed(out / CORPUS_FILE)
    found = (corpus or {}).get("made_from") or read_sealed(out / BEGUN_FILE)
    if found is None and any(path.name != LOCK_FILE and not path.name.startswith(".") for path in out.iterdir()):
        raise TrainError(f"{out} holds other files; give a new or empty folder.")
    if found is not None and any(found.get(name) != value for name, value in begun.items()):
        raise TrainError(
            f"{out} was begun from another source, from other files in it, or with another --shard-hours; give a new "
            "folder, or delete this one."
        )
    if corpus is None:
        _clean(out, [".shard-*", f".{INDEX_FILE}.*", f".{CORPUS_FILE}.*", f".{BEGUN_FILE}.*", f"{SOUNDS}.*"])
        write_whole(out / BEGUN_FILE, seal(begun))
    return corpus


def _clean(out: Path, patterns: list[str]) -> None:
    for path in chain.from_iterable(map(out.glob, patterns)):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _prepare(source: Source, out: Path, seconds: float, workers: int, begun: dict[str, Any]) -> dict[str, Any]:
    for name, reason in source.problems.items():
        logger.warning("left out: %s: %s", name, reason)
    if source.passed_over:
        logger.info("passed over: %s", ", ".join(f"{count} {end}" for end, count in source.passed_over.most_common()))
    shards: list[Shard] = []
    while (shard := _finished(out, len(shards))) is not None:
        shards.append(shard)
    first_row = int(shards[-1].records["row"][-1]) + 1 if shards else 0
    conversion = Conversion(source, out / f"{SOUNDS}.{os.getpid()}", first_row, workers)
    sounds = iter(conversion)
    while (first := next(sounds, None)) is not None:
        shards.append(_write_shard(out, shards, chain([first], sounds), seconds))
        logger.info("shard-%05d.tar: %d sounds", len(shards) - 1, len(shards[-1].records))
    if not shards:
        raise TrainError("none of the sounds can be used; see the log for the reasons.")
    if source.identity() != begun["source"]:
        raise TrainError(f"the source changed while it was prepared; delete {out}, then run the same command again.")
    return _finish(out, shards, conversion.rows + len(source.problems), begun)


class Conversion:
    """Sounds from row ``first`` of a source on, stored by processes, in order; broken ones are logged.

    Decoding packet by packet holds Python's lock, so processes and not threads decode.

    Attributes:
        rows: Number of rows that were taken so far.
    """

    def __init__(self, source: Source, folder: Path, first: int, workers: int) -> None:
        self.source, self.folder, self.rows, self.workers = source, folder, first, workers

    def __iter__(self) -> Iterator[Stored]:
        self.folder.mkdir(exist_ok=True)
        total = self.source.total
        progress = ProgressLines(logger.info, lambda: total, _line) if total else lambda done: None
        progress(self.rows)
        for stored in self._ahead():
            self.rows += 1
            progress(1)
            if isinstance(stored, Stored):
                yield stored
            else:
                logger.warning("left out: %s", stored)

    def _ahead(self) -> Iterator[Stored | str]:
        """Yield the results of all rows; a few rows are under way."""
        waiting: deque[Future[Stored | str]] = deque()
        pool = _pool(self.workers)
        try:
            for index, row in enumerate(self.source.rows(self.rows), self.rows):
                waiting.append(pool.submit(store, index, row, self.folder))
                if len(waiting) == ROWS_AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise TrainError(
                "a process that decodes was killed, perhaps for its memory; run the same command again, with fewer "
                "--workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _line(done: float, total: float, speed: float) -> str:
    return f"{done:,.0f} of {total:,.0f} sounds, {speed:.1f} a second"


def _pool(workers: int) -> Executor:
    if workers == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_process)


def _begin_process() -> None:
    """Leave Ctrl-C to the parent, end with it, and compute with one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def store(index: int, row: Row, folder: Path) -> Stored | str:
    """Write a sound of a source as a FLAC file into ``folder``; return why if it cannot be used.

    Raises:
        TrainError: The file cannot be written.
    """
    path = folder / f"{index}.flac"
    try:
        stream = row.stream()
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
            for block in stream:
                file.write(np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16))
            samples = file.frames
        if samples < FRAME_LENGTH:
            raise AudioError(f"{samples} samples, under 25 ms.")
    except AudioError as error:
        path.unlink(missing_ok=True)
        place = row.sound.name if isinstance(row.sound, Sound) else row.name
        return f"{row.name}: {str(error).removeprefix(f'{place}: ')}"
    except soundfile.SoundFileError as error:
        raise TrainError(f"{path} cannot be written ({str(error).rstrip('.')}); free some space.") from error
    info = stream.info
    facts = {"name": row.name, "rate": info.rate, "channels": info.channels, "seconds": round(info.seconds, 6)}
    facts |= {"metadata": row.metadata} if row.metadata else {}
    text = json.dumps(facts, default=lambda value: None if isinstance(value, bytes) else str(value))
    return Stored(index, path, text.encode(), measure(path, info.rate))


def _write_shard(out: Path, before: list[Shard], sounds: Iterator[Stored], seconds: float) -> Shard:
    """Write the next shard, then the facts of its sounds, with which it is finished."""
    number, path = sum(len(shard.records) for shard in before), out / f"shard-{len(before):05}.tar"
    records: list[tuple[Any, ...]] = []
    length = 0
    with whole_file(path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            for sound in sounds:
                name, offset = f"{number + len(records):09}", tar.offset + tarfile.BLOCKSIZE  # behind the header
                with sound.file.open("rb") as file:
                    size = _add(tar, f"{name}.flac", file)
                _add(tar, f"{name}.json", io.BytesIO(sound.facts))
                sound.file.unlink()
                records.append((sound.row, len(before), offset, size, *sound.measured))
                length += sound.measured[0]
                if length >= seconds * SAMPLE_RATE:
                    break
        shard = Shard(np.array(records, RECORD), sha256(temporary), temporary.stat().st_size)
    with whole_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **shard._asdict())
    return shard


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO) -> int:
    """Add a member without owner and time; return its size."""
    member = tarfile.TarInfo(name)
    member.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(member, file)
    return member.size


def _finished(out: Path, number: int) -> Shard | None:
    """Return a shard if it is finished and whole."""
    path = out / f"shard-{number:05}.tar"
    try:
        with np.load(path.with_suffix(".npz")) as facts:
            shard = Shard(facts["records"], str(facts["sha256"]), int(facts["bytes"]))
        return shard if path.stat().st_size == shard.bytes and shard.records.dtype == RECORD else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _finish(out: Path, shards: list[Shard], rows: int, begun: dict[str, Any]) -> dict[str, Any]:
    """Write the index, then ``corpus.json``, with which the corpus is finished."""
    sounds = np.concatenate([shard.records for shard in shards])
    statistics, report = corpus_statistics(sounds), corpus_report(sounds, rows - len(sounds))
    with whole_file(out / INDEX_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, repack_fields(sounds[list(SOUND.names or ())]))
    made = [
        {"file": f"shard-{number:05}.tar", "bytes": size, "sha256": digest, "sounds": len(records)}
        for number, (records, digest, size) in enumerate(shards)
    ]
    corpus = {"format": FORMAT, "sounds": len(sounds), "hours": report["hours"]}
    corpus |= {"mean": statistics.mean, "std": statistics.std, "shards": made, "report": report, "made_from": begun}
    write_whole(out / CORPUS_FILE, seal(corpus, indent=1))
    return corpus


def read_corpus_facts(folder: Path) -> dict[str, Any]:
    """Return the content of a finished corpus' ``corpus.json``.

    Raises:
        TrainError: The folder holds none.
    """
    if (corpus := read_sealed(folder / CORPUS_FILE)) is None or "report" not in corpus:
        raise TrainError(f"{folder} is no finished corpus; name the folder of a new one with --out.")
    return corpus
