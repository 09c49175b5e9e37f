"""Processes forked from one in which torch's threads ran: each in a process of its own, which is given two minutes."""

import multiprocessing
from pathlib import Path

import pytest
from warm_process import run_python

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")

START = """
import os, sys, time, warnings
import numpy as np, torch
from aasp_features import AaSPEncoder
torch.set_num_threads(2)
sound = np.random.default_rng(0).normal(size=80000).astype(np.float32) * 0.1

def in_child(work):
    child = os.fork()
    if child == 0:
        warnings.showwarning = lambda message, *_: print(f"warned: {message}", flush=True)
        try:
            work()
        finally:
            sys.stdout.flush()
            os._exit(0)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    print("it hangs")
"""

WORKS = {
    "embed": "encoder = AaSPEncoder.from_pretrained(sys.argv[1]); whole = encoder.embed(sound)\n"
    "in_child(lambda: print(np.abs(encoder.embed(sound) - whole).max() < 1e-4))",
    "a new encoder": "whole = AaSPEncoder.from_pretrained(sys.argv[1]).embed(sound)\n"
    "in_child(lambda: print(np.abs(AaSPEncoder.from_pretrained(sys.argv[1]).embed(sound) - whole).max() < 1e-4))",
    "a stream": "encoder = AaSPEncoder.from_pretrained(sys.argv[1]); stream = encoder.stream(latency=2)\n"
    "in_child(lambda: print(len(stream.push(sound).times) > 0))",
    "forward": "encoder = AaSPEncoder.from_pretrained(sys.argv[1]); whole = torch.from_numpy(encoder.embed(sound))\n"
    "in_child(lambda: print(bool((encoder(torch.from_numpy(sound)[None])[0] - whole).abs().max() < 1e-4)))",
}


def run(code: str, checkpoint: Path) -> list[str]:
    done = run_python(START + code, checkpoint)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("work", list(WORKS))
def test_a_forked_process_computes_with_one_thread_and_says_so(checkpoint: Path, work: str) -> None:
    warning, answer = run(WORKS[work], checkpoint)
    assert warning.startswith("warned: this process was forked, and torch's threads do not survive a fork")
    assert answer == "True"


def test_no_word_with_one_thread(checkpoint: Path) -> None:
    code = "torch.set_num_threads(1); encoder = AaSPEncoder.from_pretrained(sys.argv[1]); encoder.embed(sound)\n"
    assert run(code + "in_child(lambda: print(encoder.embed(sound).shape))", checkpoint) == ["(384,)"]


LOADER = """
from torch.utils.data import DataLoader, Dataset
warnings.showwarning = lambda message, *_: print(f"warned: {message}", flush=True)
encoder = AaSPEncoder.from_pretrained(sys.argv[1])
whole = encoder.embed(sound)

class Vectors(Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, place):
        return encoder.embed(sound)

for batch in DataLoader(Vectors(), num_workers=1, multiprocessing_context="fork", timeout=120):
    print(np.abs(batch[0].numpy() - whole).max() < 1e-4)
"""


def test_workers_of_a_data_loader_embed_as_ever(checkpoint: Path) -> None:
    assert run(LOADER, checkpoint) == ["True"] * 3
