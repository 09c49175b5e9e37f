"""Fine-tuning runs of a tiny network on tones."""

from dataclasses import replace
from pathlib import Path

import torch

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.train.evaluate.finetune.examples import TaskExamples
from aasp_features.train.evaluate.finetune.loop import Finetuning
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_tasks

CPU = torch.device("cpu")
EVERYTHING = {
    "augmentation": {"roll": True, "gain": True, "mixup": 0.5, "mask_bands": 0.3, "mask_frames": 0.3},
    "network": {"drop_path": 0.2, "token_dropping": 0.4},
    "loss": {"smoothing": 0.1},
    "run": {"average": 0.9},
}


def finetune_recipe(**changes: dict[str, object]) -> FinetuneRecipe:
    """Three short epochs; changes to a part's settings, by the part's name."""
    changes = {**changes, "run": {"epochs": 3, "batch": 8, "precision": "float32", **changes.get("run", {})}}
    recipe = FinetuneRecipe(name="test")
    return replace(recipe, **{name: replace(getattr(recipe, name), **change) for name, change in changes.items()})


def tiny_encoder(**changes: object) -> AaSPEncoder:
    """Two blocks of 32 channels, random."""
    torch.manual_seed(0)
    sizes = {"dim": 32, "depth": 2, "heads": 2, "lambda_hidden": 16, "states": 4, "window": 8, "context": 1}
    return AaSPEncoder(AaSPConfig.tiny(name="aasp-test-random-1", **{**sizes, "pooling": "mean", **changes}))


def tones(folder: Path) -> Task:
    """The task in ``task_folder``."""
    return read_tasks([str(folder)])[0]


def examples_of(task: Task, encoder: AaSPEncoder, **changes: dict[str, object]) -> TaskExamples:
    """Of the task's first split; changes as for ``finetune_recipe``."""
    changes = {"clips": {"seconds": 0.32}, **changes}
    recipe = finetune_recipe(**changes)
    return TaskExamples(task, task.splits()[0], recipe, recipe.network.read_by(encoder.config))


def start(folder: Path, task: Task, max_seconds: float | None = None, **changes: dict[str, object]) -> Finetuning:
    """A run in a folder, new or resumed."""
    encoder = tiny_encoder()
    return Finetuning(encoder, examples_of(task, encoder, **changes), folder, CPU, max_seconds)
