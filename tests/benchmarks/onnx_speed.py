"""ONNX graphs against the encoder that they were exported from: seconds, and how alike the vectors are.

``python tests/benchmarks/onnx_speed.py [--rounds 15] [--threads 1]``; sounds are those of ``examples/sounds``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from interleave import interleave

from aasp_features import AaSPEncoder
from aasp_features.integrations.onnx import OnnxEncoder
from aasp_features.sounds.discovery import find_sounds
from aasp_features.train.release.export_onnx import export_onnx

SOUNDS = Path(__file__).resolve().parents[2] / "examples" / "sounds"


def cosines(one: OnnxEncoder, other: AaSPEncoder, paths: list[str]) -> np.ndarray:
    a, b = one.embed(paths), other.embed(paths)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = AaSPEncoder.from_pretrained()
    paths = [sound.name for sound in find_sounds([SOUNDS]).sounds]
    with tempfile.TemporaryDirectory() as name:
        graphs = {
            kind: export_onnx(encoder, Path(name) / f"{kind}.onnx", int8=kind == "int8") for kind in ("float32", "int8")
        }
        encoders = {kind: OnnxEncoder(path, threads=arguments.threads) for kind, path in graphs.items()}
        print("| weights | file | lowest cosine | largest difference |\n|---|---|---|---|")
        for kind, one in encoders.items():
            largest = np.abs(one.embed(paths) - encoder.embed(paths)).max()
            size = graphs[kind].stat().st_size / 1e6
            print(f"| {kind} | {size:.1f} MB | {cosines(one, encoder, paths).min():.5f} | {largest:.1e} |")
        print("\n| input | side | seconds | ratio to torch |\n|---|---|---|---|")
        for seconds in (1, 10):
            sound = (np.random.default_rng(0).normal(size=16000 * seconds) * 0.1).astype(np.float32)
            sides: dict[str, Callable[[], object]] = {"torch": partial(encoder.embed, sound)}
            sides |= {f"onnxruntime, {kind}": partial(one.embed, sound) for kind, one in encoders.items()}
            for side, timing in interleave(sides, arguments.rounds).items():
                print(f"| {seconds} s | {side} | {timing} |", flush=True)


if __name__ == "__main__":
    main()
