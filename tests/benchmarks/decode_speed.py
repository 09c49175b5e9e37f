"""Decoding with this checkout against another one, kind by kind: files of 1 to 10 s by ``load_audio``, in turn.

``git worktree add ../before COMMIT && python tests/benchmarks/decode_speed.py ../before [--rounds 15] [--folders 5]``.
A ratio is the seconds here over those there, of the same round, with its quartiles; above 1 this checkout is slower.
``--folders N`` also runs ``aasp-embed`` N times on each kind's files, start of the process included. Both sides are
processes of their own. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from interleave import Timing, interleave

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "tests"))
from formats import KINDS, random_sound  # noqa: E402

ANSWER = """
import sys
from pathlib import Path
from aasp_features.audio.reading import load_audio
for line in sys.stdin:
    for path in sorted(Path(line.strip()).iterdir()):
        load_audio(path)
    print(flush=True)
"""


def side(tree: Path) -> subprocess.Popen[str]:
    """A process that decodes a folder for each line that it is sent."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.Popen([sys.executable, "-c", ANSWER], env=environment, cwd=tree, stdin=-1, stdout=-1, text=True)


def decode(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.stdin
    assert process.stdout
    print(folder, file=process.stdin, flush=True)
    process.stdout.readline()


def embed_folder(tree: Path, folder: Path) -> None:
    """One run of ``aasp-embed`` of a checkout, to an output that is thrown away."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "aasp_features.cli", str(folder), "--out", f"{out}/emb.npy", "--quiet"]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tree)}, cwd=out, check=True)


def cells(timings: dict[str, Timing]) -> str:
    return f"{1000 * timings['before'].seconds:.0f} ms | {timings['after'].relative}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=int, default=20, help="of each kind")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--folders", type=int, default=0, help="rounds of aasp-embed, too")
    arguments = parser.parse_args()
    trees = {"before": arguments.before.resolve(), "after": HERE}
    sides = {name: side(tree) for name, tree in trees.items()}
    print("| kind | seconds of sound | before | after over before | `aasp-embed` before | after over before |")
    print("|---|---|---|---|---|---|")
    for kind in arguments.kinds:
        make, rates, channels = KINDS[kind]
        with tempfile.TemporaryDirectory() as folder:
            rng, seconds = np.random.default_rng(0), 0.0
            for number in range(arguments.files):
                rate = int(rng.choice(rates))
                sound = random_sound(rng, rate, int(rng.integers(1, channels + 1)))
                seconds += len(sound) / rate
                Path(folder, f"{number}.{kind.split()[0]}").write_bytes(make(sound, rate))
            decoding = {name: partial(decode, process, Path(folder)) for name, process in sides.items()}
            row = f"| {kind} | {seconds:.0f} | {cells(interleave(decoding, arguments.rounds))}"
            if arguments.folders:
                embedding = {name: partial(embed_folder, tree, Path(folder)) for name, tree in trees.items()}
                row += f" | {cells(interleave(embedding, arguments.folders))}"
        print(f"{row} |", flush=True)
    for process in sides.values():
        process.communicate()


if __name__ == "__main__":
    main()
