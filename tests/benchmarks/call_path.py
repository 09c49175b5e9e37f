"""The path of a call through the package, hop by hop.

``python tests/benchmarks/call_path.py embed`` follows a waveform through ``embed``, ``aasp-embed`` a file through the
command, and ``pretrain`` a batch through a step. It prints the functions of the package that are entered, in order,
once each, and then how many functions, files, and changes of file there are on the whole path.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType

import numpy as np
import soundfile
import torch

import aasp_features
from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.cli import app

PACKAGE = Path(aasp_features.__file__).parent


def embedding() -> Callable[[], object]:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    clips = [np.zeros(16000 * 12, np.float32), np.zeros(44100, np.float32)]
    return lambda: encoder.embed(clips)


def embedding_a_file() -> Callable[[], object]:
    folder = Path(tempfile.mkdtemp())
    AaSPEncoder(AaSPConfig.tiny(depth=1)).save_pretrained(folder / "model")
    soundfile.write(folder / "a.wav", np.zeros(16000 * 12, np.float32), 16000)
    arguments = [folder / "a.wav", "--out", folder / "emb.npy", "--model", folder / "model", "--quiet"]
    return lambda: app(list(map(str, arguments)), standalone_mode=False)


def pretraining() -> Callable[[], object]:
    from aasp_features.train.data.cached import CachedCorpus
    from aasp_features.train.data.crops import CropSampler
    from aasp_features.train.pretrain.loop import Pretraining
    from aasp_features.train.recipes import load_recipe

    frames = torch.full((32,), 400)
    log_mel = torch.randn(int(frames.sum()), 128).half()
    corpus = CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, -6.0, 4.5)
    recipe = load_recipe("tiny_cpu", ["run.precision=float32", "run.log_every=1000000"])
    return Pretraining(CropSampler(corpus, recipe), Path(tempfile.mkdtemp()), torch.device("cpu")).step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    paths = {"embed": embedding, "aasp-embed": embedding_a_file, "pretrain": pretraining}
    parser.add_argument("path", nargs="?", choices=paths, default="embed")
    call = paths[parser.parse_args().path]()
    hops: list[tuple[str, str]] = []

    def enter(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            code = frame.f_code
            hops.append((str(path.relative_to(PACKAGE)), getattr(code, "co_qualname", code.co_name)))

    threading.setprofile(enter)  # of those that decode
    sys.setprofile(enter)
    call()
    sys.setprofile(None)
    for number, (file, function) in enumerate(dict.fromkeys(hops), start=1):
        print(f"{number:3} {file:32} {function}")
    files = [file for file, _ in hops]
    changes = sum(before != after for before, after in pairwise(files))
    print(f"{len(set(hops))} functions in {len(set(files))} files; {changes} changes of file")


if __name__ == "__main__":
    main()
