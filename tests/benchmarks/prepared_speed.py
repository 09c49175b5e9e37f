"""Crops a second from a prepared corpus against its bare decoder, and what the start costs with many sounds.

``python tests/benchmarks/prepared_speed.py --data DATA [--rounds 9]``

The first 20 minutes of DATA become clips of 10 s. One thread cuts batches of 64 crops. The bare decoder opens, seeks
and reads the same crops from bytes in memory. Speeds are per CPU second. The last table is of indexes whose rows point
at these few clips.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil
import soundfile
import torch
from interleave import interleave

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "tests" / "train"))
from prepared_helpers import write_prepared  # noqa: E402

from aasp_features.folder.state import read_sealed, seal  # noqa: E402
from aasp_features.train.data.batch import Spans  # noqa: E402
from aasp_features.train.data.crops import CropSampler  # noqa: E402
from aasp_features.train.data.prepared import PreparedCorpus, read_prepared  # noqa: E402
from aasp_features.train.data.reading import read_corpus  # noqa: E402
from aasp_features.train.recipes import load_recipe  # noqa: E402

CLIP, CLIP_FRAMES, CLIPS, BATCH, BATCHES = 160_000, 998, 120, 64, 1
CPU, RECIPE = torch.device("cpu"), load_recipe("base", [])


def clips(data: Path) -> list[np.ndarray]:
    """Clips of 10 s, from sounds that are joined."""
    joined, length = [], 0
    for waveform in read_corpus(data, lambda waveform: waveform, 1):
        joined.append(waveform.clip(-1, 1))
        if (length := length + len(waveform)) >= CLIPS * CLIP:
            break
    return list(np.concatenate(joined)[: length // CLIP * CLIP].reshape(-1, CLIP)[:CLIPS])


def drawn(sounds: int, length: int) -> list[Spans]:
    """Batches of crops anywhere in the clips."""
    draw, shape = np.random.default_rng(0), (BATCHES, BATCH)
    sound, first = draw.integers(0, sounds, shape), draw.integers(0, CLIP_FRAMES - length + 1, shape)
    frames = np.full(shape, length)
    return [Spans(*map(torch.from_numpy, batch)) for batch in zip(sound, first, frames, strict=True)]


def decode(contents: list[bytes], batches: list[Spans], length: int) -> None:
    """Decode crops from bytes in memory, with soundfile alone."""
    for spans in batches:
        for sound, first in zip(spans.sound.tolist(), spans.first.tolist(), strict=True):
            with soundfile.SoundFile(io.BytesIO(contents[sound])) as file:
                file.seek(160 * first)
                file.read(160 * (length - 1) + 400, dtype="float32")


def cut(corpus: PreparedCorpus, batches: list[Spans], length: int) -> None:
    for spans in batches:
        corpus.cut(spans, length)()


def speeds(folder: Path, suffix: str, rounds: int) -> None:
    """Print a row for each crop length."""
    whole, decoding = (read_prepared(folder, RECIPE.config(), CPU, 0) for _ in range(2))
    decoding._log_mel = lambda waveform: waveform[:, :1]  # type: ignore[method-assign]
    shards = [(folder / name).read_bytes() for name in whole.shards]
    contents = [shards[shard][offset : offset + size] for shard, offset, size, _ in whole.index.tolist()]
    rate = sum(map(len, contents)) / len(contents) / 10_000
    for seconds, length in ((2, 198), (10, CLIP_FRAMES)):
        batches = drawn(len(contents), length)
        bare = partial(decode, contents, batches, length)
        sides = {"bare": bare, "cut": partial(cut, decoding, batches, length)}
        found = interleave({**sides, "log-mel": partial(cut, whole, batches, length)}, rounds, time.thread_time)
        speed = {name: f"{BATCH * BATCHES / timing.seconds:.0f}" for name, timing in found.items()}
        low, middle, high = (1 / ratio for ratio in (found["cut"].high, found["cut"].ratio, found["cut"].low))
        row = f"{speed['bare']} | {speed['cut']} | {middle:.2f} ({low:.2f}–{high:.2f}) | {speed['log-mel']}"
        print(f"| {suffix}, {rate:.1f} kB/s | {seconds} s | {row} |", flush=True)


def repeat_index(folder: Path, sounds: int) -> None:
    """Make the index longer; its rows point at the same clips."""
    rows = np.load(folder / "sounds.npy")
    np.save(folder / "sounds.npy", rows[np.fromiter(islice(cycle(range(len(rows))), sounds), np.int64)])
    facts = read_sealed(folder / "corpus.json") or {}
    del facts["sha256"]  # of the other facts
    (folder / "corpus.json").write_text(seal({**facts, "sounds": sounds}))


def start(folder: Path) -> None:
    """Print a row: seconds and memory of the start, and of the first draw of sounds."""
    process = psutil.Process()
    before, began = process.memory_full_info().uss, time.perf_counter()
    sampler = CropSampler(read_prepared(folder, RECIPE.config(), CPU, RECIPE.data.workers), RECIPE)
    opened, held = time.perf_counter(), process.memory_full_info().uss
    sampler._sounds(0, RECIPE.data.stages[0])
    drew, most = time.perf_counter(), process.memory_full_info().uss
    row = f"{opened - began:.2f} | {(held - before) / 1e6:.0f} | {drew - opened:.2f} | {(most - before) / 1e6:.0f}"
    print(f"| {len(sampler.corpus.frame_lengths):,} | {row} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--start", type=Path, help="print the row of this corpus's start alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.start:
        return start(arguments.start)
    waveforms = clips(arguments.data)
    print("| shards | crop | bare decoder, crops/s | decoded by the corpus, crops/s | ratio | with log-mel, crops/s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as parent:
        for suffix in ("flac", "wav", "opus"):
            speeds(write_prepared(Path(parent, suffix), waveforms, suffix=suffix), suffix, arguments.rounds)
        print(
            "\n| sounds | start, s | memory, MB | first order of an epoch, s | memory then, MB |\n|---|---|---|---|---|"
        )
        for sounds in (10_000, 1_000_000):
            repeat_index(Path(parent, "flac"), sounds)
            subprocess.run([sys.executable, __file__, "--start", Path(parent, "flac")], check=True)
    return None


if __name__ == "__main__":
    main()
