"""`aasp-embed`'s run over mixed files against decoding alone and encoding alone, and its peak memory.

``python tests/benchmarks/bench_folder.py [--files 400]``; the files are generated.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from interleave import interleave

from aasp_features import AaSPEncoder, load_audio
from aasp_features.folder.local_engine import default_workers
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import find_sounds

FORMATS: list[tuple[str, int, dict[str, str]]] = [
    ("wav", 44100, {}),
    ("flac", 48000, {}),
    ("mp3", 44100, {}),
    ("ogg", 16000, {}),
]
FORMATS += [("opus", 48000, {"format": "OGG", "subtype": "OPUS"})]


LAUNCHER = """
import os, subprocess, sys
_, _, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
print(usage.ru_maxrss)
"""


def generate(folder: Path, count: int) -> list[Path]:
    rng = np.random.default_rng(0)
    files = []
    for index in range(count):
        suffix, rate, options = FORMATS[index % len(FORMATS)]
        path = folder / f"{index:04}.{suffix}"
        sound = rng.normal(size=(int(rate * rng.uniform(1, 10)), 1 + index % 2)) * 0.1
        soundfile.write(path, sound, rate, **options)
        files.append(path)
    return files


def compare(files: list[Path], folder: Path, rounds: int) -> None:
    """The run against its two stages alone, each on all cores: decoding, and encoding waveforms in memory."""
    encoder = AaSPEncoder.from_pretrained()
    found = find_sounds([files[0].parent])
    with ThreadPoolExecutor(default_workers()) as pool:
        sounds = list(pool.map(load_audio, files))
        sides = {
            "decoding alone": lambda: list(pool.map(load_audio, files)),
            "encoding alone": lambda: encoder.embed(sounds),
            "the run": lambda: embed_sounds(encoder, found, folder / "emb.npy", overwrite=True),
        }
        timings = interleave(sides, rounds)
    print("| side | seconds |\n|---|---|")
    for name, timing in timings.items():
        print(f"| {name} | {timing.seconds:.2f} |", flush=True)
    stages = timings["decoding alone"].seconds, timings["encoding alone"].seconds
    run = timings["the run"].seconds
    print(f"\nrun over the larger of its stages: {run / max(stages):.2f}, over their sum: {run / sum(stages):.2f}")


def first_batch(files: list[Path], folder: Path) -> tuple[float, float]:
    """Seconds until the first sound is done, and until all are, of a process that starts with an empty cache."""
    code = (
        "import sys, time; began = time.perf_counter()\nfrom pathlib import Path\n"
        "from aasp_features import AaSPEncoder\nfrom aasp_features.sounds.discovery import find_sounds\n"
        "from aasp_features.folder.run import embed_sounds\ntimes = []\n"
        "embed_sounds(AaSPEncoder.from_pretrained(), find_sounds([Path(sys.argv[1])]), Path(sys.argv[2]),"
        " overwrite=True, on_sound=lambda name, error: times.append(time.perf_counter() - began))\n"
        "print(times[0], times[-1])"
    )
    arguments = [sys.executable, "-c", code, files[0].parent, folder / "emb.npy"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=True)
    first, last = map(float, done.stdout.split())
    return first, last


def peak_memory(source: Path, out: Path) -> tuple[float, float]:
    """MB and seconds that a process of its own needs to embed ``source``.

    A small process starts it: what is started by a large one is counted with that one's memory.
    """
    command = [sys.executable, "-m", "aasp_features.cli", source, "--out", out, "--quiet", "--overwrite"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *map(str, command)], capture_output=True, check=True)
    return int(done.stdout) / (1024 if sys.platform == "linux" else 1024**2), time.perf_counter() - began


def long_file(path: Path, minutes: int) -> Path:
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for minute in range(minutes):
            file.write((np.random.default_rng(minute).normal(size=16000 * 60) * 3000).astype(np.int16))
    return path


def many_files(folder: Path, count: int) -> Path:
    """Short ones: 0.2 s."""
    folder.mkdir()
    for index in range(count):
        sound = np.random.default_rng(index).normal(size=3200) * 0.1
        soundfile.write(folder / f"{index:06}.wav", sound, 16000)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", default="1,60,600", help="lengths of the files whose peak memory is compared")
    parser.add_argument("--counts", default="400,4000,40000", help="numbers of short files, likewise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mixed").mkdir()
        files = generate(folder / "mixed", arguments.files)
        compare(files, folder, arguments.rounds)
        first, last = first_batch(files, folder)
        print(f"from the start of Python to the first sound done: {first:.1f} s; to the last: {last:.1f} s")
        print("\n| input | peak memory | wall time |\n|---|---|---|")
        for count in map(int, arguments.counts.split(",")):
            memory, seconds = peak_memory(many_files(folder / f"many{count}", count), folder / "many.npy")
            print(f"| {count} files of 0.2 s | {memory:.0f} MB | {seconds:.0f} s |", flush=True)
        for minutes in map(int, arguments.minutes.split(",")):
            path = long_file(folder / f"{minutes}.wav", minutes)
            memory, seconds = peak_memory(path, folder / "one.npy")
            path.unlink()
            print(f"| one file of {minutes} min | {memory:.0f} MB | {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
