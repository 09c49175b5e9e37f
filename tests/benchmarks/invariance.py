"""What changes a sound's vector that should not, in this package and in others.

``python tests/benchmarks/invariance.py [--cases 10]`` prints, for every property, the largest difference of two vectors
that should be equal (|a - b| / max(1, |b|), element by element) and their lowest cosine over random sounds. Encoders
with random weights are labelled so: their figures say whether something leaks into a vector, not how much it would
with trained ones.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import soxr
import torch
from peers import RATE, Peer, peers

from aasp_features import AaSPEncoder

Pair = tuple[np.ndarray, np.ndarray]


class RefusedError(Exception):
    """The encoder does not take such an input; says why."""


def sound(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Modulated, band-limited noise (below 6 kHz) of a random loudness."""
    samples = int(seconds * RATE)
    noise = soxr.resample(rng.normal(size=int(samples * 0.75) + 1), 12000, RATE)[:samples]
    rate, time = rng.uniform(1, 40), np.arange(len(noise)) / RATE
    return (noise * (1 + np.sin(2 * np.pi * rate * time)) * 10 ** rng.uniform(-3, -1)).astype(np.float32)


def batch_mates(peer: Peer, rng: np.random.Generator) -> Pair:
    """Alone, and beside a longer, a shorter and a louder sound."""
    own = sound(rng, rng.uniform(1, 4))
    others = [sound(rng, 6.0), sound(rng, 0.5), 10 * sound(rng, 3.0)]
    return peer.embed([own], RATE)[0], peer.embed([own, *others], RATE)[0]


def padding(peer: Peer, rng: np.random.Generator) -> Pair:
    """In a padded batch with lengths given: zeros past the end, and noise past it."""
    if peer.padded is None:
        raise RefusedError("takes no lengths")
    samples, lengths = rng.integers(RATE, 3 * RATE), torch.tensor([0, 4 * RATE])
    lengths[0] = int(samples)
    batch = torch.from_numpy(np.stack([np.resize(sound(rng, 4.0), 4 * RATE) for _ in range(2)]))
    silent = batch.clone()
    silent[0, lengths[0] :] = 0.0
    return peer.padded(silent, lengths)[0], peer.padded(batch, lengths)[0]


def repeat(peer: Peer, rng: np.random.Generator) -> Pair:
    """The same call twice."""
    own = sound(rng, 15.0)
    return peer.embed([own], RATE)[0], peer.embed([own], RATE)[0]


def channels(peer: Peer, rng: np.random.Generator) -> Pair:
    """Mono, and the same in both columns of a (samples, channels) array, as soundfile reads files."""
    own = sound(rng, 2.0)
    given = peer.stereo if peer.stereo is not None else (lambda stereo: peer.embed([stereo], RATE))
    result = given(np.stack([own, own], axis=1))
    if len(result) != 1:
        raise RefusedError(f"taken as {len(result)} sounds")
    return peer.embed([own], RATE)[0], result[0]


def sample_rate(peer: Peer, rng: np.random.Generator) -> Pair:
    """At 16 kHz, and the same sound at 44.1 kHz, its rate said where it can be."""
    own = sound(rng, 3.0)
    return peer.embed([own], RATE)[0], peer.embed([soxr.resample(own, RATE, 44100, "VHQ")], 44100)[0]


PROPERTIES: dict[str, Callable[[Peer, np.random.Generator], Pair]] = {
    "batch mates": batch_mates,
    "padding": padding,
    "the same call twice": repeat,
    "channels in columns": channels,
    "44.1 kHz": sample_rate,
}


def measure(peer: Peer, make: Callable[[Peer, np.random.Generator], Pair], cases: int) -> str:
    """Largest difference and lowest cosine over the cases, or why there are none."""
    differences, cosines = [], []
    for case in range(cases):
        try:
            a, b = make(peer, np.random.default_rng(case))
        except RefusedError as reason:
            return str(reason)
        except (ValueError, RuntimeError, AssertionError, MemoryError) as error:
            return f"an error ({type(error).__name__.removeprefix('_')})"
        differences.append(float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()))
        cosines.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return f"{max(differences):.0e}, {min(cosines):.4f}"


def ours() -> Peer:
    encoder = AaSPEncoder.from_pretrained()
    return Peer(
        encoder.config.name,
        lambda sounds, rate: encoder.embed(sounds, rate),
        encoder,
        None,
        padded=lambda batch, lengths: encoder(batch, lengths).numpy(),
        stereo=lambda array: encoder.embed([array], channel_axis=1),
        weights="trained",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{arguments.cases} random cases each: largest difference, lowest cosine\n")
    print("| encoder | " + " | ".join(PROPERTIES) + " |\n|---" + "|---" * len(PROPERTIES) + "|")
    for peer in [ours(), *peers()]:
        with torch.inference_mode():
            cells = [measure(peer, make, arguments.cases) for make in PROPERTIES.values()]
        print(f"| {peer.name}, {peer.weights} weights | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
