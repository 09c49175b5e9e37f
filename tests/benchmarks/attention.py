"""``transformer.attend`` against PyTorch's kernel on a CPU: ``python tests/benchmarks/attention.py [--rounds 15]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from interleave import interleave
from torch.nn.functional import scaled_dot_product_attention

from aasp_features.model.transformer import attend

SHAPES = {  # batch, queries, tokens, with gradients
    "student, 20 % of 1.9 s": (192, 20, 20, True),
    "predictor": (192, 23, 20, True),
    "teacher, 1.9 s": (96, 97, 97, False),
    "teacher, 10 s": (16, 513, 513, False),
}


def side(
    function: Callable[..., torch.Tensor], shape: tuple[int, int, int, bool], dtype: torch.dtype
) -> Callable[[], None]:
    batch, queries, tokens, gradients = shape
    lengths = (queries, tokens, tokens)
    inputs = [torch.randn(batch, length, 3, 64, dtype=dtype).transpose(1, 2) for length in lengths]

    def run() -> None:
        with torch.set_grad_enabled(gradients):
            result = function(*(part.detach().requires_grad_(gradients) for part in inputs))
            if gradients:
                result.sum().backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print("| where | type | side | seconds | ratio to PyTorch's kernel |\n|---|---|---|---|---|")
    for where, shape in SHAPES.items():
        for dtype in (torch.bfloat16, torch.float32):
            sides = {
                "PyTorch's kernel": side(scaled_dot_product_attention, shape, dtype),
                "attend": side(attend, shape, dtype),
            }
            for name, timing in interleave(sides, arguments.rounds).items():
                print(f"| {where} | {str(dtype)[6:]} | {name} | {timing} |", flush=True)


if __name__ == "__main__":
    main()
