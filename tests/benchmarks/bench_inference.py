"""AaSP from the waveform against a plain ViT of the same shape from the spectrogram, and `conv` against `aape`.

``python tests/benchmarks/bench_inference.py [--rounds 15] [--sizes tiny,base]``. Ratios are seconds over the plain
ViT's (in brackets the quartiles over rounds); a speed of 0.85x is a ratio of 1.18. Nothing is asserted.
"""

from __future__ import annotations

import argparse

import torch
from interleave import interleave
from torch import nn

from aasp_features import AaSPConfig, AaSPEncoder

SIZES = {"tiny": AaSPConfig.tiny, "small": AaSPConfig.small, "base": AaSPConfig.base}


class PlainViT(nn.Module):
    """16 x 16 patches by convolution, learned positions, PyTorch's own pre-norm layers with fused attention."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, dim, 16, 16)
        self.positions = nn.Parameter(torch.zeros(1, 512, dim))
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(PlainBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        x = self.patches(spectrogram[:, None]).flatten(2).transpose(1, 2)
        x = x + self.positions[:, : x.shape[1]]
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mean(dim=1)


class PlainBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*qkv)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.mlp(self.norm2(x))


def peers() -> dict[str, nn.Module]:
    """Two well-known encoders with random weights, where transformers is installed."""
    try:
        from transformers import ASTConfig, ASTModel, Wav2Vec2Config, Wav2Vec2Model
    except (ImportError, OSError, RuntimeError):
        return {}
    return {
        "HF ASTModel": ASTModel(ASTConfig()).eval(),
        "HF wav2vec2-base": Wav2Vec2Model(Wav2Vec2Config()).eval(),
    }


@torch.inference_mode()
def compare(size: str, seconds: int, batch: int, rounds: int, others: dict[str, nn.Module]) -> None:
    config = SIZES[size]()
    waveform = torch.randn(batch, 16000 * seconds) * 0.1
    frames = 16 * ((100 * seconds) // 16)
    spectrogram = torch.randn(batch, frames, 128)
    aasp, conv = AaSPEncoder(config), AaSPEncoder(config.replace(patch_embed="conv"))
    plain = PlainViT(config.dim, config.depth, config.heads).eval()
    sides = {
        "plain ViT, spectrogram in": lambda: plain(spectrogram),
        "AaSP, waveform in": lambda: aasp(waveform),
        "AaSP `conv`, waveform in": lambda: conv(waveform),
        "AaSP, spectrogram in": lambda: aasp.forward_features(spectrogram),
        "AaSP `conv`, spectrogram in": lambda: conv.forward_features(spectrogram),
    }
    if "HF ASTModel" in others:
        padded = torch.randn(batch, 1024, 128)
        sides["HF ASTModel"] = lambda: others["HF ASTModel"](padded)
        sides["HF wav2vec2-base"] = lambda: others["HF wav2vec2-base"](waveform)
    for name, timing in interleave(sides, rounds).items():
        print(f"| {size} | {seconds} s | {batch} | {name} | {timing} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default="tiny,small,base")
    parser.add_argument("--batches", default="1,4")
    parser.add_argument("--peers", action="store_true", help="also transformers' AST and wav2vec2, beside base")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| size | input | batch | side | seconds | ratio to the plain ViT |\n|---|---|---|---|---|---|")
    for size in arguments.sizes.split(","):
        others = peers() if arguments.peers and size == "base" else {}
        for seconds in (1, 10):
            for batch in map(int, arguments.batches.split(",")):
                compare(size, seconds, batch, arguments.rounds, others)


if __name__ == "__main__":
    main()
