"""This checkout against another one: the same calls in turn, each side in a process of its own.

``git worktree add ../before COMMIT && python tests/benchmarks/before_after.py ../before [--rounds 15]``. The cases
are those of bench_inference.py and bench_folder.py that a user calls. A ratio is the seconds here over those there, of
the same round, with its quartiles; above 1 this checkout is slower. Two processes of the very same code differ by up
to 7 % (give this checkout as the other one to see it): a difference counts when it stays in a second run. Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_folder import generate
from interleave import interleave

HERE = Path(__file__).parents[2]
BATCHES = {"one of 1 s": [1], "8 of 1 s": [1] * 8, "32 of 1 s": [1] * 32, "one of 5 s": [5], "8 of 5 s": [5] * 8}
BATCHES |= {"one of 10 s": [10], "8 of 10 s": [10] * 8, "one of 30 s": [30], "one of 120 s": [120]}
BATCHES |= {"200 of 0.3 to 6 s": list(np.random.default_rng(1).uniform(0.3, 6, 200))}
ANSWER = """
import sys, numpy as np
from aasp_features import AaSPEncoder
encoder, numbers = AaSPEncoder.from_pretrained(), np.random.default_rng(0)
for line in sys.stdin:
    sounds = [numbers.normal(size=int(16000 * float(seconds))).astype("float32") * 0.1 for seconds in line.split()]
    print(flush=True)
    for _ in range(int(sys.stdin.readline())):
        sys.stdin.readline()
        encoder.embed(sounds)
        print(flush=True)
"""


class Side:
    """A process that embeds with the package of one checkout, one call for each line that it is sent."""

    def __init__(self, tree: Path) -> None:
        self.environment = {**os.environ, "PYTHONPATH": str(tree)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANSWER], env=self.environment, cwd=tree, stdin=-1, stdout=-1, text=True
        )

    def ask(self, line: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        print(line, file=self.process.stdin, flush=True)
        self.process.stdout.readline()

    def prepare(self, seconds: Sequence[float], calls: int) -> None:
        assert self.process.stdin
        self.ask(" ".join(map(str, seconds)))
        print(calls, file=self.process.stdin, flush=True)

    def embed_folder(self, source: Path, out: Path) -> None:
        command = [sys.executable, "-m", "aasp_features.cli", str(source), "--out", str(out), "--overwrite", "--quiet"]
        subprocess.run(command, env=self.environment, cwd=source, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--cases", nargs="*", default=list(BATCHES), help="of embed, by their names in the table")
    arguments = parser.parse_args()
    before, after = Side(arguments.before.resolve()), Side(HERE)
    print("| `embed` of | before | after over before |\n|---|---|---|")
    for name in arguments.cases:
        for side in (before, after):
            side.prepare(BATCHES[name], arguments.rounds + 1)
        timings = interleave({"before": lambda: before.ask(""), "after": lambda: after.ask("")}, arguments.rounds)
        print(f"| {name} | {1000 * timings['before'].seconds:.1f} ms | {timings['after'].relative} |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        (folder := Path(temporary, "sounds")).mkdir()
        generate(folder, arguments.files)
        sides = {
            name: lambda side=side: side.embed_folder(folder, Path(temporary, "out.npy"))
            for name, side in (("before", before), ("after", after))
        }
        timings = interleave(sides, max(3, arguments.rounds // 3))
        row = f"| `aasp-embed`, {arguments.files} files of 1 to 10 s | {1000 * timings['before'].seconds:.0f} ms"
        print(f"{row} | {timings['after'].relative} |")


if __name__ == "__main__":
    main()
