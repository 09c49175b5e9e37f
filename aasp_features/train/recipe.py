"""Recipes: all settings of a pre-training run except its data.

Presets are in ``recipes/``, the settings of distillation in ``distillation_settings.py``. Each part checks itself; the
recipe checks combinations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from aasp_features.config import AaSPConfig
from aasp_features.errors import OptionError
from aasp_features.train.distillation_settings import DistillationSettings

MAX_NUMBER = 1e12  # of any setting, which keeps products with a seed below 2^63
MAX_SIZE = 100_000  # of settings that determine memory use
AASP_LOSSES = ("frame", "clip", "contrast")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SIZES = {"tiny": AaSPConfig.tiny, "small": AaSPConfig.small, "base": AaSPConfig.base}


@dataclass
class ModelSettings:
    """The encoder.

    Attributes:
        size: ``tiny``, ``small`` or ``base``.
        changes: Changed fields of that size's ``AaSPConfig``; ``model.states=8`` is short for
            ``model.changes.states=8``.
    """

    size: str = "base"
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise OptionError(f"recipe: model.size must be one of {', '.join(SIZES)}, got {self.size!r}.")
        known = [one.name for one in fields(AaSPConfig)]
        if unknown := sorted(set(self.changes) - set(known)):
            raise OptionError(f"recipe: model has no {unknown[0]!r}; it has size, {', '.join(known)}.")
        self.config()

    def config(self) -> AaSPConfig:
        """Return the config that ``size`` and ``changes`` define."""
        return SIZES[self.size](**self.changes)


@dataclass
class Stage:
    """A part of a run with one crop length.

    Attributes:
        until: End of the stage, as a fraction of the run.
        columns: Crop length in token columns (160 ms each).
        sounds: Sounds in a batch; each gives ``data.crops`` crops.
    """

    until: float = 1.0
    columns: int = 64
    sounds: int = 32


@dataclass
class DataSettings:
    """Cropping and augmentation of log-mels; distillation uses ``distillation.crop`` instead.

    Attributes:
        stages: Crop lengths and batch sizes along the run.
        crops: Crops from each sound of a batch, 1 or 2; their views are positives of each other.
        mix_probability, mix_power: Share of crops mixed with another sound, and its largest share of the power.
        gain_db: Range of the random gain, ± dB.
        stretch: Range of the random tempo, a factor of e^-stretch to e^stretch.
        pitch: Range of the random transposition, ± semitones.
        equalise_db: Typical size of a random smooth gain over the mel bands, in dB.
        workers: Threads of each process that decode crops of a prepared corpus ahead; 0 decodes them when needed.
    """

    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    crops: int = 1
    mix_probability: float = 0.0
    mix_power: float = 0.4
    gain_db: float = 0.0
    stretch: float = 0.0
    pitch: float = 0.0
    equalise_db: float = 0.0
    workers: int = 4

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1.0:
            raise OptionError(f"recipe: `until` of data.stages must rise to 1.0, got {ends}.")
        if not all(1 <= size <= MAX_SIZE for stage in self.stages for size in (stage.columns, stage.sounds)):
            raise OptionError(f"recipe: columns and sounds of data.stages must be 1 to {MAX_SIZE}.")
        if self.crops not in (1, 2):
            raise OptionError(f"recipe: data.crops must be 1 or 2, got {self.crops}.")
        if not 0 <= self.mix_probability <= 1 or not 0 <= self.mix_power < 1:
            raise OptionError("recipe: data.mix_probability must be 0 to 1, mix_power 0 to below 1.")
        if not 0 <= self.stretch <= 1 or not 0 <= self.pitch <= 12 or min(self.equalise_db, self.gain_db) < 0:
            raise OptionError("recipe: data.stretch must be 0 to 1, pitch 0 to 12 semitones, gains at least 0.")
        if self.workers < 0:
            raise OptionError(f"recipe: data.workers must be at least 0, got {self.workers}.")

    def stage(self, progress: float) -> Stage:
        """Return the stage at a fraction of the run."""
        return next((stage for stage in self.stages if progress < stage.until), self.stages[-1])


@dataclass
class MaskingSettings:
    """Masks of the student's input and of the predictor's queries.

    Attributes:
        views: Masked views of each crop (M = data.crops * views).
        visible_fraction: Fraction of a crop's tokens that a view shows.
        query_fraction: Fraction of the masked tokens that the predictor predicts, drawn at random. The expected loss
            does not depend on it.
    """

    views: int = 16
    visible_fraction: float = 0.2
    query_fraction: float = 0.3

    def __post_init__(self) -> None:
        if not 1 <= self.views <= MAX_SIZE:
            raise OptionError(f"recipe: masking.views must be 1 to {MAX_SIZE}, got {self.views}.")
        if not 0 < self.visible_fraction < 1 or not 0 < self.query_fraction <= 1:
            raise OptionError("recipe: masking.visible_fraction must be inside 0-1 and query_fraction in (0, 1].")


@dataclass
class ObjectiveSettings:
    """The losses, and the networks beside the student.

    Attributes:
        weights: Loss weights by name: frame, clip, contrast, and each external teacher (default: 1). Losses of weight 0
            are not computed, except that AaSP's three are computed together.
        target_layers: Number of the EMA teacher's last blocks that give targets.
        predictor_depth, contrast_hidden, contrast_dim: Sizes of the predictor and of the contrast head.
        contrast_on: ``cls``, or ``mean`` of the visible tokens.
        contrast_temperature: Temperature τ of the contrast.
        momentum_start, momentum_end: Momentum of the EMA teacher, from start to end along a cosine.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"frame": 1.0, "clip": 1.0, "contrast": 0.1})
    target_layers: int = 12
    predictor_depth: int = 4
    contrast_hidden: int = 512
    contrast_dim: int = 128
    contrast_on: str = "cls"
    contrast_temperature: float = 0.1
    momentum_start: float = 0.9998
    momentum_end: float = 0.99999

    def __post_init__(self) -> None:
        if missing := set(AASP_LOSSES) - set(self.weights):
            raise OptionError(f"recipe: objective.weights must name {', '.join(sorted(missing))}, too; 0 is off.")
        if not all(0 <= weight < math.inf for weight in self.weights.values()):
            raise OptionError("recipe: objective.weights must be finite and at least 0.")
        if self.contrast_on not in ("cls", "mean") or not self.contrast_temperature > 0:
            raise OptionError("recipe: objective.contrast_on must be cls or mean, contrast_temperature above 0.")
        if not all(1 <= size <= MAX_SIZE for size in (self.predictor_depth, self.contrast_hidden, self.contrast_dim)):
            names = "objective.predictor_depth, contrast_hidden and contrast_dim"
            raise OptionError(f"recipe: {names} must be 1 to {MAX_SIZE}.")
        if not 0 <= self.momentum_start <= 1 or not 0 <= self.momentum_end <= 1:
            raise OptionError("recipe: objective.momentum_start and momentum_end must be 0 to 1.")

    def weight(self, loss: str) -> float:
        """Return a loss's weight."""
        return self.weights.get(loss, 1.0)


@dataclass
class OptimizerSettings:
    """AdamW (0.9, 0.95), or Muon for the blocks' matrices and AdamW for the rest.

    Attributes:
        kind: ``adamw`` or ``muon``.
        learning_rate: Peak learning rate of AdamW.
        muon_rate: Peak learning rate of Muon, with the same schedule.
        weight_decay: Weight decay of linear layers' matrices.
        warm_up, hold: The rate rises over the first ``warm_up`` of the run, stays until ``hold``, and falls along half
            a cosine.
        clip_norm: Largest norm of the gradient.
    """

    kind: str = "adamw"
    learning_rate: float = 5e-4
    muon_rate: float = 0.02
    weight_decay: float = 0.05
    warm_up: float = 0.05
    hold: float = 0.0
    clip_norm: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise OptionError(f"recipe: optimizer.kind must be adamw or muon, got {self.kind!r}.")
        rates = self.learning_rate, self.muon_rate, self.weight_decay
        if not all(0 <= rate < math.inf for rate in rates) or not self.clip_norm > 0:
            raise OptionError(
                "recipe: optimizer.learning_rate, muon_rate and weight_decay must be at least 0, clip_norm above 0."
            )
        if not 0 <= self.warm_up < 1 or not 0 <= self.hold < 1:
            raise OptionError("recipe: optimizer.warm_up and hold must be 0 to below 1.")


@dataclass
class PretrainRunSettings:
    """Length, precision, memory and records of a run.

    Attributes:
        steps: Optimiser steps of the whole run; a time budget may end it earlier.
        precision: ``float32``, or autocast to ``bfloat16`` or ``float16`` (with a scaled loss); ``auto`` is bfloat16 on
            GPUs that have it, and the faster of the first two on CPUs.
        accumulate: Parts of a batch that are computed one after the other, to save memory. The contrast then has the
            negatives of its part alone, and clip targets are standardised within their part.
        checkpointing: Whether blocks are computed again in the backward pass instead of kept, to save memory.
        compile: Whether the blocks are compiled.
        seed: Seed of all random numbers.
        log_every: Steps between two lines of metrics.
        save_seconds: Seconds between two saved states.
        keep_states: Saved states that are kept beside the last one, in ``kept`` in the run folder.
        keep_best: Whether the state with the best ``probe_linear_average`` is kept, in ``kept/best``.
        probe: Labelled folder of the online probe, as for ``aasp-train linear --task`` (default: no probe).
        probe_every: Steps between two figures of the online probe.
        tracker: Experiment tracker that gets all metrics: ``tensorboard``, ``wandb`` or another one of accelerate's
            (default: none).
    """

    steps: int = 100_000
    precision: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    compile: bool = False
    seed: int = 0
    log_every: int = 20
    save_seconds: float = 300.0
    keep_states: int = 0
    keep_best: bool = False
    probe: str = ""
    probe_every: int = 1000
    tracker: str = ""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionError(f"recipe: run.precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if min(self.steps, self.log_every, self.accumulate, self.probe_every) < 1:
            raise OptionError("recipe: run.steps, log_every, accumulate and probe_every must be at least 1.")
        if self.keep_best and not self.probe:
            raise OptionError("recipe: run.keep_best needs an online probe; give run.probe=FOLDER.")
        if min(self.save_seconds, self.seed, self.keep_states) < 0:
            raise OptionError("recipe: run.save_seconds, run.seed and run.keep_states must be at least 0.")


@dataclass
class Recipe:
    """All settings of a run; its record includes ``name``."""

    name: str = "base"
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: PretrainRunSettings = field(default_factory=PretrainRunSettings)

    def __post_init__(self) -> None:
        check_numbers(asdict(self))
        config = self.config()
        if self.objective.weight("contrast") > 0 and self.data.crops * self.masking.views < 2:
            raise OptionError("recipe: contrast needs data.crops x masking.views of at least 2.")
        if any(stage.columns > config.window for stage in self.data.stages):
            raise OptionError(f"recipe: no crop may be longer than the window of {config.window} columns.")
        if not 1 <= self.objective.target_layers <= config.depth:
            wanted, got = f"1 to {config.depth}", self.objective.target_layers
            raise OptionError(f"recipe: objective.target_layers must be {wanted}, got {got}.")
        if self.distillation.teachers:
            self.distillation.check(config)
        if self.distillation.teachers and self.learns_masked and self.run.accumulate > 1:
            raise OptionError("recipe: run.accumulate must be 1 for teachers beside a frame, clip or contrast loss.")
        whole = self.learns_masked or self.run.accumulate > 1 or self.run.precision == "float16"
        if self.distillation.parts > 1 and whole:
            raise OptionError(
                "recipe: distillation.parts must be 1 with a frame, clip or contrast loss, with run.accumulate above "
                "1, or with run.precision=float16."
            )

    def config(self) -> AaSPConfig:
        """Return the encoder's config."""
        return self.model.config()

    def exported_config(self) -> AaSPConfig:
        """Return the config of exported checkpoints.

        Pooling and last blocks are those of the distillation heads, or the frequency pooling of the last block.
        """
        heads: dict[str, Any] = {"pooling": "frequency", "last_layers": 1}
        if self.distillation.teachers:
            heads = {"pooling": self.distillation.pooling, "last_layers": self.distillation.last_layers}
        return self.config().replace(**heads)

    def with_statistics(self, mean: float, std: float) -> Recipe:
        """Return the recipe for log-mels of this mean and standard deviation."""
        changes = {**self.model.changes, "mean": mean, "std": std}
        return replace(self, model=replace(self.model, changes=changes))

    @property
    def learns_masked(self) -> bool:
        """Whether AaSP's own objective has a weight."""
        return any(self.objective.weight(name) > 0 for name in AASP_LOSSES)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def check_numbers(values: dict[str, Any]) -> None:
    """Raise OptionError if a setting is NaN or beyond ±1e12."""
    for name, value in _numbers(values):
        if not abs(value) <= MAX_NUMBER:  # NaN fails, too
            raise OptionError(f"recipe: {name} must be a number within ±{MAX_NUMBER:.0e}, got {value}.")


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in items:
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, int | float):
        yield name, values
