"""The EMA teacher: an exponential moving average of the student network, which sees every token."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.model.network import AaSPNetwork, token_mask
from aasp_features.model.transformer import Block, autocast_type
from aasp_features.train.data.batch import Batch, send


class Targets(NamedTuple):
    """Targets of the student.

    Attributes:
        frame: (batch, tokens, dim) target of every token; undefined for padding.
        clip: (batch, dim) target of the clip as a whole, not yet standardised.
        cls: (batch, dim) the EMA teacher's [CLS], for health metrics.
        mean: (batch, dim) mean of the EMA teacher's output tokens, for health metrics.
    """

    frame: Tensor
    clip: Tensor
    cls: Tensor
    mean: Tensor


class EmaTeacher(nn.Module):
    """An fp32 copy of stem and encoder that follows the student.

    Args:
        student: Network to copy.
        target_layers: Number of last blocks that give targets.
    """

    def __init__(self, student: AaSPNetwork, target_layers: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.target_layers = target_layers

    @torch.no_grad()
    def forward(self, batch: Batch) -> Targets:
        """Compute targets from the MLP outputs of the last blocks.

        The outputs are instance-normalised over valid tokens, averaged, and normalised.
        """
        network = self.network
        tokens = batch.patch_tokens(network)  # (batch, columns, rows, dim)
        frames, rows = send(batch.column_frames, tokens.device), tokens.shape[2]
        key_mask = token_mask(frames, rows) if batch.padded else None
        x, updates = network.with_cls(tokens.flatten(1, 2)), []
        for block in network.blocks:  # a block's forward, whose MLP gives a target before the residual sum
            assert isinstance(block, Block)
            x = x + block.attention(block.norm1(x), key_mask)
            update = block.mlp(block.norm2(x))
            x = x + update
            updates.append(update[:, 1:])
        return self._targets(x, updates[-self.target_layers :], (frames > 0).repeat_interleave(rows, dim=1))

    def _targets(self, x: Tensor, updates: list[Tensor], valid: Tensor) -> Targets:
        weight = (valid / valid.sum(dim=1, keepdim=True))[..., None]  # (batch, tokens, 1)
        frame = clip = torch.zeros((), device=x.device)
        for update in updates:
            normal, mean = instance_norm(update.float(), weight)
            frame, clip = frame + normal / len(updates), clip + mean / len(updates)
        output = self.network.norm(x).float()
        frame = functional.layer_norm(frame, frame.shape[-1:])
        return Targets(frame, clip[:, 0], output[:, 0], weighted_mean(output[:, 1:], weight)[:, 0])

    @torch.no_grad()
    def follow(self, student: AaSPNetwork, momentum: float, finite: Tensor) -> None:
        """Update teacher <- momentum * teacher + (1 - momentum) * student if the step was ``finite``."""
        own: list[Tensor] = list(self.network.parameters())
        new: list[Tensor] = list(student.parameters())
        way = torch._foreach_sub(new, own)
        torch._foreach_mul_(way, (1.0 - momentum) * finite)
        torch._foreach_add_(own, way)


def instance_norm(x: Tensor, weight: Tensor, epsilon: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Normalise each channel of (batch, tokens, dim), and return it with its mean, (batch, 1, dim).

    Mean and variance use ``weight``, (batch, tokens, 1), which sums to 1 over the tokens and is 0 for padding.
    """
    mean = weighted_mean(x, weight)
    centred = x - mean
    variance = weighted_mean(centred.square(), weight)
    return centred * (variance + epsilon).rsqrt(), mean


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean over the tokens, (batch, 1, dim), in float32 even under autocast."""
    with torch.autocast(autocast_type(x.device), enabled=False):
        return weight.transpose(1, 2) @ x
