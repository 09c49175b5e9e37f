"""Clips of a batch cut out of their sounds, and changed: what fine-tuning does so that no clip is ever seen twice.

Every function takes a generator on the CPU. All is done on standardised log-mels, on which these changes are those of
the waveform: a gain is a sum, a turn in time a turn of frames (but for the one frame across the seam).
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

GAIN_SHAPE, LEAST_GAIN = 10.0, 0.5  # of a clip's samples: Beta(10, 10) + 0.5, as EAT has it


def cut_clips(log_mels: list[Tensor], frames: int, generator: torch.Generator) -> Batch:
    """(frames_i, mels) each -> a batch as long as its longest; sounds of more than ``frames`` are cut at random."""
    pieces = []
    for log_mel, place in zip(log_mels, torch.rand(len(log_mels), generator=generator).tolist(), strict=True):
        first = int(place * (max(0, len(log_mel) - frames) + 1))
        pieces.append(log_mel[first : first + frames])
    lengths = torch.tensor([len(piece) for piece in pieces])
    rows = torch.arange(len(pieces))
    return Batch(stack_log_mels(pieces, int(lengths.max())), lengths, torch.zeros_like(rows), rows)


def augment(
    batch: Batch, targets: Tensor, settings: AugmentationSettings, mean: float, std: float, generator: torch.Generator
) -> tuple[Batch, Tensor]:
    """Everything that a recipe asks for.

    Args:
        batch: of clips.
        targets: (batch, classes) float.
        settings: of the recipe.
        mean, std: that standardised the log-mels.
        generator: on the CPU.
    """
    if settings.roll:
        batch = roll(batch, generator)
    if settings.gain:
        batch = change_amplitude(batch, mean, std, generator)
    if settings.mixup:
        shares = draw_shares(len(targets), settings, generator)
        batch, targets = mix_up(batch, targets, shares)
    return mask_bands_and_frames(batch, settings.mask_bands, settings.mask_frames, generator), targets


def roll(batch: Batch, generator: torch.Generator) -> Batch:
    """Turn each clip round by a random number of its frames; padding stays where it is."""
    length = batch.frame_lengths[:, None]
    shift = (torch.rand(len(length), 1, generator=generator) * length).long()
    steps = torch.arange(batch.log_mel.shape[1])
    source = torch.where(steps < length, (steps - shift) % length, steps)
    return batch._replace(log_mel=batch.log_mel.gather(1, source[..., None].expand_as(batch.log_mel)))


def change_amplitude(batch: Batch, mean: float, std: float, generator: torch.Generator) -> Batch:
    """Multiply each clip's samples by Beta(10, 10) + 0.5; not below the front end's floor."""
    factor = draw_beta(GAIN_SHAPE, len(batch.log_mel), generator) + LEAST_GAIN
    louder = batch.log_mel + 2 * factor.log()[:, None, None] / std
    return batch._replace(log_mel=louder.clamp(min=(math.log(ENERGY_FLOOR) - mean) / std) * batch.inside)


def mix_up(batch: Batch, targets: Tensor, shares: Tensor) -> tuple[Batch, Tensor]:
    """share * clip + (1 - share) * partner, the partner being the clip as far from the batch's end; targets alike.

    Args:
        batch: a shorter clip counts as the corpus' mean (0) past its end, where its partner goes on.
        targets: (batch, classes) float.
        shares: (batch,) of the clip itself; 1 leaves it alone.
    """
    weight = shares[:, None, None]
    log_mel = weight * batch.log_mel + (1 - weight) * batch.log_mel.flip(0)
    mixed = torch.where(shares < 1, batch.frame_lengths.flip(0), 0)
    lengths = torch.maximum(batch.frame_lengths, mixed)
    targets = shares[:, None] * targets + (1 - shares[:, None]) * targets.flip(0)
    return batch._replace(log_mel=log_mel, frame_lengths=lengths), targets


def draw_shares(clips: int, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Each clip's own share, Beta(α, α), or 1 where it is not mixed, (clips,); one for all where a batch has one."""
    count = 1 if settings.mixup_per == "batch" else clips
    mixed = torch.rand(count, generator=generator) < settings.mixup_probability
    shares = torch.where(mixed, draw_beta(settings.mixup, count, generator), 1.0)
    return shares.expand(clips)


def mask_bands_and_frames(batch: Batch, bands: float, frames: float, generator: torch.Generator) -> Batch:
    """SpecAugment: in each clip one stretch of bands and one of frames become 0, the corpus' mean.

    Widths are uniform from 0 to a share of the bands, or of the clip's frames, and so are places.
    """
    count, length, mels = batch.log_mel.shape
    band = stretch(torch.full((count,), mels), bands, mels, generator)  # (batch, mels)
    frame = stretch(batch.frame_lengths, frames, length, generator)  # (batch, frames)
    masked = band[:, None] | frame[..., None]
    return batch._replace(log_mel=batch.log_mel.masked_fill(masked, 0.0))


def stretch(sizes: Tensor, largest: float, length: int, generator: torch.Generator) -> Tensor:
    """One stretch inside each of ``sizes``, (batch,), at most ``largest`` of it wide: (batch, length) bool."""
    draw = torch.rand(2, len(sizes), generator=generator)
    most = (largest * sizes).floor()
    width = (draw[0] * (most + 1)).floor().minimum(most)
    start = (draw[1] * (sizes - width + 1)).floor()
    steps = torch.arange(length)
    return (steps >= start[:, None]) & (steps < (start + width)[:, None])


def draw_beta(shape: float, count: int, generator: torch.Generator) -> Tensor:
    """Beta(shape, shape), (count,) float32."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(shape, shape, count)).float()
