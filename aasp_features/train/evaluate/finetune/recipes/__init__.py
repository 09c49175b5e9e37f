"""Fine-tuning recipes of public tasks, one YAML file each with its source, and recipes with changed settings."""

from __future__ import annotations

from pathlib import Path

from aasp_features.errors import OptionError
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.recipes import apply_changes

FOLDER = Path(__file__).parent
DEFAULT = "small"


def recipe_names() -> list[str]:
    """Return the names of the recipes in this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_task_recipe(task: str, changes: list[str]) -> FinetuneRecipe:
    """Return the recipe named like a task, or ``DEFAULT``; see ``load_recipe``."""
    return load_recipe(task if task in recipe_names() else DEFAULT, changes)


def load_recipe(name: str, changes: list[str]) -> FinetuneRecipe:
    """Return a recipe of this folder, or of a YAML file, with type-checked ``key=value`` changes.

    A file lists differences from the defaults. In changes, dots separate the parts of a key, as in
    ``optimizer.rate=1e-3``.

    Raises:
        OptionError: There is no such recipe, the file is not a recipe, a key is unknown, or a value has the wrong type.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = FOLDER / f"{name}.yaml" if name in recipe_names() else Path(name)
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        raise OptionError(f"--recipe must be a .yaml file or one of {', '.join(recipe_names())}, got {name!r}.")
    try:
        written = OmegaConf.load(path)
        if not OmegaConf.is_dict(written):
            raise OptionError(f"recipe {name} must be a mapping of settings, such as run: {{epochs: 3}}.")
        settings = OmegaConf.structured(FinetuneRecipe)
        for part in (settings, *(settings[key] for key in settings if OmegaConf.is_config(settings[key]))):
            OmegaConf.set_readonly(part, False)  # as frozen dataclasses are made
        settings = OmegaConf.merge(settings, {"name": path.stem}, written)
        apply_changes(settings, changes)
        recipe: FinetuneRecipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"recipe {name}: {str(error).splitlines()[0]}") from error
    return recipe
