"""A student that two made-up teachers teach, and batches for it."""

import numpy as np
import torch
from train_helpers import random_batch, tiny_recipe

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.distillation import TeacherTargets, fit_targets
from aasp_features.train.pretrain.objective import Objective
from aasp_features.train.recipe import Distillation

ALONE = {"frame": 0.0, "utterance": 0.0, "contrast": 0.0}


def features(crops: int = 500, numbers: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(crops, numbers)) * np.linspace(3, 0.05, numbers) @ rng.normal(size=(numbers, numbers))
    return torch.from_numpy((mixed + rng.normal(size=numbers)).astype(np.float32))


def objective(**changes: object) -> Objective:
    settings = {"pooling": "frequency", "last_layers": 2, **changes}
    torch.manual_seed(0)
    targets = {
        "levels": TeacherTargets(torch.zeros(5), torch.randn(5, 3)),
        "peaks": fit_targets(features(), 0.97, 0.25),
    }
    recipe = tiny_recipe(weights={**ALONE, "peaks": 0.5}, teachers=["some.yaml"], distillation=Distillation(**settings))
    return Objective(recipe, targets)


def batch(frames: list[int], columns: int) -> Batch:
    rows = len(frames)
    return random_batch(frames, columns)._replace(features={"levels": torch.randn(rows, 5), "peaks": features(rows)})


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)
