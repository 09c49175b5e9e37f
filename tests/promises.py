"""The encoder's promises, each as a function of one random case that returns the largest difference seen.

``python tests/promises.py --cases 500`` prints the largest over many cases, with the bundled checkpoint; the tests run
fewer cases. Differences are |a - b| / max(1, |b|), element by element.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import soundfile
import torch
from helpers import relative_difference

from aasp_features import AaSPEncoder
from aasp_features.config import Pooling
from aasp_features.windows import column_time, count_columns, count_frames

RATE = 16000


def random_sound(rng: np.random.Generator, longest: float = 4.0) -> np.ndarray:
    """Modulated noise and tones of a random length (log-uniform from 1 sample) and loudness."""
    samples = int(np.exp(rng.uniform(0, np.log(longest * RATE))))
    time_axis = np.arange(samples) / RATE
    sound = rng.normal(size=samples) * (1 + np.sin(2 * np.pi * rng.uniform(1, 50) * time_axis))
    sound += 3 * np.sin(2 * np.pi * rng.uniform(50, 7000) * time_axis)
    return (sound * 10 ** rng.uniform(-6, -0.7)).astype(np.float32)


def alone_equals_batch(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 1: a clip's vector does not depend on its batch mates, their length or loudness."""
    sounds = [random_sound(rng) for _ in range(int(rng.integers(2, 6)))]
    pooling = rng.choice(get_args(Pooling))
    together = encoder.embed(sounds, pooling=pooling, batch_size=int(rng.integers(1, 9)))
    return max(
        relative_difference(encoder.embed(sound, pooling=pooling), row)
        for sound, row in zip(sounds, together, strict=True)
    )


def padding_never_matters(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 1, for the padded forward that fine-tuning uses: what lies past a clip's end is never read."""
    sounds = [random_sound(rng, 3.0) for _ in range(3)]
    samples = torch.tensor([len(sound) for sound in sounds])
    batch = torch.from_numpy(rng.normal(size=(3, int(samples.max()) + int(rng.integers(0, 5000)))).astype(np.float32))
    for row, sound in zip(batch, sounds, strict=True):
        row[: len(sound)] = torch.from_numpy(sound)
    with torch.inference_mode():
        together = encoder(batch, samples).numpy()
    return max(relative_difference(encoder.embed(sound), row) for sound, row in zip(sounds, together, strict=True))


def twice_equals_once(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 2: the same call gives the same bits."""
    sounds = [random_sound(rng) for _ in range(2)]
    return 0.0 if np.array_equal(encoder.embed(sounds), encoder.embed(sounds)) else 1.0


def threads_do_not_matter(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 2: one thread against two."""
    sound, threads = random_sound(rng), torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(encoder.embed(sound))
    torch.set_num_threads(threads)
    return relative_difference(*results)


def chunked_equals_whole(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 3: a file, an array and a stream of blocks of any size give the same frames."""
    sound = np.resize(random_sound(rng, 20.0), int(rng.integers(1, 30 * RATE)))
    whole = encoder.embed_frames(sound)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        soundfile.write(path, sound, RATE, subtype="FLOAT")
        from_file = encoder.embed_frames(path)
    cuts = np.sort(rng.integers(0, len(sound) + 1, size=int(rng.integers(0, 12))))
    stream = encoder.stream(RATE)
    pieces = [*map(stream.push, np.split(sound, cuts)), stream.finish()]
    streamed = np.concatenate([piece.embeddings for piece in pieces])
    assert np.array_equal(whole.times, from_file.times)
    assert np.array_equal(whole.times, np.concatenate([piece.times for piece in pieces]))
    return max(
        relative_difference(from_file.embeddings, whole.embeddings), relative_difference(streamed, whole.embeddings)
    )


def any_length_works(encoder: AaSPEncoder, rng: np.random.Generator) -> float:
    """Promise 4: counts and times follow the formulas for any number of samples; every number is finite."""
    sound = random_sound(rng, 25.0)
    framed = encoder.embed_frames(sound)
    frames = count_frames(len(sound))
    assert framed.embeddings.shape[0] == count_columns(frames)
    assert np.isfinite(framed.embeddings).all()
    assert np.isfinite(encoder.embed(sound)).all()
    times = np.array([column_time(frames, column) for column in range(count_columns(frames))])
    return float(np.abs(framed.times - times).max())


PROMISES: dict[str, Callable[[AaSPEncoder, np.random.Generator], float]] = {
    "alone = in a batch": alone_equals_batch,
    "padding never matters": padding_never_matters,
    "twice = once (bits)": twice_equals_once,
    "one thread = two": threads_do_not_matter,
    "chunked = whole": chunked_equals_whole,
    "any length": any_length_works,
}


def largest_difference(
    promise: Callable[[AaSPEncoder, np.random.Generator], float], encoder: AaSPEncoder, cases: int, seed: int = 0
) -> float:
    """The largest difference over ``cases`` random cases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sounds shorter than one frame are among the cases
        return max(promise(encoder, np.random.default_rng([seed, case])) for case in range(cases))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--model", default=None, help="checkpoint; the bundled one unless given")
    arguments = parser.parse_args()
    encoder = AaSPEncoder.from_pretrained(arguments.model)
    print(f"{encoder.config.name}, {arguments.cases} random cases each\n")
    print("| promise | largest difference | seconds |\n|---|---|---|")
    for name, promise in PROMISES.items():
        began = time.monotonic()
        largest = largest_difference(promise, encoder, arguments.cases)
        print(f"| {name} | {largest:.1e} | {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
