"""Runs of a tiny network on noise."""

from pathlib import Path

import torch
from train_helpers import random_corpus, tiny_recipe

from aasp_features.train.data.crops import CropSampler
from aasp_features.train.pretrain.loop import Pretraining, Probe
from aasp_features.train.pretrain.tracker import Track

CORPUS = random_corpus([30, 100, 64, 200, 77, 150, 90, 300])
CPU = torch.device("cpu")


def start(
    folder: Path,
    max_seconds: float | None = None,
    start_from: str | None = None,
    device: torch.device = CPU,
    probe: Probe | None = None,
    track: Track | None = None,
    **changes: dict[str, object],
) -> Pretraining:
    """A run in a folder, new or resumed; changes as for ``tiny_recipe``."""
    crops = CropSampler(CORPUS, tiny_recipe(**changes))
    return Pretraining(crops, folder, device, max_seconds, start_from, probe, track)
