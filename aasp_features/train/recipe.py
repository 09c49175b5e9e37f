"""A recipe: everything that decides a pre-training run but its data. Presets lie in ``recipes/``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args

from aasp_features.config import AaSPConfig, Pooling

AASP_LOSSES = ("frame", "utterance", "contrast")


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
class CropLength:
    """Crops of ``columns`` token columns (160 ms each) are ``share`` of all."""

    columns: int = 12
    share: float = 1.0


def _lengths() -> list[CropLength]:
    return [CropLength(12, 0.85), CropLength(32, 0.1), CropLength(64, 0.05)]


@dataclass
class CropSettings:
    """How crops are cut from a corpus.

    Attributes:
        lengths: of crops, and their shares.
        by_duration: 1 draws every second of sound equally often, 0 every recording; between them, by that power of how
            many crops a recording holds.
        speed_probability, speed: share of cuts played faster or slower, by up to e^speed either way; pitch follows.
        placed_probability: share of the recordings shorter than the crop that are put at a random place in silence of
            the crop's length; the others stay short.
        mix_probability, mix_lowest_db, mix_highest_db: share of crops with another recording beside them, and how many
            dB the other's level lies under their own.
        filter_probability, filter_db: share of crops with a smooth filter, and its typical gain.
        gain_db: level, plus or minus; a crop that would pass full scale is brought back to it.
    """

    lengths: list[CropLength] = field(default_factory=_lengths)
    by_duration: float = 1.0
    speed_probability: float = 0.3
    speed: float = 0.2
    placed_probability: float = 0.5
    mix_probability: float = 0.55
    mix_lowest_db: float = -3.0
    mix_highest_db: float = 20.0
    filter_probability: float = 0.3
    filter_db: float = 4.0
    gain_db: float = 12.0

    def check(self, window: int) -> None:
        """Raise ValueError, in one sentence, for what cannot be."""
        columns, shares = [length.columns for length in self.lengths], [length.share for length in self.lengths]
        if not columns or min(columns) < 1 or max(columns) > window or min(shares) <= 0:
            raise ValueError(f"recipe: crop.lengths need 1 to {window} columns and a share above 0, got {columns}.")
        chances = (self.speed_probability, self.placed_probability, self.mix_probability, self.filter_probability)
        if not all(0 <= chance <= 1 for chance in chances):
            raise ValueError("recipe: every probability of crop must be 0 to 1.")
        if not 0 <= self.speed <= 1 or self.mix_highest_db < self.mix_lowest_db:
            raise ValueError("recipe: crop.speed must be 0 to 1, mix_highest_db at least mix_lowest_db.")
        if not 0 <= self.by_duration <= 1:
            raise ValueError("recipe: crop.by_duration must be 0 to 1.")
        if min(self.filter_db, self.gain_db) < 0:
            raise ValueError("recipe: crop.filter_db and gain_db must be at least 0.")


@dataclass
class Distillation:
    """How the student learns from external teachers.

    Attributes:
        features: folder of what the teachers said; ``teacher_features`` in the run's folder unless given. Runs with the
            same crops and seed may share it.
        crops: distinct crops to make of the corpus.
        workers: processes that run the teachers beside the training; 0 uses what is there.
        batch: crops of the shortest length in a batch; longer ones are fewer, so that a batch holds as much sound.
        fit_crops: first crops, from which the targets' axes are computed.
        variance, exponent: share of a teacher's variance that the axes keep; each axis is divided by its variance to
            this power.
        pooling, last_layers: of the student's output that the heads read.
        dropped, dropped_until: share of the columns that the student does not see, until this fraction of the run.
        longer_from: fraction of the run from which crops longer than the shortest are used, too, as of the next round;
            they cost more time each.
        parts: of a batch, each computed by a thread of its own; on a CPU that uses several cores better than the
            operations themselves can. Not with AaSP's own losses.
        crop: how crops are cut, mixed and changed.
    """

    features: str = ""
    crops: int = 300_000
    workers: int = 1
    batch: int = 64
    fit_crops: int = 8192
    variance: float = 0.97
    exponent: float = 0.25
    pooling: str = "frequency"
    last_layers: int = 4
    dropped: float = 0.5
    dropped_until: float = 0.75
    longer_from: float = 0.0
    parts: int = 1
    crop: CropSettings = field(default_factory=CropSettings)

    def check(self, config: AaSPConfig) -> None:
        """Raise ValueError, in one sentence, for what cannot be."""
        self.crop.check(config.window)
        if min(self.crops, self.batch, self.fit_crops, self.parts) < 1 or self.workers < 0:
            raise ValueError(
                "recipe: distillation.crops, batch, fit_crops and parts must be at least 1, workers at least 0."
            )
        if not 0 < self.variance <= 1 or not 0 <= self.exponent <= 0.5 or not 0 <= self.dropped < 1:
            raise ValueError("recipe: distillation.variance is in (0, 1], exponent 0 to 0.5, dropped 0 to below 1.")
        if self.pooling not in get_args(Pooling) or not 1 <= self.last_layers <= config.depth:
            poolings = ", ".join(get_args(Pooling))
            raise ValueError(f"recipe: distillation.pooling is one of {poolings}; last_layers 1 to {config.depth}.")


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
        weights: of the losses, by name: frame, utterance, contrast, and each external teacher's, which is 1 unless it
            is named here. Losses of weight 0 are not computed, unless others of AaSP's own are.
        teachers: descriptions of external teachers to learn from (.yaml files, or folders of them). With them, crops
            are cut as ``distillation`` says: ``stages``, ``crops`` and the changes to log-mels are not used.
        graphs: folder of the teachers' files, where they do not lie beside their descriptions.
        distillation: how to learn from them.
        contrast_on: ``cls`` or ``mean`` (of the visible tokens); ``contrast_temperature``: τ.
        mix_probability, mix_power: share of crops mixed with another recording, and its largest share of the power.
        gain_db: random gain of a crop, plus or minus.
        stretch: random tempo of a crop, from e^-stretch to e^stretch times its own.
        pitch: random transposition of a crop, semitones up or down.
        equalise_db: random smooth gain over the bands of a crop, typical size.
        learning_rate, weight_decay, warm_up, hold, clip_norm: AdamW (0.9, 0.95); decay on matrices; the rate rises over
            the first ``warm_up`` of the run, holds until ``hold``, and falls along half a cosine.
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
    weights: dict[str, float] = field(default_factory=lambda: {"frame": 1.0, "utterance": 1.0, "contrast": 0.1})
    teachers: list[str] = field(default_factory=list)
    graphs: str = ""
    distillation: Distillation = field(default_factory=Distillation)
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
    hold: float = 0.0
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
        if missing := set(AASP_LOSSES) - set(self.weights):
            raise ValueError(f"recipe: weights must name {', '.join(sorted(missing))}, too; 0 turns a loss off.")
        if not all(0 <= weight < math.inf for weight in self.weights.values()):
            raise ValueError("recipe: weights must be finite and at least 0.")
        if self.teachers:
            self.distillation.check(self.config())
        if self.distillation.parts > 1 and self.learns_masked:
            raise ValueError("recipe: distillation.parts must be 1 where frame, utterance or contrast have a weight.")
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

    @property
    def learns_masked(self) -> bool:
        """Does AaSP's own objective take part?"""
        return any(self.weights[name] > 0 for name in AASP_LOSSES)

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
            parsed = yaml.safe_load(value)
            if isinstance(parsed, str) and OmegaConf.is_list(OmegaConf.select(settings, key)):
                parsed = [parsed]
            OmegaConf.update(settings, key, parsed)
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except (OmegaConfBaseException, yaml.YAMLError, TypeError) as error:
        raise ValueError(f"recipe {name}: {str(error).splitlines()[0]}") from error
    if not (recipe.learns_masked or recipe.teachers):
        raise ValueError(f"recipe {name}: learns from external teachers; say which (teachers=FILE.yaml or a folder).")
    return recipe
