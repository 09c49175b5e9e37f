"""A decoded corpus in one memory-mapped file of 16-bit samples, which all processes share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.contents import Content
from aasp_features.folder.state import read_sealed, seal
from aasp_features.sounds.sound import Sound
from aasp_features.train.data.reading import corpus_files, read_corpus
from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file, write_whole

SAMPLES_FILE, INDEX_FILE = "samples.i16", "sounds.json"
FULL_SCALE = 32767.0
AT_ONCE = 1 << 23  # samples hashed together


class Waveforms(NamedTuple):
    """All sounds of a corpus, mono at 16 kHz.

    Attributes:
        samples: (all samples,) int16, memory-mapped, sound after sound.
        start, length: (sounds,) first sample and number of samples of each.
        sha256: Hash of the samples and the lengths.
    """

    samples: NDArray[np.int16]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    sha256: str

    def cut(self, sound: int, first: int, samples: int) -> NDArray[np.float32]:
        """Return up to ``samples`` samples from sample ``first`` of a sound, float32 in ±1."""
        begin = int(self.start[sound]) + first
        end = int(self.start[sound]) + min(first + samples, int(self.length[sound]))
        cut: NDArray[np.float32] = self.samples[begin:end].astype(np.float32) / np.float32(FULL_SCALE)
        return cut


def load_waveforms(data: Path, folder: Path) -> Waveforms:
    """Decode everything under ``data`` into ``folder``, or open what was decoded there.

    Broken files and sounds under 25 ms are logged and skipped. Samples beyond full scale are clipped. Files are
    identified by their contents, in order.

    Args:
        data: See ``read_corpus``.
        folder: Created if needed.

    Raises:
        NothingFoundError: There is no sound.
        TrainError: No sound can be used, or ``folder`` holds another corpus.
    """
    files, path = [Sound(file) for file in corpus_files(data).values()], folder / SAMPLES_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"{folder} cannot be created ({error.strerror}); give another folder.") from error
    if not (folder / INDEX_FILE).is_file():
        _decode(data, folder, files)
    if (index := read_sealed(folder / INDEX_FILE)) is None:
        raise TrainError(
            f"{folder / INDEX_FILE} is damaged or has another format; delete it to decode the sounds again."
        )
    del index["sha256"]  # of the index itself
    decoded = [Content(tuple(stamp), sha256) for stamp, sha256 in index["files"]]
    now = _contents(files, decoded)
    if _hashes(now) != _hashes(decoded):
        raise TrainError(f"{folder} holds other decoded sounds than {data}; give another folder.")
    if now != decoded:
        with suppress(TrainError):  # without new time stamps the next run only hashes the files again
            write_whole(folder / INDEX_FILE, seal({**index, "files": now}))
    length = np.array(index["length"], np.int64)
    if not path.is_file() or path.stat().st_size != 2 * int(length.sum()):
        raise TrainError(f"{path} is missing or truncated; delete {folder / INDEX_FILE} to decode the sounds again.")
    samples = np.memmap(path, np.int16, mode="r")
    return Waveforms(samples, np.cumsum(length) - length, length, index["samples_sha256"])


def _contents(files: Sequence[Sound], known: Sequence[Content]) -> list[Content]:
    return [file.content(known[index] if index < len(known) else None) for index, file in enumerate(files)]


def _hashes(contents: Sequence[Content]) -> list[str]:
    return [content.sha256 for content in contents]


def check_samples(sounds: Waveforms, folder: Path) -> None:
    """Check the checksum of all samples in ``folder``.

    Raises:
        TrainError: They are not the samples that were decoded.
    """
    digest = hashlib.sha256()
    for first in range(0, len(sounds.samples), AT_ONCE):
        digest.update(sounds.samples[first : first + AT_ONCE].data)
    digest.update(json.dumps(sounds.length.tolist()).encode())
    if digest.hexdigest() != sounds.sha256:
        raise TrainError(
            f"{folder / SAMPLES_FILE} is damaged; delete {folder / INDEX_FILE} to decode the sounds again."
        )


def _decode(data: Path, folder: Path, files: Sequence[Sound]) -> None:
    """Write the samples, then the index, so a folder with an index is complete."""
    digest, lengths, contents = hashlib.sha256(), [], _contents(files, [])
    with whole_file(folder / SAMPLES_FILE) as temporary, temporary.open("wb") as file:
        for samples in read_corpus(data, _to_int16):
            file.write(samples.tobytes())
            digest.update(samples.tobytes())
            lengths.append(len(samples))
        if _hashes(_contents(files, contents)) != _hashes(contents):
            raise TrainError(f"sounds in {data} changed while they were decoded; run the same command again.")
    digest.update(json.dumps(lengths).encode())
    index = {"files": contents, "samples_sha256": digest.hexdigest(), "length": lengths}
    write_whole(folder / INDEX_FILE, seal(index))


def _to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    samples: NDArray[np.int16] = np.rint(np.clip(waveform, -1.0, 1.0) * FULL_SCALE).astype(np.int16)
    return samples
