"""Fine-tuning recipes of public tasks, one YAML file each with its source."""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.recipes import read_recipe, recipe_names

FOLDER = Path(__file__).parent
DEFAULT = "small"


def load_recipe(name: str, changes: list[str]) -> FinetuneRecipe:
    """Return a recipe of this folder, or of a YAML file, with changes; errors as for ``read_recipe``."""
    return read_recipe(FinetuneRecipe, name, changes, FOLDER)


def load_task_recipe(task: str, changes: list[str]) -> FinetuneRecipe:
    """Return the recipe named like a task, or ``DEFAULT``; see ``load_recipe``."""
    return load_recipe(task if task in recipe_names(FOLDER) else DEFAULT, changes)
