"""A recipe: everything that decides a pre-training run but its data. Presets lie in ``recipes/``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from aasp_features.config import AaSPConfig


@dataclass
class Stage:
    """A part of a run.

    Attributes:
        until: end of the stage, as a fraction of the run.
        columns: length of the crops in token columns (160 ms each).
        clips: recordings in a batch.
    """

    until: float = 1.0
    columns: int = 64
    clips: int = 32


@dataclass
class Recipe:
    """Settings of a run. Sizes are per step; rates and weights are dimensionless.

    Attributes:
        name: becomes part of the run's record.
        size: ``tiny``, ``small`` or ``base``; ``model`` changes single fields of that ``AaSPConfig``.
        steps: optimiser steps of the whole run, unless a time budget ends it first.
        stages: crop lengths and batch sizes along the run.
        crops: crops cut from each recording, 1 or 2; their views are positives of each other.
        views: masked views of each crop (M = crops * views).
        visible_fraction, query_fraction: of the valid tokens the student sees; of the masked ones it must predict.
        target_layers: the teacher's last L blocks that give targets.
        predictor_depth, contrast_hidden, contrast_dim: sizes of the heads.
        frame_weight, utterance_weight, contrast_weight: of the three losses.
        contrast_on: ``cls`` or ``mean`` (of the visible tokens); ``contrast_temperature``: τ.
        mix_probability, mix_power: share of crops mixed with another recording, and its largest share of the power.
        gain_db: random gain of a crop, plus or minus.
        stretch: random tempo of a crop, from e^-stretch to e^stretch times its own.
        pitch: random transposition of a crop, semitones up or down.
        equalise_db: random smooth gain over the bands of a crop, typical size.
        learning_rate, weight_decay, warm_up, clip_norm: AdamW (0.9, 0.95); decay on matrices; warm-up and cosine are
            fractions of the run.
        momentum_start, momentum_end: of the teacher, along a cosine.
        precision: ``auto`` (measured), ``float32`` or ``bfloat16`` (autocast).
        seed: of everything random.
        log_every, save_every: steps; ``save_every`` may also be passed in seconds by ``save_seconds``.
    """

    name: str = "base"
    size: str = "base"
    model: dict[str, Any] = field(default_factory=dict)
    steps: int = 100_000
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    crops: int = 1
    views: int = 16
    visible_fraction: float = 0.2
    query_fraction: float = 1.0
    target_layers: int = 12
    predictor_depth: int = 4
    contrast_hidden: int = 512
    contrast_dim: int = 128
    frame_weight: float = 1.0
    utterance_weight: float = 1.0
    contrast_weight: float = 0.1
    contrast_on: str = "cls"
    contrast_temperature: float = 0.1
    mix_probability: float = 0.0
    mix_power: float = 0.4
    gain_db: float = 0.0
    stretch: float = 0.0
    pitch: float = 0.0
    equalise_db: float = 0.0
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warm_up: float = 0.05
    clip_norm: float = 3.0
    momentum_start: float = 0.9998
    momentum_end: float = 0.99999
    precision: str = "auto"
    seed: int = 0
    log_every: int = 20
    save_seconds: float = 300.0

    def __post_init__(self) -> None:
        self.config()
        if self.crops not in (1, 2) or self.views < 1 or self.crops * self.views < 2:
            raise ValueError(
                f"recipe: crops must be 1 or 2 and give at least 2 views, got {self.crops} x {self.views}."
            )
        if not 0 < self.visible_fraction < 1 or not 0 < self.query_fraction <= 1:
            raise ValueError("recipe: visible_fraction must be inside 0-1 and query_fraction in (0, 1].")
        if self.contrast_on not in ("cls", "mean") or self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError("recipe: contrast_on is cls or mean; precision is auto, float32 or bfloat16.")
        if not 0 <= self.stretch <= 1 or not 0 <= self.pitch <= 12 or self.equalise_db < 0:
            raise ValueError("recipe: stretch must be 0 to 1, pitch 0 to 12 semitones, equalise_db at least 0.")
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1.0:
            raise ValueError(f"recipe: the stages' `until` must rise to 1.0, got {ends}.")
        if any(stage.columns > self.config().window for stage in self.stages):
            raise ValueError(f"recipe: no crop may be longer than the window of {self.config().window} columns.")
        if not 1 <= self.target_layers <= self.config().depth:
            raise ValueError(f"recipe: target_layers must be 1 to {self.config().depth}, got {self.target_layers}.")

    def config(self) -> AaSPConfig:
        """The encoder's config."""
        sizes = {"tiny": AaSPConfig.tiny, "small": AaSPConfig.small, "base": AaSPConfig.base}
        if self.size not in sizes:
            raise ValueError(f"recipe: size must be one of {sorted(sizes)}, got {self.size!r}.")
        return sizes[self.size](**self.model)

    def stage(self, progress: float) -> Stage:
        """The stage at a fraction of the run."""
        return next((stage for stage in self.stages if progress < stage.until), self.stages[-1])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return asdict(self)


def recipe_names() -> list[str]:
    """The presets in ``aasp_features.train.recipes``."""
    return sorted(module.name for module in iter_modules(import_module("aasp_features.train.recipes").__path__))


def load_recipe(name: str, changes: list[str]) -> Recipe:
    """A preset with ``key=value`` changes (dots reach inside, as in ``model.states=8``), each type-checked.

    Raises:
        ValueError: no such preset, key, or a value of the wrong type.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if name not in recipe_names():
        raise ValueError(f"no recipe named {name!r}; there are {', '.join(recipe_names())}.")
    if wrong := [change for change in changes if "=" not in change]:
        raise ValueError(f"settings are given as key=value, got {wrong[0]!r}.")
    preset: Recipe = import_module(f"aasp_features.train.recipes.{name}").RECIPE
    try:
        settings = OmegaConf.structured(preset)
        for change in changes:
            key, _, value = change.partition("=")
            OmegaConf.update(settings, key, yaml.safe_load(value))
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except (OmegaConfBaseException, yaml.YAMLError, TypeError) as error:
        raise ValueError(f"recipe {name}: {str(error).splitlines()[0]}") from error
    return recipe
