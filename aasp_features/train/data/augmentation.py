"""Augmentation of log-mels before masking, so student and EMA teacher get the same sound.

Every function takes the ``mean`` and ``std`` that standardised the log-mels, and a generator on the CPU.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from aasp_features.model.log_mel import ENERGY_FLOOR, band_centres, band_of
from aasp_features.train.data.batch import Batch, draw, send
from aasp_features.train.recipe import DataSettings

EQUALISER_WAVES = 4


def augment(
    batch: Batch, partner: Tensor, settings: DataSettings, mean: float, std: float, generator: torch.Generator
) -> Batch:
    """Apply every augmentation of a recipe; ``partner`` as for ``mix``."""
    if settings.pitch:
        batch = change_pitch(batch, settings.pitch, generator)
    if settings.mix_probability:
        batch = mix(batch, partner, mean, std, settings.mix_probability, settings.mix_power, generator)
    if settings.equalise_db:
        batch = equalise(batch, mean, std, settings.equalise_db, generator)
    return change_gain(batch, mean, std, settings.gain_db, generator) if settings.gain_db else batch


def mix(
    batch: Batch,
    partner: Tensor,
    mean: float,
    std: float,
    probability: float,
    largest_share: float,
    generator: torch.Generator,
) -> Batch:
    """Add the power of another sound's crop to some crops.

    ``partner`` holds the row that may be mixed into each row, as ``partners`` chooses it. Its share of the power is
    uniform from 0 to ``largest_share``.
    """
    rows = (len(batch.log_mel),)
    share = largest_share * draw(rows, generator, batch.share)
    share = share * (draw(rows, generator, batch.share) < probability)
    share = send(share, batch.log_mel.device)[:, None, None]
    other = send(partner, batch.log_mel.device)
    audible = batch.inside[other] & (share > 0)
    natural = batch.log_mel * std + mean
    own = natural + torch.log1p(-share)
    mixed = torch.logaddexp(own, natural[other] + share.clamp(min=1e-12).log())
    mixed = torch.where(audible, mixed, own)
    return _standardised(batch, mixed, mean, std)


def partners(sound: Sequence[int], crops: int) -> Tensor:
    """Return the row that is mixed into each row, (batch,) on the CPU.

    The crops of one sound get partners from different sounds; with a shared partner, the contrast would learn to find
    the partner. A row whose sound has no partner left is its own partner, so mixing leaves it unchanged.

    Args:
        sound: Sound of each row; equal numbers are one sound.
        crops: Crops of each sound, in a row.
    """
    taken: defaultdict[int, set[int]] = defaultdict(set)
    found = []
    for row, own in enumerate(sound):
        before = ((row - distance) % len(sound) for distance in range(crops, len(sound), crops))
        found.append(next((at for at in before if sound[at] != own and sound[at] not in taken[own]), row))
        taken[own].add(sound[found[-1]])
    return torch.tensor(found)


def change_gain(batch: Batch, mean: float, std: float, decibels: float, generator: torch.Generator) -> Batch:
    """Change each crop's level by up to ±``decibels``, uniformly."""
    gain = decibels * (2 * draw((len(batch.log_mel),), generator, batch.share) - 1) * math.log(10) / 10
    changed = batch.log_mel * std + mean + send(gain, batch.log_mel.device)[:, None, None]
    return _standardised(batch, changed, mean, std)


def equalise(batch: Batch, mean: float, std: float, decibels: float, generator: torch.Generator) -> Batch:
    """Apply a random smooth gain over the bands to each crop, as another microphone or room would.

    The gain is a sum of the first cosines over the bands, ``decibels`` in standard deviation.
    """
    mels = batch.log_mel.shape[-1]
    band = (torch.arange(mels) + 0.5) / mels
    waves = torch.cos(math.pi * torch.arange(1, EQUALISER_WAVES + 1)[:, None] * band)  # (waves, mels)
    weight = draw((len(batch.log_mel), EQUALISER_WAVES), generator, batch.share, torch.randn)
    weight = weight * (2 / EQUALISER_WAVES) ** 0.5
    gain = decibels * math.log(10) / 10 * (weight @ waves)  # (batch, mels)
    changed = batch.log_mel * std + mean + send(gain, batch.log_mel.device)[:, None]
    return _standardised(batch, changed, mean, std)


def change_pitch(batch: Batch, semitones: float, generator: torch.Generator) -> Batch:
    """Transpose each crop by up to ±``semitones``: all its frequencies are multiplied by one factor.

    Band b of the result is interpolated at its centre frequency divided by that factor. Past the highest band, the
    highest band is read.
    """
    mels = batch.log_mel.shape[-1]
    factor = 2 ** (semitones / 12 * (2 * draw((len(batch.log_mel), 1), generator, batch.share) - 1))
    source = band_of(band_centres(mels) / factor, mels).float()  # (batch, mels)
    distance = (source.clamp(0, mels - 1)[:, None] - torch.arange(mels)[:, None]).abs()  # (batch, from, to)
    weight = send((1 - distance).clamp(min=0), batch.log_mel.device)
    return batch._replace(log_mel=batch.log_mel @ weight)


def _standardised(batch: Batch, natural: Tensor, mean: float, std: float) -> Batch:
    """Return the batch with other log-mels, clamped to the frontend's floor and zero past each crop's end."""
    standard = (natural.clamp(min=math.log(ENERGY_FLOOR)) - mean) / std
    return batch._replace(log_mel=standard * batch.inside)
