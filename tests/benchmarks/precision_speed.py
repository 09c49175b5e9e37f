"""`embed` in bfloat16 and compiled against the plain float32: seconds, and how near the vectors are.

``python tests/benchmarks/precision_speed.py [--rounds 9] [--sizes tiny,base] [--device cuda]``; ``tiny`` has the
bundled weights, others random ones.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from typing import Literal

import numpy as np
import torch
from interleave import interleave

from aasp_features import AaSPConfig, AaSPEncoder


def variants(size: str, device: str) -> dict[str, AaSPEncoder]:
    plain = AaSPEncoder.from_pretrained() if size == "tiny" else AaSPEncoder(getattr(AaSPConfig, size)())
    sides = {"float32": plain.to(device)}
    others: list[tuple[str, Literal["float32", "bfloat16"], bool]] = [
        ("bfloat16", "bfloat16", False),
        ("float32, compiled", "float32", True),
        ("bfloat16, compiled", "bfloat16", True),
    ]
    for name, precision, compiled in others:
        sides[name] = copy.deepcopy(plain)
        sides[name].precision = precision
        if compiled:
            sides[name].compile()
    return sides


def compare(size: str, device: str, rounds: int) -> None:
    encoders = variants(size, device)
    for seconds, clips in ((1, 1), (1, 32), (10, 1), (10, 8)):
        noise = np.random.default_rng(0).normal(size=(clips, 16000 * seconds)).astype(np.float32) * 0.1
        vectors = {name: encoder.embed(noise) for name, encoder in encoders.items()}
        sides = {name: partial(encoder.embed, noise) for name, encoder in encoders.items()}
        for name, timing in interleave(sides, rounds).items():
            print(f"| {size} | {clips} × {seconds} s | {name} | {timing} | {cosine(vectors, name):.5f} |", flush=True)


def cosine(vectors: dict[str, np.ndarray], name: str) -> float:
    """The lowest with the plain encoder's."""
    a, b = vectors["float32"], vectors[name]
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", default="tiny,base")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads\n")
    print("| size | input | side | seconds | ratio to float32 | lowest cosine |\n|---|---|---|---|---|---|")
    for size in arguments.sizes.split(","):
        compare(size, arguments.device, arguments.rounds)


if __name__ == "__main__":
    main()
