"""The path of a waveform through ``embed``, or of a batch through a step of pre-training, hop by hop.

``python tests/benchmarks/call_path.py [embed|pretrain]`` prints the functions of the package that are entered, in
order, once each, and then how many functions, files, and changes of file there are on the whole path.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from aasp_features import AaSPConfig, AaSPEncoder

PACKAGE = Path(sys.modules["aasp_features"].__file__).parent


def embedding() -> Callable[[], object]:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    clips = [np.zeros(16000 * 12, np.float32), np.zeros(44100, np.float32)]
    return lambda: encoder.embed(clips)


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
    parser.add_argument("path", nargs="?", choices=["embed", "pretrain"], default="embed")
    call = embedding() if parser.parse_args().path == "embed" else pretraining()
    hops: list[tuple[str, str]] = []

    def enter(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            code = frame.f_code
            hops.append((str(path.relative_to(PACKAGE)), getattr(code, "co_qualname", code.co_name)))

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
