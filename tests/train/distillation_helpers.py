"""A student that two made-up teachers teach, and batches for it."""

import numpy as np
import torch
from train_helpers import OWN_LOSSES_OFF, random_batch, tiny_recipe

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.distillation import TeacherTargets, fit_targets
from aasp_features.train.pretrain.objective import Objective


def features(crops: int = 500, numbers: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(crops, numbers)) * np.linspace(3, 0.05, numbers) @ rng.normal(size=(numbers, numbers))
    return torch.from_numpy((mixed + rng.normal(size=numbers)).astype(np.float32))


def objective(**changes: object) -> Objective:
    settings = {"teachers": ["some.yaml"], "pooling": "frequency", "last_layers": 2, **changes}
    torch.manual_seed(0)
    targets = {
        "levels": TeacherTargets(torch.zeros(5), torch.randn(5, 3)),
        "peaks": fit_targets(features(), 0.97, 0.25),
    }
    recipe = tiny_recipe(objective={"weights": {**OWN_LOSSES_OFF, "peaks": 0.5}}, distillation=settings)
    return Objective(recipe, targets)


def batch(frames: list[int], columns: int) -> Batch:
    rows = len(frames)
    return random_batch(frames, columns)._replace(features={"levels": torch.randn(rows, 5), "peaks": features(rows)})


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)
