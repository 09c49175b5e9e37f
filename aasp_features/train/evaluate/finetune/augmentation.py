"""Random crops and augmentation of fine-tuning's clips.

Every function takes a generator on the CPU. All changes apply to standardised log-mels, where they equal changes of the
waveform: a gain is a sum, a roll in time a roll of frames (except for the frame at the seam).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from aasp_features.inference import stack_log_mels
from aasp_features.model.log_mel import ENERGY_FLOOR
from aasp_features.train.data.batch import Batch
from aasp_features.train.evaluate.finetune.recipe import AugmentationSettings

GAIN_SHAPE, MIN_GAIN = 10.0, 0.5  # of a clip's samples: Beta(10, 10) + 0.5, as in EAT


def cut_clips(log_mels: list[Tensor], frames: int, generator: torch.Generator) -> Batch:
    """Stack log-mels, (frames_i, mels) each; those of more than ``frames`` are cut at a random position."""
    pieces = []
    for log_mel, position in zip(log_mels, torch.rand(len(log_mels), generator=generator).tolist(), strict=True):
        first = int(position * (max(0, len(log_mel) - frames) + 1))
        pieces.append(log_mel[first : first + frames])
    lengths = torch.tensor([len(piece) for piece in pieces])
    rows = torch.arange(len(pieces))
    return Batch(stack_log_mels(pieces, int(lengths.max())), lengths, torch.zeros_like(rows), rows)


def augment(
    batch: Batch, targets: Tensor, settings: AugmentationSettings, mean: float, std: float, generator: torch.Generator
) -> tuple[Batch, Tensor]:
    """Apply every augmentation of a recipe to clips and their targets, (batch, classes) float."""
    if settings.roll:
        batch = roll(batch, generator)
    if settings.gain:
        batch = change_amplitude(batch, mean, std, generator)
    if settings.mixup:
        shares = draw_shares(len(targets), settings, generator)
        batch, targets = mix_up(batch, targets, shares)
    return mask_bands_and_frames(batch, settings.mask_bands, settings.mask_frames, generator), targets


def roll(batch: Batch, generator: torch.Generator) -> Batch:
    """Roll each clip by a random number of its frames; padding stays in place."""
    length = batch.frame_lengths[:, None]
    shift = (torch.rand(len(length), 1, generator=generator) * length).long()
    steps = torch.arange(batch.log_mel.shape[1])
    source = torch.where(steps < length, (steps - shift) % length, steps)
    return batch._replace(log_mel=batch.log_mel.gather(1, source[..., None].expand_as(batch.log_mel)))


def change_amplitude(batch: Batch, mean: float, std: float, generator: torch.Generator) -> Batch:
    """Multiply each clip's samples by Beta(10, 10) + 0.5, not below the frontend's floor."""
    factor = draw_beta(GAIN_SHAPE, len(batch.log_mel), generator) + MIN_GAIN
    louder = batch.log_mel + 2 * factor.log()[:, None, None] / std
    return batch._replace(log_mel=louder.clamp(min=(math.log(ENERGY_FLOOR) - mean) / std) * batch.inside)


def mix_up(batch: Batch, targets: Tensor, shares: Tensor) -> tuple[Batch, Tensor]:
    """Mix share * clip + (1 - share) * partner, the clip at the mirrored index of the batch, and targets alike.

    Args:
        batch: Batch, where a shorter clip continues with the corpus' mean (0) under a longer partner.
        targets: (batch, classes) float.
        shares: (batch,) share of the clip itself; 1 leaves it unchanged.
    """
    weight = shares[:, None, None]
    log_mel = weight * batch.log_mel + (1 - weight) * batch.log_mel.flip(0)
    mixed = torch.where(shares < 1, batch.frame_lengths.flip(0), 0)
    lengths = torch.maximum(batch.frame_lengths, mixed)
    targets = shares[:, None] * targets + (1 - shares[:, None]) * targets.flip(0)
    return batch._replace(log_mel=log_mel, frame_lengths=lengths), targets


def draw_shares(clips: int, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Draw each clip's share, Beta(α, α) or 1 if it is not mixed, (clips,), or one share for the batch."""
    count = 1 if settings.mixup_per == "batch" else clips
    mixed = torch.rand(count, generator=generator) < settings.mixup_probability
    shares = torch.where(mixed, draw_beta(settings.mixup, count, generator), 1.0)
    return shares.expand(clips)


def mask_bands_and_frames(batch: Batch, bands: float, frames: float, generator: torch.Generator) -> Batch:
    """Apply SpecAugment: set one stretch of bands and one of frames of each clip to 0, the mean.

    Widths are uniform from 0 to a share of the bands, or of the clip's frames; positions are uniform.
    """
    count, length, mels = batch.log_mel.shape
    band = stretch(torch.full((count,), mels), bands, mels, generator)  # (batch, mels)
    frame = stretch(batch.frame_lengths, frames, length, generator)  # (batch, frames)
    masked = band[:, None] | frame[..., None]
    return batch._replace(log_mel=batch.log_mel.masked_fill(masked, 0.0))


def stretch(sizes: Tensor, largest: float, length: int, generator: torch.Generator) -> Tensor:
    """Draw one stretch of at most ``largest`` of each of ``sizes``, (batch,), as (batch, length) bool."""
    draw = torch.rand(2, len(sizes), generator=generator)
    limit = (largest * sizes).floor()
    width = (draw[0] * (limit + 1)).floor().minimum(limit)
    start = (draw[1] * (sizes - width + 1)).floor()
    steps = torch.arange(length)
    return (steps >= start[:, None]) & (steps < (start + width)[:, None])


def draw_beta(shape: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(shape, shape), (count,) float32."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(shape, shape, count)).float()
