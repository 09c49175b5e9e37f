"""`aasp-embed`'s run over mixed files against decoding alone and encoding alone, and its peak memory.

``python tests/benchmarks/folder_run.py [--files 400]``; the files are generated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from aasp_features import AaSPEncoder, load_audio
from aasp_features.folder.run import default_workers, embed_files

FORMATS = [("wav", 44100, {}), ("flac", 48000, {}), ("mp3", 44100, {}), ("ogg", 16000, {})]
FORMATS += [("opus", 48000, {"format": "OGG", "subtype": "OPUS"})]


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


def timed(work: object) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(files: list[Path], folder: Path, rounds: int) -> None:
    encoder = AaSPEncoder.from_pretrained()
    with ThreadPoolExecutor(default_workers()) as pool:
        windows = []
        for index, sound in enumerate(pool.map(load_audio, files)):
            windows += [*((index, window) for window in encoder.spectrogram_windows([sound])), (index, None)]
        print("| round | run | decoding alone | encoding alone | run over the larger |\n|---|---|---|---|---|")
        for number in range(rounds):
            decode = timed(lambda: list(pool.map(load_audio, files)))
            encode = timed(lambda: list(encoder.embed_windows(windows)))
            run = timed(lambda: embed_files(encoder, files, folder / "emb.npy"))
            print(
                f"| {number} | {run:.1f} s | {decode:.1f} s | {encode:.1f} s | {run / max(decode, encode):.2f} |",
                flush=True,
            )


def peak_memory(folder: Path, minutes: int) -> float:
    """MB that a process of its own needs to embed one file."""
    path = folder / f"{minutes}.wav"
    with soundfile.SoundFile(path, "w", 44100, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write((np.random.default_rng(0).normal(size=44100 * 60) * 3000).astype(np.int16))
    arguments = [sys.executable, "-m", "aasp_features.cli", path, "--out", folder / "one.npy", "--quiet"]
    process = subprocess.Popen(list(map(str, arguments)))
    _, _, usage = os.wait4(process.pid, 0)
    path.unlink()
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", default="1,60", help="lengths of the files whose peak memory is compared")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(generate(folder, arguments.files), folder, arguments.rounds)
        print("\n| one file of | peak memory |\n|---|---|")
        for minutes in map(int, arguments.minutes.split(",")):
            print(f"| {minutes} min | {peak_memory(folder, minutes):.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
