"""What an update costs: ``python tests/benchmarks/bench_update.py [--sounds 10000] [--names 1000000]``.

The first table embeds sounds of half a second, then adds 100, changes 50 and deletes 50, and compares with a run from
nothing; one of the updates is killed ten times. The second table lists many names (hard links to few files) and takes
its vectors from a generator instead of the network, so it shows what names, files and rows cost.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from aasp_features import AaSPEncoder
from aasp_features.folder import RunOptions, embed_sounds, find_sounds
from aasp_features.folder.ledger import Outcome
from aasp_features.folder.plan import Batch, Plan
from aasp_features.folder.state import BatchResult, OnSeconds

NEW, CHANGED, GONE, KILLS = 100, 50, 50, 10


class GivenVectors:
    """An engine that computes nothing."""

    device = "cpu"

    def __init__(self, encoder: AaSPEncoder) -> None:
        self.encoder = encoder

    def results(
        self, plan: Plan, batches: Sequence[Batch], folder: Path, on_seconds: OnSeconds
    ) -> Generator[BatchResult, None, None]:
        rng = np.random.default_rng(0)
        for batch in batches:
            outcomes = [Outcome(1, 0.5, 16000, 1, sha256=f"{index:064x}") for index in batch]
            yield BatchResult(outcomes, iter([rng.random((len(batch), plan.settings.width), np.float32)]))


def write_sounds(folder: Path, numbers: Sequence[int], seed: int = 0) -> None:
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        tone = np.sin(np.arange(8000) * rng.uniform(0.05, 1.5)) * rng.uniform(0.05, 0.5) + rng.normal(size=8000) * 0.01
        soundfile.write(folder / f"{number:07}.wav", tone, 16000)


def change(folder: Path, sounds: int) -> None:
    """Add, change and delete sounds at random places of the list."""
    picked = random.Random(0).sample(range(0, sounds, 2), CHANGED + GONE)
    write_sounds(folder, picked[:CHANGED], seed=1)
    for number in picked[CHANGED:]:
        (folder / f"{number:07}.wav").unlink()
    for number in random.Random(1).sample(range(sounds), NEW):
        write_sounds(folder, [sounds + number])
        (folder / f"{sounds + number:07}.wav").rename(folder / f"{number:07}a.wav")


def command(*arguments: object) -> tuple[float, subprocess.CompletedProcess[str]]:
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "aasp_features", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - before, done


def killed(arguments: list[object], seconds: float) -> None:
    """Kill the command ten times, at random moments of so many seconds."""
    for number in range(KILLS):
        process = subprocess.Popen([sys.executable, "-m", "aasp_features", *map(str, arguments)], stderr=-3)
        try:
            process.wait(random.Random(number).uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()


def update_table(folder: Path, sounds: int) -> None:
    source = folder / "sounds"
    source.mkdir()
    write_sounds(source, range(sounds))
    print(f"| {sounds} sounds of 0.5 s | seconds |\n|---|---|")
    for name in ("emb.npy", "killed.npy", "library.lance"):
        seconds, _ = command(source, "-o", folder / name, "--quiet")
        print(f"| {name}: first run | {seconds:.1f} |", flush=True)
    for name in ("emb.npy", "library.lance"):
        print(
            f"| {name}: nothing new | {command(source, '-o', folder / name, '--update', '--quiet')[0]:.1f} |",
            flush=True,
        )
    change(source, sounds)
    for name in ("emb.npy", "library.lance"):
        seconds, _ = command(source, "-o", folder / name, "--update", "--quiet")
        print(f"| {name}: {NEW} new, {CHANGED} changed, {GONE} gone | {seconds:.1f} |", flush=True)
    killed([source, "-o", folder / "killed.npy", "--update", "--quiet"], seconds)
    command(source, "-o", folder / "killed.npy", "--update", "--quiet")
    seconds, _ = command(source, "-o", folder / "fresh.npy", "--quiet")
    print(f"| fresh.npy: from nothing | {seconds:.1f} |")
    fresh, table = np.load(folder / "fresh.npy"), (folder / "fresh.csv").read_bytes()
    for name in ("emb", "killed"):
        vectors = np.load(folder / f"{name}.npy")
        equal = (vectors == fresh).all(axis=1).mean()
        assert (folder / f"{name}.csv").read_bytes() == table
        print(f"| {name}.npy: table equal, rows equal to the byte, largest difference | {equal:.2%}, ", end="")
        print(f"{np.abs(vectors - fresh).max():.1e} |")
    same = (folder / "killed.npy").read_bytes() == (folder / "emb.npy").read_bytes()
    print(f"| killed.npy is emb.npy to the byte | {same} |")


def names_table(folder: Path, names: int) -> None:
    source, engine = folder / "names", GivenVectors(AaSPEncoder.from_pretrained())
    source.mkdir()
    write_sounds(source, range(100))
    for number in range(100, names):
        if number % 10000 == 0:
            (source / f"{number // 10000:04}").mkdir()
        inside = source / f"{number // 10000:04}" if number >= 10000 else source
        os.link(source / f"{number % 100:07}.wav", inside / f"{number:07}.wav")
    print(f"\n| {names} names | seconds | peak memory, GB |\n|---|---|---|")
    for out in (folder / "names.npy", folder / "names.lance"):
        for what in ("first run", "nothing new", f"{NEW} new"):
            if "nothing" not in what and "first" not in what:
                (source / out.suffix[1:]).mkdir()
                write_sounds(source / out.suffix[1:], range(NEW), seed=len(out.suffix))
            before = time.perf_counter()
            found = find_sounds(source)
            listed = time.perf_counter() - before
            embed_sounds(engine, found, out, RunOptions(pooling="mean"), update=what != "first run")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            seconds = time.perf_counter() - before
            print(f"| {out.name}: {what} ({listed:.1f} s of it to list) | {seconds:.1f} | {peak:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=int, default=10_000)
    parser.add_argument("--names", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.sounds:
            update_table(Path(name), given.sounds)
        if given.names:
            names_table(Path(name), given.names)


if __name__ == "__main__":
    main()
