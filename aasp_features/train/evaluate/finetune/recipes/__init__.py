"""Recipes of public tasks, one a YAML file with its source; and any recipe with changes that a user asks for."""

from __future__ import annotations

from pathlib import Path

from aasp_features.errors import OptionError
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.recipes import apply_changes

FOLDER = Path(__file__).parent
DEFAULT = "small"


def recipe_names() -> list[str]:
    """The recipes in this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_task_recipe(task: str, changes: list[str]) -> FinetuneRecipe:
    """The recipe named like a task, or ``DEFAULT``; see ``load_recipe``."""
    return load_recipe(task if task in recipe_names() else DEFAULT, changes)


def load_recipe(name: str, changes: list[str]) -> FinetuneRecipe:
    """A recipe of this folder by its name, or a YAML file, with ``key=value`` changes, each type-checked.

    A file says what differs from the defaults; dots reach inside in changes, as in ``optimizer.rate=1e-3``.

    Raises:
        OptionError: no such recipe, a file that is none, an unknown key, or a value of the wrong type.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = FOLDER / f"{name}.yaml" if name in recipe_names() else Path(name)
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        raise OptionError(f"--recipe is a .yaml file or one of {', '.join(recipe_names())}, got {name!r}.")
    try:
        written = OmegaConf.load(path)
        if not OmegaConf.is_dict(written):
            raise OptionError(f"recipe {name}: is no mapping of settings; write them as in run: {{epochs: 3}}.")
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
