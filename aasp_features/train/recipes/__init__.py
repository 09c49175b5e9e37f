"""Preset recipes, one per file, and presets with changed settings."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from aasp_features.errors import OptionError
from aasp_features.train.recipe import Recipe


def recipe_names() -> list[str]:
    """Return the names of the presets in this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def load_recipe(name: str, changes: list[str]) -> Recipe:
    """Return a preset with type-checked ``key=value`` changes.

    Dots separate the parts of a key, as in ``optimizer.learning_rate=1e-3``; ``model.states=8`` changes a field of the
    encoder's config.

    Raises:
        OptionError: There is no such preset or key, or a value has the wrong type.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if name not in recipe_names():
        raise OptionError(f"--recipe must be one of {', '.join(recipe_names())}, got {name!r}.")
    preset: Recipe = import_module(f"aasp_features.train.recipes.{name}").RECIPE
    try:
        settings = OmegaConf.structured(preset)
        apply_changes(settings, changes)
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise OptionError(f"recipe {name}: {str(error).splitlines()[0]}") from error
    if not (recipe.learns_masked or recipe.distillation.teachers):
        raise OptionError(
            f"recipe {name} needs external teachers: give distillation.teachers=FILE.yaml or a folder of them."
        )
    return recipe


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
