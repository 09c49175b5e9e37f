"""Facts of a checkpoint, for ``aasp-train info`` and cards."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig
from aasp_features.encoder import AaSPEncoder

FEATURES = {"complex": "complex values", "modulus": "moduli", "both": "complex values and moduli"}


def describe(encoder: AaSPEncoder, seconds: float = 10.0) -> dict[str, str]:
    """Return facts about an encoder by name, with its measured speed.

    Args:
        encoder: Encoder on any device.
        seconds: Length of the sound for the measurement, in seconds.
    """
    millions = sum(parameter.numel() for parameter in encoder.network.parameters()) / 1e6
    facts = describe_config(encoder.config)
    return {
        "name": encoder.config.name,
        "sha256": encoder.sha256 or "none: not loaded from a file",
        **facts,
        "network": f"{facts['network']}, {millions:.1f} M parameters",
        "speed here": f"{_speed(encoder, seconds):.0f} s of sound a second, {seconds:.0f} s at a time, "
        f"{encoder.device.type}, {torch.get_num_threads()} threads",
    }


def describe_config(config: AaSPConfig) -> dict[str, str]:
    """Return the facts in an encoder's config by name."""
    column = PATCH * FRAME_HOP / config.sample_rate
    read = "the last block" if config.last_layers == 1 else f"the mean of the last {config.last_layers} blocks"
    return {
        "network": f"{config.depth} blocks, {config.dim} wide, {config.heads} heads",
        "patch embedding": describe_patch_embedding(config),
        "input": f"{config.sample_rate} Hz mono, {config.mels} mel bands, {config.fft_length}-point FFT, "
        f"mean {config.mean:.4f}, standard deviation {config.std:.4f}",
        "clip vector": f"{config.embedding_dim} numbers (pooling {config.pooling} of {read})",
        "frame rate": f"{1 / column:.2f} a second ({1000 * column:.0f} ms; down to 10 ms with hop)",
        "window": f"{config.window * column:.2f} s, {config.context * column:.2f} s of context on each side",
    }


def describe_patch_embedding(config: AaSPConfig) -> str:
    """Describe the variant of the patch embedding."""
    if config.patch_embed == "aape":
        return f"aape: {config.states} states, {config.kernel} kernel, {FEATURES[config.features]}"
    patches = f"a linear map of each {PATCH} x {PATCH} patch"
    if config.patch_embed == "conv":
        return f"conv: {patches}"
    cutoff, taps = config.lowpass_cutoff, config.lowpass_taps
    return f"lowpass: modulations above {cutoff:g} Hz removed along time ({taps} taps), then {patches}"


def _speed(encoder: AaSPEncoder, seconds: float, rounds: int = 5) -> float:
    sound = np.random.default_rng(0).normal(size=int(seconds * encoder.config.sample_rate)).astype(np.float32) * 0.1
    times = []
    encoder.embed(sound)
    for _ in range(rounds):
        began = time.perf_counter()
        encoder.embed(sound)
        times.append(time.perf_counter() - began)
    return seconds / statistics.median(times)
