"""Prepared corpora, written with soundfile and tarfile alone."""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from aasp_features.folder.state import seal
from aasp_features.train.data.prepared import CORPUS_FILE, INDEX_FILE, SOUND

FORMATS = {"flac": ("FLAC", "PCM_16"), "wav": ("WAV", "PCM_16"), "opus": ("OGG", "OPUS")}


def write_prepared(
    folder: Path,
    waveforms: Sequence[np.ndarray],
    shards: int = 2,
    suffix: str = "flac",
    mean: float = -6.0,
    std: float = 4.0,
) -> Path:
    """Write waveforms at 16 kHz as a prepared corpus, equally many in each shard."""
    rows, facts = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for shard, numbers in enumerate(np.array_split(np.arange(len(waveforms)), shards)):
        path = folder / f"shard-{shard:05}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in numbers:
                buffer, (kind, subtype) = io.BytesIO(), FORMATS[suffix]
                soundfile.write(buffer, waveforms[number], 16000, format=kind, subtype=subtype)
                member = tarfile.TarInfo(f"{number:09}.{suffix}")
                member.size = len(buffer.getvalue())
                rows.append((shard, tar.offset + tarfile.BLOCKSIZE, member.size, len(waveforms[number])))
                tar.addfile(member, io.BytesIO(buffer.getvalue()))
        content = path.read_bytes()
        facts.append({"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    np.save(folder / INDEX_FILE, np.array(rows, SOUND))
    corpus = {"format": 1, "sounds": len(rows), "mean": mean, "std": std, "shards": facts}
    (folder / CORPUS_FILE).write_text(seal(corpus))
    return folder
