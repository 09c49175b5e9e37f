"""A tiny recipe and corpora for the training tests."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp_features.train.data.batch import Batch
from aasp_features.train.data.cached import Corpus
from aasp_features.train.recipe import Recipe, Stage

MODEL = {"dim": 32, "depth": 2, "heads": 2, "lambda_hidden": 16, "states": 4}


def tiny_recipe(**changes: object) -> Recipe:
    """Two blocks of 32 channels; changes win."""
    settings = {
        "name": "test",
        "size": "tiny",
        "model": dict(MODEL),
        "steps": 6,
        "stages": [Stage(until=0.7, columns=4, clips=4), Stage(until=1.0, columns=8, clips=3)],
        "crops": 2,
        "views": 2,
        "query_fraction": 0.5,
        "target_layers": 2,
        "predictor_depth": 1,
        "contrast_hidden": 16,
        "contrast_dim": 8,
        "mix_probability": 0.5,
        "gain_db": 6.0,
        "precision": "float32",
        "log_every": 1,
    }
    return Recipe(**{**settings, **changes})


def random_corpus(lengths: list[int], seed: int = 0) -> Corpus:
    """Noise as standardised log-mels, one recording for each length in frames."""
    frames = torch.tensor(lengths)
    log_mel = torch.randn(int(frames.sum()), 128, generator=torch.Generator().manual_seed(seed)).half()
    return Corpus(log_mel, frames.cumsum(0) - frames, frames, -6.0, 4.0)


def random_batch(frames: list[int], columns: int, seed: int = 0) -> Batch:
    """Noise, zero past each row's frames; neighbouring rows are two crops of one clip."""
    torch.manual_seed(seed)
    count = torch.tensor(frames)
    log_mel = torch.randn(len(frames), 16 * columns, 128) * (torch.arange(16 * columns) < count[:, None])[..., None]
    return Batch(log_mel, count, torch.arange(len(frames)), torch.arange(len(frames)) // 2)


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
