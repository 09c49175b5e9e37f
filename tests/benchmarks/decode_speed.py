"""Decoding with this checkout against another one, kind by kind: files of 1 to 10 s by ``load_audio``, in turn.

``git worktree add ../before COMMIT && python tests/benchmarks/decode_speed.py ../before [--rounds 15]``. A ratio is
the seconds here over those there, of the same round, with its quartiles; above 1 this checkout is slower. Both sides
are processes of their own. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from interleave import interleave

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "tests"))
from formats import KINDS, random_sound  # noqa: E402

ANSWER = """
import sys
from pathlib import Path
from aasp_features.audio import load_audio
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=int, default=20, help="of each kind")
    arguments = parser.parse_args()
    before, after = side(arguments.before.resolve()), side(HERE)
    print("| kind | seconds of sound | before | after over before |\n|---|---|---|---|")
    for kind, (make, rates, channels) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            rng, seconds = np.random.default_rng(0), 0.0
            for number in range(arguments.files):
                rate = int(rng.choice(rates))
                sound = random_sound(rng, rate, int(rng.integers(1, channels + 1)))
                seconds += len(sound) / rate
                Path(folder, f"{number}.{kind.split()[0]}").write_bytes(make(sound, rate))
            calls = {
                "before": lambda folder=Path(folder): decode(before, folder),
                "after": lambda folder=Path(folder): decode(after, folder),
            }
            timings = interleave(calls, arguments.rounds)
        row = f"| {kind} | {seconds:.0f} | {1000 * timings['before'].seconds:.0f} ms"
        print(f"{row} | {timings['after'].relative} |", flush=True)
    for process in (before, after):
        process.communicate()


if __name__ == "__main__":
    main()
