"""Changes to crops in the log-mel domain. They happen before masking, so both networks see the same sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aasp_features.log_mel import ENERGY_FLOOR, band_centres, band_of
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.cached import Corpus

EQUALISER_WAVES = 4


def mix(
    batch: Batch,
    corpus: Corpus,
    probability: float,
    largest_share: float,
    shift: int,
    generator: torch.Generator,
) -> Batch:
    """Add the power of another recording's crop to some crops.

    Args:
        batch: crops; the partner of row b is row b - shift, so ``shift`` is the number of crops of one recording.
        corpus: for its mean and std.
        probability: of a crop being mixed.
        largest_share: the partner's share of the power is drawn uniformly from 0 to this.
        generator: on the CPU.
    """
    rows, device = len(batch.frames), batch.log_mel.device
    share = largest_share * torch.rand(rows, generator=generator)
    share = (share * (torch.rand(rows, generator=generator) < probability)).to(device)[:, None, None]
    partner_frames = batch.frames.roll(shift)
    audible = _inside(batch.log_mel, partner_frames) & (share > 0)
    own = _natural(batch.log_mel, corpus) + torch.log1p(-share)
    partner = _natural(batch.log_mel.roll(shift, dims=0), corpus) + share.clamp(min=1e-12).log()
    mixed = torch.where(audible, torch.logaddexp(own, partner), own)
    return batch._replace(log_mel=_standard(mixed, corpus) * _inside(batch.log_mel, batch.frames))


def change_gain(batch: Batch, corpus: Corpus, decibels: float, generator: torch.Generator) -> Batch:
    """Louder or softer by up to ``decibels``, uniformly, each crop for itself."""
    gain = decibels * (2 * torch.rand(len(batch.frames), generator=generator) - 1) * math.log(10) / 10
    changed = _natural(batch.log_mel, corpus) + gain.to(batch.log_mel.device)[:, None, None]
    return batch._replace(log_mel=_standard(changed, corpus) * _inside(batch.log_mel, batch.frames))


def equalise(batch: Batch, corpus: Corpus, decibels: float, generator: torch.Generator) -> Batch:
    """Another microphone, another room: a smooth gain over the bands, each crop its own.

    The gain is a sum of the first cosines over the bands, ``decibels`` in standard deviation.
    """
    mels = batch.log_mel.shape[-1]
    band = (torch.arange(mels) + 0.5) / mels
    waves = torch.cos(math.pi * torch.arange(1, EQUALISER_WAVES + 1)[:, None] * band)  # (waves, mels)
    weight = torch.randn(len(batch.frames), EQUALISER_WAVES, generator=generator) * (2 / EQUALISER_WAVES) ** 0.5
    gain = (decibels * math.log(10) / 10 * (weight @ waves)).to(batch.log_mel.device)[:, None]
    changed = _natural(batch.log_mel, corpus) + gain
    return batch._replace(log_mel=_standard(changed, corpus) * _inside(batch.log_mel, batch.frames))


def change_pitch(batch: Batch, semitones: float, generator: torch.Generator) -> Batch:
    """Transpose by up to ``semitones``, up or down, each crop for itself: every frequency times one factor.

    Band b of the result is read, between two bands, where its centre frequency over that factor lies; past the highest
    band, the highest band.
    """
    mels = batch.log_mel.shape[-1]
    factor = 2 ** (semitones / 12 * (2 * torch.rand(len(batch.frames), 1, generator=generator) - 1))
    source = band_of(band_centres(mels) / factor, mels).float()  # (batch, mels)
    distance = (source.clamp(0, mels - 1)[:, None] - torch.arange(mels)[:, None]).abs()  # (batch, from, to)
    weight = (1 - distance).clamp(min=0).to(batch.log_mel.device)
    return batch._replace(log_mel=batch.log_mel @ weight)


def _natural(log_mel: Tensor, corpus: Corpus) -> Tensor:
    return log_mel * corpus.std + corpus.mean


def _standard(natural: Tensor, corpus: Corpus) -> Tensor:
    return (natural.clamp(min=math.log(ENERGY_FLOOR)) - corpus.mean) / corpus.std


def _inside(log_mel: Tensor, frames: Tensor) -> Tensor:
    steps = torch.arange(log_mel.shape[1], device=log_mel.device)
    return (steps < frames[:, None])[..., None]
