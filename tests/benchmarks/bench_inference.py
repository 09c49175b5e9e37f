"""AaSP from the waveform against a plain ViT of the same shape from the spectrogram, `conv` against `aape`, and peers.

``python tests/benchmarks/bench_inference.py [--rounds 15] [--sizes tiny,base] [--peers]``. Ratios are seconds over the
plain ViT's (in brackets the quartiles over rounds); a speed of 0.85x is a ratio of 1.18. The plain ViT is given the
spectrogram; all others compute theirs unless the column says otherwise. Nothing is asserted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from interleave import interleave
from peers import Peer, peers
from torch import nn

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.windows import count_columns, count_frames

PLAIN, PEERS = "plain ViT", ["AST (transformers)", "wav2vec 2.0 (transformers)", "dasheng base"]
OURS = ["AaSP", "AaSP `conv`", "AaSP, spectrogram in", "AaSP `conv`, spectrogram in"]
COLUMNS = [PLAIN, *OURS, *PEERS]
SIZES = {"tiny": AaSPConfig.tiny, "small": AaSPConfig.small, "base": AaSPConfig.base}


class PlainViT(nn.Module):
    """16 x 16 patches by convolution, learned positions, PyTorch's own pre-norm layers with fused attention."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, dim, 16, 16)
        self.positions = nn.Parameter(torch.zeros(1, 2048, dim))
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


@torch.inference_mode()
def compare(size: str, seconds: int, batch: int, rounds: int, others: list[Peer]) -> None:
    """Print the rows of one size and input. All sides have the same tokens, those of the last, partial column too.

    Sounds beyond one window (10.24 s) go through ``embed``, in windows.
    """
    config = SIZES[size]()
    waveform = torch.randn(batch, 16000 * seconds) * 0.1
    spectrogram = torch.randn(batch, 16 * count_columns(count_frames(16000 * seconds)), 128)
    aasp, conv = AaSPEncoder(config), AaSPEncoder(config.replace(patch_embed="conv"))
    plain = PlainViT(config.dim, config.depth, config.heads).eval()
    sides: dict[str, Callable[[], object]] = {PLAIN: lambda: plain(spectrogram)}
    if seconds <= 10:
        sides |= {
            "AaSP": lambda: aasp(waveform),
            "AaSP `conv`": lambda: conv(waveform),
            "AaSP, spectrogram in": lambda: aasp.network(spectrogram),
            "AaSP `conv`, spectrogram in": lambda: conv.network(spectrogram),
        }
    else:
        sides["AaSP"] = lambda: aasp.embed(waveform)
    for peer in others:
        if peer.network_input and not (peer.fixed_length and seconds > 10):  # it would read the first 10 s only
            sides[peer.name] = partial(peer.network, peer.network_input(batch, seconds))
    timings = interleave(sides, rounds)
    first, *rest = COLUMNS
    cells = [f"{1000 * timings[first].seconds:.1f} ms"]
    cells += [timings[name].relative if name in timings else "" for name in rest]
    print(f"| {size} | {seconds} s | {batch} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default="tiny,small,base")
    parser.add_argument("--seconds", default="1,5,10,30")
    parser.add_argument("--batches", default="1,8", help="those above 1 up to 10 s only")
    parser.add_argument("--peers", action="store_true", help="also other packages' encoders, beside base")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    others = peers() if arguments.peers else []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| size | input | batch | " + " | ".join(COLUMNS) + " |\n|---|---|---" + "|---" * len(COLUMNS) + "|")
    for size in arguments.sizes.split(","):
        for seconds in map(int, arguments.seconds.split(",")):
            for batch in map(int, arguments.batches.split(",")):
                if batch == 1 or seconds <= 10:
                    compare(size, seconds, batch, arguments.rounds, others if size == "base" else [])


if __name__ == "__main__":
    main()
