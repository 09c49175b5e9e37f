"""Shares of the stages in AaSP's forward: ``python tests/benchmarks/where_time_goes.py [--rounds 15]``."""

from __future__ import annotations

import argparse

import torch
from interleave import interleave

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.model.patch_embed import AaPE, sblu, split_patches
from aasp_features.model.pooling import pool_clip


@torch.inference_mode()
def stages(size: str, seconds: int, rounds: int) -> None:
    encoder = AaSPEncoder({"tiny": AaSPConfig.tiny, "base": AaSPConfig.base}[size]())
    network, embed = encoder.network, encoder.network.patch_embed
    assert isinstance(embed, AaPE)
    waveform = torch.randn(1, 16000 * seconds) * 0.1
    log_mel = encoder.log_mel(waveform)
    patches = split_patches(log_mel)
    flat = patches.flatten(-2)
    alpha, omega = embed.lambda_encoder(flat)
    u = embed.input_map(patches)
    features = embed._features(*sblu(u, alpha, omega, embed.kernel))
    tokens = network.with_cls(embed(log_mel).flatten(1, 2))
    pooled = network(log_mel)

    def blocks() -> torch.Tensor:
        x = tokens
        for block in network.blocks:
            x = block(x)
        return network.norm(x)

    sides = {
        "whole forward": lambda: encoder(waveform),
        "log-mel": lambda: encoder.log_mel(waveform),
        "patch embedding": lambda: embed(log_mel),
        "- plain branch": lambda: embed.plain(flat),
        "- Lambda Encoder": lambda: embed.lambda_encoder(flat),
        "- SBLU": lambda: sblu(u, alpha, omega, embed.kernel),
        "- Patch Fusion": lambda: embed.fusion(features),
        "transformer": blocks,
        "pooling": lambda: pool_clip(pooled, "frequency"),
    }
    for name, timing in interleave(sides, rounds).items():
        print(
            f"| {size} | {seconds} s | {name} | {1000 * timing.seconds:.2f} ms | {100 * timing.ratio:.1f} % |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print("| size | input | stage | seconds | share |\n|---|---|---|---|---|")
    for size in ("tiny", "base"):
        for seconds in (1, 10):
            stages(size, seconds, arguments.rounds)


if __name__ == "__main__":
    main()
