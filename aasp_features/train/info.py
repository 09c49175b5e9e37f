"""What a checkpoint is, in lines: for ``aasp-train info``."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from aasp_features.config import FRAME_HOP, PATCH
from aasp_features.encoder import AaSPEncoder


def describe(encoder: AaSPEncoder, seconds: float = 10.0) -> dict[str, str]:
    """Facts about an encoder, by name; its speed is measured here and now.

    Args:
        encoder: on any device.
        seconds: of sound that the speed is measured with.
    """
    config = encoder.config
    millions = sum(parameter.numel() for parameter in encoder.network.parameters()) / 1e6
    column = PATCH * FRAME_HOP / config.sample_rate
    return {
        "name": config.name,
        "sha256": encoder.sha256 or "none: not loaded from a file",
        "network": f"{config.depth} blocks, {config.dim} wide, {config.heads} heads, {millions:.1f} M parameters",
        "patch embedding": _patch_embedding(encoder),
        "input": f"{config.sample_rate} Hz mono, {config.mels} mel bands, {config.fft_length}-point FFT",
        "clip vector": f"{config.embedding_dim} numbers (pooling {config.pooling}, last {config.last_layers} blocks)",
        "frame rate": f"{1 / column:.2f} a second ({1000 * column:.0f} ms; down to 10 ms with hop)",
        "window": f"{config.window * column:.2f} s, {config.context * column:.2f} s of context on each side",
        "speed here": f"{_speed(encoder, seconds):.0f} s of sound a second, {seconds:.0f} s at a time, "
        f"{encoder.device.type}, {torch.get_num_threads()} threads",
    }


def _patch_embedding(encoder: AaSPEncoder) -> str:
    config = encoder.config
    if config.patch_embed != "aape":
        return config.patch_embed
    return f"aape: {config.states} states, {config.kernel} kernel, {config.features} features"


def _speed(encoder: AaSPEncoder, seconds: float, rounds: int = 5) -> float:
    sound = np.random.default_rng(0).normal(size=int(seconds * encoder.config.sample_rate)).astype(np.float32) * 0.1
    times = []
    encoder.embed(sound)
    for _ in range(rounds):
        began = time.perf_counter()
        encoder.embed(sound)
        times.append(time.perf_counter() - began)
    return seconds / statistics.median(times)
