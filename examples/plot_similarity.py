"""Draw where seven sounds occur in a recording, the README's figure: ``python examples/plot_similarity.py [PNG]``.

The recording mixes sounds of this folder over rain, some of them twice. Its vectors, one every 40 ms, are compared with
the vector of each sound alone.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from aasp_features import AaSPEncoder, load_audio

SOUNDS = Path(__file__).parent / "sounds"
RATE = 16000
SECONDS = 16.0
NAMES = {
    "bird chirps": "nature/bird_chirps.flac",
    "drum hits": "music/drum_hits.flac",
    "bell": "music/bell.flac",
    "vowels": "voice/vowels.wav",
    "siren": "effects/siren.wav",
    "whistle": "voice/whistle.aiff",
    "engine": "effects/engine.wav",  # absent
}
SCENE = [  # name, start in seconds, gain
    ("bird chirps", 0.6, 0.4),
    ("drum hits", 2.6, 0.5),
    ("bell", 4.2, 0.5),
    ("vowels", 6.2, 0.4),
    ("siren", 8.2, 0.3),
    ("bird chirps", 10.4, 0.15),
    ("whistle", 12.3, 0.3),
    ("drum hits", 14.2, 0.25),
]


def clips() -> dict[str, np.ndarray]:
    """Return each sound alone, (samples,) float32."""
    return {name: load_audio(SOUNDS / path) for name, path in NAMES.items()}


def recording(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Return the sounds of the scene over rain, (samples,) float32."""
    rain = load_audio(SOUNDS / "nature/rain.flac")
    mixed = 0.02 * np.resize(rain, round(SECONDS * RATE))
    for name, start, level in SCENE:
        first = round(start * RATE)
        mixed[first : first + len(parts[name])] += level * parts[name]
    return mixed


def similarity(encoder: AaSPEncoder, parts: dict[str, np.ndarray], mixed: np.ndarray) -> np.ndarray:
    """Return the cosine of each sound with each frame after removing their common part: (sounds, T)."""
    known, frames = encoder.embed(list(parts.values())), encoder.embed_frames(mixed, hop=0.04)
    known, heard = known - known.mean(axis=0), frames.embeddings - frames.embeddings.mean(axis=0)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    heard /= np.linalg.norm(heard, axis=1, keepdims=True)
    return known @ heard.T


def draw(encoder: AaSPEncoder) -> Figure:
    """Draw the spectrogram above and the similarities below."""
    parts = clips()
    mixed = recording(parts)
    alike = similarity(encoder, parts, mixed)
    log_mel = encoder.log_mel(torch.from_numpy(mixed)) * encoder.config.std + encoder.config.mean
    levels = log_mel.T.numpy() * 10 / math.log(10)  # dB
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.imshow(
        levels, origin="lower", aspect="auto", cmap="magma", vmin=levels.max() - 60, extent=(0, SECONDS, 0, len(levels))
    )
    above.set(title="A recording goes in …", ylabel="mel band", yticks=[])
    below.imshow(
        alike,
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=alike.max(),
        extent=(0, SECONDS, len(parts) - 0.5, -0.5),
        interpolation="nearest",
    )
    below.set(title="… and a vector every 40 ms comes out. How like each of these sounds it is:", xlabel="seconds")
    below.set_yticks(range(len(parts)), list(parts))
    return figure


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "similarity.png")
    draw(AaSPEncoder.from_pretrained()).savefig(out, dpi=90)
    print(out)
