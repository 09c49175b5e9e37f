"""Blocks and positions, against PyTorch's own modules and plain formulas."""

import math

import pytest
import torch
from torch import nn

from aasp_features.model.transformer import Block, attend, sincos_positions


def reference_block(block: Block, dim: int, heads: int) -> nn.TransformerEncoderLayer:
    """The same weights in PyTorch's pre-norm layer."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_weight": block.attention.qkv.weight,
        "self_attn.in_proj_bias": block.attention.qkv.bias,
        "self_attn.out_proj.weight": block.attention.out.weight,
        "self_attn.out_proj.bias": block.attention.out.bias,
        "linear1.weight": block.mlp.expand.weight,
        "linear1.bias": block.mlp.expand.bias,
        "linear2.weight": block.mlp.contract.weight,
        "linear2.bias": block.mlp.contract.bias,
        "norm1.weight": block.norm1.weight,
        "norm1.bias": block.norm1.bias,
        "norm2.weight": block.norm2.weight,
        "norm2.bias": block.norm2.bias,
    }
    layer.load_state_dict(names)
    return layer


@pytest.mark.parametrize("masked", [False, True])
def test_block_equals_pytorchs_layer(masked: bool) -> None:
    torch.manual_seed(0)
    block = Block(32, 4, 4)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = torch.randn(3, 11, 32)
    readable = torch.ones(3, 11, dtype=torch.bool)
    if masked:
        readable[1, 7:] = False
    expected = reference_block(block, 32, 4)(x, src_key_padding_mask=~readable)
    result = block(x, readable[:, None, None] if masked else None)
    torch.testing.assert_close(result[readable], expected[readable], atol=1e-5, rtol=1e-5)


def test_bfloat16_attention_on_cpu_equals_float32() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 20, 16).bfloat16().requires_grad_(True) for _ in range(3))
    mask = torch.rand(2, 1, 1, 20) < 0.7
    expected = nn.functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
    torch.testing.assert_close(attend(query, key, value, mask).float(), expected, atol=3e-2, rtol=3e-2)


def test_positions_follow_the_formula() -> None:
    positions = sincos_positions(5, 8, 16)
    for column, row, channel in [(0, 0, 0), (3, 2, 1), (4, 7, 3)]:
        rate = 10000 ** (-channel / 4)
        expected = [math.sin(column * rate), math.cos(column * rate), math.sin(row * rate), math.cos(row * rate)]
        result = [positions[column, row, channel + offset].item() for offset in (0, 4, 8, 12)]
        assert result == pytest.approx(expected, abs=1e-6)


def test_every_position_differs() -> None:
    flat = sincos_positions(64, 8, 192).flatten(0, 1)
    distance = torch.cdist(flat, flat) + 10 * torch.eye(len(flat))
    assert distance.min() > 0.1
