"""A prepared corpus: sounds in tar shards, with an index, of which only the samples of each crop are decoded.

CORPUS/corpus.json       sealed, written last: what the shards hold, and the statistics of all sounds' log-mels
CORPUS/sounds.npy        a row for each sound: its shard, its bytes there, and its number of samples
CORPUS/shard-00000.tar   sounds, mono at 16 kHz, in a format that libsndfile reads
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio.byte_pieces import join_pieces
from aasp_features.config import FRAME_HOP, FRAME_LENGTH, AaSPConfig
from aasp_features.folder.state import read_sealed
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data.batch import Spans, send
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.errors import TrainError

CORPUS_FILE, INDEX_FILE, FORMAT = "corpus.json", "sounds.npy", 1
BEGUN_FILE = "source.json"  # sealed; of a corpus that is not finished
SOUND = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("size", "<i8"), ("samples", "<i8")])
AT_ONCE = 16  # crops whose log-mels are computed together
READ_AT_ONCE = 2**19  # bytes; the decoder's many small reads of a short sound would cost more than all of its bytes


class PreparedCorpus:
    """Log-mels of sounds whose crops are decoded in threads when they are cut.

    Args:
        folder: The corpus.
        facts: Content of its ``corpus.json``.
        index: (sounds,) of dtype ``SOUND``.
        config: Frontend config, whose mean and std are replaced by the corpus' own.
        device: Device of the log-mels.
        workers: Threads that decode; with 0, crops are decoded when they are needed.

    Attributes:
        frame_lengths: (sounds,) frames of each, on the CPU.
        mean, std: Statistics that standardise the log-mels.
        sha256: Hash of the shards' hashes.
    """

    def __init__(
        self,
        folder: Path,
        facts: dict[str, Any],
        index: NDArray[Any],
        config: AaSPConfig,
        device: torch.device,
        workers: int,
    ) -> None:
        self.folder, self.index, self.device = folder, index, device
        self.shards = [str(shard["file"]) for shard in facts["shards"]]
        self.frame_lengths = LogMel.count_frames(torch.from_numpy(index["samples"].astype(np.int64)))
        self.mean, self.std = float(facts["mean"]), float(facts["std"])
        self.sha256 = hashlib.sha256("".join(shard["sha256"] for shard in facts["shards"]).encode()).hexdigest()
        self._raw = LogMel(config.replace(mean=0.0, std=1.0)).to(device)
        self._pool = ThreadPoolExecutor(workers) if workers else None

    def cut(self, spans: Spans, length: int) -> Callable[[], Tensor]:
        """Begin to decode spans; return a function that waits for them.

        It returns (rows, length, mels) log-mels, float32, standardised and rounded as those of ``CachedCorpus``, of any
        value past a span's end. It raises TrainError if a shard is damaged.
        """
        waveform = np.zeros((len(spans.sound), FRAME_HOP * (length - 1) + FRAME_LENGTH), np.float32)
        samples = FRAME_HOP * (spans.frames - 1) + FRAME_LENGTH
        rows = [row[:count] for row, count in zip(waveform, samples.tolist(), strict=True)]
        work = self._pool.map if self._pool else map
        decoding = work(self._decode, spans.sound.tolist(), (FRAME_HOP * spans.first).tolist(), rows)

        def finish() -> Tensor:
            for _ in decoding:
                pass
            parts = torch.split(torch.from_numpy(waveform), AT_ONCE)
            return torch.cat([self._log_mel(part) for part in parts])

        return finish

    def close(self) -> None:
        """End the threads, without the crops that were not begun."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _decode(self, sound: int, first: int, out: NDArray[np.float32]) -> None:
        """Decode a sound from sample ``first`` on, until ``out`` is full."""
        shard, offset, size, samples = self.index[sound].tolist()
        path = self.folder / self.shards[shard]
        try:
            with path.open("rb", buffering=0) as file, soundfile.SoundFile(_member(file, offset, size)) as decoder:
                if (decoder.samplerate, decoder.channels, decoder.frames) != (SAMPLE_RATE, 1, samples):
                    raise TrainError("it is another sound than the index says")
                decoder.seek(first)
                if len(decoder.read(out=out)) < len(out):
                    raise TrainError("it ends too early")
        except (soundfile.SoundFileError, RuntimeError, OSError, TrainError) as error:
            raise TrainError(
                f"sound {sound} in {path} cannot be decoded ({str(error).rstrip('.')}); prepare the corpus again."
            ) from error

    def _log_mel(self, waveform: Tensor) -> Tensor:
        half: Tensor = self._raw(send(waveform, self.device)).half()  # as a cached corpus is rounded before and after
        return ((half.float() - self.mean) / self.std).half().float()


def _member(shard: BinaryIO, offset: int, size: int) -> BinaryIO:
    """Return a sound as a file: read at once if it is short, else in pieces as the decoder asks for them."""
    if size > READ_AT_ONCE:
        return join_pieces(shard, [range(offset, offset + size)], shard.name)
    shard.seek(offset)
    return io.BytesIO(shard.read(size))


def is_prepared(folder: Path) -> bool:
    """Return whether a folder is a prepared corpus.

    Raises:
        TrainError: It is one that is not finished.
    """
    if not (folder / CORPUS_FILE).is_file() and read_sealed(folder / BEGUN_FILE) is not None:
        raise TrainError(f"{folder} is not finished; run the same `aasp-train prepare` again.")
    return (folder / CORPUS_FILE).is_file()


def read_prepared(folder: Path, config: AaSPConfig, device: torch.device, workers: int) -> PreparedCorpus:
    """Open a prepared corpus without reading a sound; arguments as for ``PreparedCorpus``.

    Raises:
        TrainError: The index is damaged or of another format, or a shard is missing or truncated.
    """
    facts = read_sealed(folder / CORPUS_FILE)
    if facts is None or facts.get("format") != FORMAT:
        raise TrainError(f"{folder / CORPUS_FILE} is damaged or has another format; prepare the corpus again.")
    sizes = [shard["bytes"] for shard in facts["shards"]]
    for shard, size in zip(facts["shards"], sizes, strict=True):
        path = folder / shard["file"]
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            what = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise TrainError(f"{path} {what}; copy it again, or prepare the corpus again.")
    index = _read_index(folder / INDEX_FILE)
    if index is None or len(index) != facts["sounds"] or not _fits(index, np.array(sizes)):
        raise TrainError(f"{folder / INDEX_FILE} is missing, damaged or another corpus's; copy it again.")
    return PreparedCorpus(folder, facts, index, config, device, workers)


def _read_index(path: Path) -> NDArray[Any] | None:
    try:
        index: NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return index if index.dtype == SOUND and index.ndim == 1 else None


def _fits(index: NDArray[Any], sizes: NDArray[np.int64]) -> bool:
    """Return whether all sounds are in their shards, and long enough for a frame."""
    shard, offset = index["shard"], index["offset"]
    if not ((shard >= 0) & (shard < len(sizes)) & (offset >= 0) & (index["size"] > 0)).all():
        return False
    return bool((index["size"] <= sizes[shard] - offset).all() and (index["samples"] >= FRAME_LENGTH).all())
