"""What an update costs: ``python tests/benchmarks/bench_update.py [--sounds 10000] [--names 1000000]``.

The first table embeds sounds of half a second, then adds 100, changes 50 and deletes 50, and compares with a run from
nothing; one of the updates is killed ten times. The second table lists many names (hard links to few files) and takes
its vectors from a generator instead of the network, so it shows what names, files and rows cost.

Processor time says more than seconds where other work shares the cores.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from cost import measured, run

from aasp_features import AaSPEncoder
from aasp_features.folder import RunOptions, embed_sounds, find_sounds
from aasp_features.folder.ledger import Outcome
from aasp_features.folder.plan import Batch, Plan
from aasp_features.folder.state import BatchResult, OnSeconds

NEW, CHANGED, GONE, KILLS = 100, 50, 50, 10
COLUMNS = "seconds | processor seconds | anonymous memory, MB | mapped files, MB"


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
    source, dead = folder / "sounds", folder / "killed"
    source.mkdir()
    write_sounds(source, range(sounds))
    print(f"| {sounds} sounds of 0.5 s | {COLUMNS} |\n|---|--:|--:|--:|--:|")

    def command(what: str, out: Path, *options: object) -> float:
        cost, _ = run(["-m", "aasp_features", source, "-o", out, "--quiet", *options])
        print(f"| {out.name}: {what} | {cost} |", flush=True)
        return cost.seconds

    files = folder / "emb.npy", folder / "library.lance"
    for out in files:
        command("first run", out)
    for out in files:
        command("nothing new", out, "--update")
    dead.mkdir()
    for path in folder.glob("emb.*"):
        shutil.copy(path, dead)
    change(source, sounds)
    seconds = [command(f"{NEW} new, {CHANGED} changed, {GONE} gone", out, "--update") for out in files]
    killed([source, "-o", dead / "emb.npy", "--update", "--quiet"], seconds[0])
    command(f"the same after {KILLS} kills", dead / "emb.npy", "--update")
    command("from nothing", folder / "fresh.npy")
    fresh, table = np.load(folder / "fresh.npy"), (folder / "fresh.csv").read_bytes()
    vectors = np.load(folder / "emb.npy")
    equal = (vectors == fresh).all(axis=1).mean()
    print(f"\nTable as from nothing: {(folder / 'emb.csv').read_bytes() == table}; ", end="")
    print(f"rows equal to the byte: {equal:.2%}; largest difference: {np.abs(vectors - fresh).max():.1e}; ", end="")
    print(f"killed ten times, the same bytes: {(dead / 'emb.npy').read_bytes() == (folder / 'emb.npy').read_bytes()}")


def names_table(folder: Path, names: int) -> None:
    source, engine = folder / "names", GivenVectors(AaSPEncoder.from_pretrained())
    source.mkdir()
    write_sounds(source, range(100))
    for number in range(100, names):
        if number % 10000 == 0:
            (source / f"{number // 10000:04}").mkdir()
        inside = source / f"{number // 10000:04}" if number >= 10000 else source
        os.link(source / f"{number % 100:07}.wav", inside / f"{number:07}.wav")
    print(f"\n| {names} names | {COLUMNS} |\n|---|--:|--:|--:|--:|", flush=True)
    with measured() as cost:
        find_sounds(source)
    print(f"| to list them | {cost} |", flush=True)
    for out in (folder / "names.npy", folder / "names.lance"):
        for what in ("first run", "nothing new", f"{NEW} new"):
            if what == f"{NEW} new":
                (source / out.suffix[1:]).mkdir()
                write_sounds(source / out.suffix[1:], range(NEW), seed=len(out.suffix))
            with measured() as cost:
                embed_sounds(engine, find_sounds(source), out, RunOptions(pooling="mean"), update=what != "first run")
            print(f"| {out.name}: {what} | {cost} |", flush=True)


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
