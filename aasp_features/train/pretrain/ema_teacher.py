"""The teacher: an exponential moving average of the student network, which sees every token."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.network import AaSPNetwork, count_valid, token_mask
from aasp_features.train.data.batch import Batch


class Targets(NamedTuple):
    """What the student has to predict.

    Attributes:
        frame: (batch, tokens, dim) for every token; meaningless at padded ones.
        utterance: (batch, dim) for the spectrogram as a whole, not yet standardised.
        cls: (batch, dim) the teacher's own [CLS], for health metrics.
        mean: (batch, dim) the mean of the teacher's output tokens, for health metrics.
    """

    frame: Tensor
    utterance: Tensor
    cls: Tensor
    mean: Tensor


class EmaTeacher(nn.Module):
    """An fp32 copy of stem and encoder that follows the student.

    Args:
        student: copied.
        target_layers: how many of the last blocks give targets.
    """

    def __init__(self, student: AaSPNetwork, target_layers: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.target_layers = target_layers

    @torch.no_grad()
    def forward(self, batch: Batch) -> Targets:
        """Targets: the MLP outputs of the last blocks, instance-normalised over valid tokens, averaged, normalised."""
        network = self.network
        tokens = network.embed_patches(batch.log_mel, batch.frames) + batch.positions(network.positions)
        _, columns, rows, _ = tokens.shape
        valid = count_valid(batch.log_mel, batch.frames, columns)
        padded = bool((valid == 0).any())
        key_mask = token_mask(valid, rows) if padded else None
        x, updates = network.with_cls(tokens.flatten(1, 2)), []
        for output, update in network.run_blocks(x, key_mask):
            x = output
            updates.append(update[:, 1:])
        return self._targets(x, updates[-self.target_layers :], (valid > 0).repeat_interleave(rows, dim=1))

    def _targets(self, x: Tensor, updates: list[Tensor], valid: Tensor) -> Targets:
        weight = (valid / valid.sum(dim=1, keepdim=True))[..., None]  # (batch, tokens, 1)
        frame = utterance = torch.zeros((), device=x.device)
        for update in updates:
            normal, mean = instance_norm(update.float(), weight)
            frame, utterance = frame + normal / len(updates), utterance + mean / len(updates)
        output = self.network.norm(x).float()
        frame = functional.layer_norm(frame, frame.shape[-1:])
        return Targets(frame, utterance[:, 0], output[:, 0], weighted_mean(output[:, 1:], weight)[:, 0])

    @torch.no_grad()
    def follow(self, student: AaSPNetwork, momentum: float) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student."""
        own: list[Tensor] = list(self.network.parameters())
        new: list[Tensor] = list(student.parameters())
        torch._foreach_lerp_(own, new, 1.0 - momentum)


def instance_norm(x: Tensor, weight: Tensor, epsilon: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Zero mean and unit variance of each channel over the tokens, weighted; and that mean, (batch, 1, dim).

    Args:
        x: (batch, tokens, dim).
        weight: (batch, tokens, 1), sums to 1 over the tokens; 0 at padded ones.
    """
    mean = weighted_mean(x, weight)
    centred = x - mean
    variance = weighted_mean(centred.square(), weight)
    return centred * (variance + epsilon).rsqrt(), mean


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Over the tokens, (batch, 1, dim); in float32 under autocast too."""
    with torch.autocast(x.device.type, enabled=False):
        return weight.transpose(1, 2) @ x
