"""A tiny recipe, noise as sounds, and batches of it, for the training tests."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from aasp_features.train.data.batch import Batch
from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.recipe import (
    DataSettings,
    MaskingSettings,
    ModelSettings,
    ObjectiveSettings,
    PretrainRunSettings,
    Recipe,
    Stage,
)
from aasp_features.train.run.folder import METRICS_FILE

MODEL = {"dim": 32, "depth": 2, "heads": 2, "lambda_hidden": 16, "states": 4}
OWN_LOSSES_OFF = {"frame": 0.0, "clip": 0.0, "contrast": 0.0}


def at_its_start(step: int) -> float:
    """For ``batch``: no part of the run is behind."""
    return 0.0


def tiny_recipe(**changes: dict[str, object]) -> Recipe:
    """Two blocks of 32 channels; changes to a part's settings, by the part's name."""
    recipe = Recipe(
        name="test",
        model=ModelSettings(size="tiny", changes=dict(MODEL)),
        data=DataSettings(
            stages=[Stage(until=0.7, columns=4, sounds=4), Stage(until=1.0, columns=8, sounds=3)],
            crops=2,
            mix_probability=0.5,
            gain_db=6.0,
        ),
        masking=MaskingSettings(views=2, query_fraction=0.5),
        objective=ObjectiveSettings(target_layers=2, predictor_depth=1, contrast_hidden=16, contrast_dim=8),
        run=PretrainRunSettings(steps=6, precision="float32", log_every=1),
    )
    parts = {name: replace(getattr(recipe, name), **change) for name, change in changes.items()}
    return replace(recipe, **parts)


def moments(run: Any) -> dict[nn.Parameter, dict[str, torch.Tensor]]:
    """What a run's optimisers keep of each parameter that they have moved."""
    return {one: state for optimizer in run.optimizers.values() for one, state in optimizer.state.items()}


def model(**changes: object) -> dict[str, object]:
    """For ``tiny_recipe``: its model with other fields."""
    return {"changes": {**MODEL, **changes}}


def random_corpus(lengths: list[int], seed: int = 0) -> CachedCorpus:
    """Noise as standardised log-mels, one sound for each length in frames."""
    frames = torch.tensor(lengths)
    log_mel = torch.randn(int(frames.sum()), 128, generator=torch.Generator().manual_seed(seed)).half()
    return CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, -6.0, 4.0)


def random_batch(frames: list[int], columns: int, seed: int = 0) -> Batch:
    """Noise, zero past each row's frames; neighbouring rows are two crops of one sound."""
    torch.manual_seed(seed)
    count = torch.tensor(frames)
    log_mel = torch.randn(len(frames), 16 * columns, 128) * (torch.arange(16 * columns) < count[:, None])[..., None]
    return Batch(log_mel, count, torch.arange(len(frames)), torch.arange(len(frames)) // 2)


def metrics(folder: Path) -> list[dict[str, float]]:
    """A run's log lines, without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "crops_per_second")} for line in lines]


def torchrun(*arguments: object) -> subprocess.CompletedProcess:
    """Two processes of ``aasp-train``, launched as a user launches them."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launch, "-m", "aasp_features.train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen wav files of 0.5 to 3 s."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for index in range(12):
        sound = rng.normal(size=int(16000 * rng.uniform(0.5, 3))) * 0.1
        (folder / f"part{index % 2}").mkdir(exist_ok=True)
        soundfile.write(folder / f"part{index % 2}" / f"{index:02}.wav", sound, 16000)
    return folder
