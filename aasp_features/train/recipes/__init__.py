"""Recipes as YAML files: presets, your own, and both with changed settings.

A file lists its differences from the defaults, or from the preset that its key ``base`` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from aasp_features.errors import OptionError
from aasp_features.train.recipe import Recipe

FOLDER = Path(__file__).parent
Kind = TypeVar("Kind")


def recipe_names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the presets in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_recipe(name: str, changes: list[str]) -> Recipe:
    """Return a recipe of pre-training; see ``read_recipe``.

    ``model.states=8`` changes a field of the encoder's config.

    Raises:
        OptionError: The recipe needs external teachers and has none; also see ``read_recipe``.
    """
    recipe = read_recipe(Recipe, name, changes)
    if not (recipe.learns_masked or recipe.distillation.teachers):
        raise OptionError(
            f"recipe {name} needs external teachers: give distillation.teachers=FILE.yaml or a folder of them."
        )
    return recipe


def read_recipe(kind: type[Kind], name: str, changes: list[str], folder: Path = FOLDER) -> Kind:
    """Return a preset or a YAML file with type-checked ``key=value`` changes.

    Dots separate the parts of a key, as in ``optimizer.learning_rate=1e-3``.

    Args:
        kind: Dataclass of the recipe, whose defaults are those of a file.
        name: Name of a preset, or path of a file.
        changes: Changed settings.
        folder: Folder of the presets.

    Raises:
        OptionError: There is no such recipe, the file is not a recipe, a key is unknown, or a value has the wrong type.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        written = _written(name, folder)
        settings = OmegaConf.structured(kind)
        for part in (settings, *(settings[key] for key in settings if OmegaConf.is_config(settings[key]))):
            OmegaConf.set_readonly(part, False)  # as frozen dataclasses are made
        settings = OmegaConf.merge(settings, {"name": Path(name).stem}, *written)
        apply_changes(settings, changes)
        recipe: Kind = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"recipe {name}: {str(error).splitlines()[0]}") from error
    return recipe


def _written(name: str, folder: Path) -> list[Any]:
    """Return what the file of a recipe and those it is based on say, the most general first."""
    from omegaconf import DictConfig, OmegaConf

    presets = recipe_names(folder)
    path = folder / f"{name}.yaml" if name in presets else Path(name)
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        raise OptionError(f"--recipe must be a .yaml file or one of {', '.join(presets)}, got {name!r}.")
    written = OmegaConf.load(path)
    if not isinstance(written, DictConfig):
        raise OptionError(f"recipe {name} must be a mapping of settings, such as run: {{epochs: 3}}.")
    base = written.pop("base", None)
    if base is None:
        return [written]
    if base not in presets:
        raise OptionError(f"recipe {name}: base must be one of {', '.join(presets)}, got {base!r}.")
    return [*_written(base, folder), written]


def apply_changes(settings: Any, changes: list[str]) -> None:
    """Apply ``key=value`` changes to a structured config.

    Raises:
        OptionError: A change lacks ``=``, or its key is unknown.
        OmegaConfBaseException, YAMLError: A value is not accepted.
    """
    import yaml
    from omegaconf import OmegaConf

    if wrong := [change for change in changes if "=" not in change]:
        raise OptionError(f"a setting must be key=value, got {wrong[0]!r}.")
    for change in changes:
        given, _, value = change.partition("=")
        key, parsed = _full_key(settings, given), yaml.safe_load(value)
        if isinstance(parsed, str) and OmegaConf.is_list(OmegaConf.select(settings, key)):
            parsed = [parsed]
        OmegaConf.update(settings, key, parsed)


def _full_key(settings: Any, key: str) -> str:
    """Return the full key, such as ``model.changes.states`` for ``model.states``.

    The keys of loss weights and model changes are free here; the recipe checks them.
    """
    from omegaconf import OmegaConf

    parts = key.split(".")
    if parts[0] == "model" and len(parts) == 2 and parts[1] not in settings.model:
        return f"model.changes.{parts[1]}"
    node = settings
    for depth, part in enumerate(parts):
        if OmegaConf.get_type(node) is dict:
            break
        inside = OmegaConf.is_dict(node) or OmegaConf.is_list(node)
        keys = [str(one) for one in (range(len(node)) if OmegaConf.is_list(node) else node)] if inside else []
        if part not in keys:
            known = f"{'.'.join(parts[:depth]) or 'a recipe'} has {', '.join(keys) or 'no parts'}"
            raise OptionError(f"there is no setting {key!r}; {known}{_hint(settings, key)}.")
        node = OmegaConf.select(node, part) if OmegaConf.is_dict(node) else node[int(part)]
    return key


def _hint(settings: Any, key: str) -> str:
    homes = [part for part in settings if part != "name" and key in settings[part]]
    return f" (is it {homes[0]}.{key}?)" if homes else ""
