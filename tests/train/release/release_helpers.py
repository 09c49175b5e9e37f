"""Real runs of a few steps on noise, and their checkpoints."""

from pathlib import Path

import torch
from train_helpers import model as model_of
from train_helpers import random_corpus, tiny_recipe

from aasp_features.train.data.crops import CropSampler
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.release.export import export_encoder


def finished_run(folder: Path, **model: object) -> Path:
    """A run of six steps, crops of 0.64 and 1.28 s; ``model`` changes the network's config."""
    recipe = tiny_recipe(model=model_of(**model))
    run = Pretraining(CropSampler(random_corpus([30, 100, 64, 200]), recipe), folder, torch.device("cpu"))
    assert run.run()
    return folder


def exported(run: Path, name: str = "aasp-tiny-test-1") -> Path:
    """The checkpoint of a run, beside it."""
    return export_encoder([run], run.with_name(f"{run.name}-checkpoint"), name=name)
