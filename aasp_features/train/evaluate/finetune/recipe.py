"""Fine-tuning recipes: all settings of a run except its task and its checkpoint.

The recipes of public tasks are YAML files in ``recipes/``, each with its source.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from aasp_features.config import AaSPConfig, Pooling
from aasp_features.errors import OptionError
from aasp_features.train.recipe import MAX_NUMBER, check_numbers
from aasp_features.windows import COLUMN_SECONDS

MIXED = ("batch", "clip")
HEADS = ("zero", "probe")
LOSSES = ("auto", "cross_entropy", "binary")
DIVISORS = ("clips", "labels")
METHODS = ("adamw", "sgd")
KEPT = ("best", "last")
PRECISIONS = ("auto", "float32", "bfloat16")


def check_one_of(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Raise OptionError for any other value."""
    if value not in accepted:
        raise OptionError(f"recipe: {name} must be {' or '.join(accepted)}, got {value!r}.")


def check_within(name: str, value: float, minimum: float, maximum: float) -> None:
    """Raise OptionError for values outside, and for NaN."""
    if not minimum <= value <= maximum:
        raise OptionError(f"recipe: {name} must be {minimum:g} to {maximum:g}, got {value:g}.")


@dataclass(frozen=True)
class ClipSettings:
    """Cutting and order of the training clips.

    Attributes:
        seconds: Longest training clip. Longer sounds are cut at a new random position each time; shorter ones are
            padded and masked. Tests use whole sounds.
        balanced: Whether to draw sounds with weight 1000 / (count of their class + 0.01), summed over their labels, as
            in AudioMAE, instead of once per epoch.
        balance_power: Power of these weights; 0 makes all equal.
        replacement: Whether a balanced epoch may draw a sound twice.
        epoch: Sounds in an epoch; 0 for all.
        memory_gb: Cache of log-mels between epochs, in GB; the rest is read again.
    """

    seconds: float = 10.24
    balanced: bool = False
    balance_power: float = 1.0
    replacement: bool = True
    epoch: int = 0
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        check_within("clips.seconds", self.seconds, COLUMN_SECONDS, 1024 * COLUMN_SECONDS)
        check_within("clips.balance_power", self.balance_power, 0, 4)
        check_within("clips.epoch", self.epoch, 0, MAX_NUMBER)
        check_within("clips.memory_gb", self.memory_gb, 0, 1e5)


@dataclass(frozen=True)
class AugmentationSettings:
    """Augmentation of a clip's log-mel, in this order; see ``augmentation.py``.

    Attributes:
        roll: Whether to roll the clip in time by a random part of its length.
        gain: Whether to multiply its samples by Beta(10, 10) + 0.5.
        mixup: α of the Beta distribution of a clip's share; 0 is off.
        mixup_probability: Probability that a batch, or a clip, is mixed.
        mixup_per: One share for the ``batch``, or one for each ``clip``.
        mask_bands, mask_frames: Largest masks of SpecAugment, as shares of the bands and of the clip's frames.
    """

    roll: bool = False
    gain: bool = False
    mixup: float = 0.0
    mixup_probability: float = 1.0
    mixup_per: str = "batch"
    mask_bands: float = 0.0
    mask_frames: float = 0.0

    def __post_init__(self) -> None:
        check_within("augmentation.mixup", self.mixup, 0, 100)
        check_one_of("augmentation.mixup_per", self.mixup_per, MIXED)
        for name in ("mixup_probability", "mask_bands", "mask_frames"):
            check_within(f"augmentation.{name}", getattr(self, name), 0, 1)


@dataclass(frozen=True)
class NetworkSettings:
    """The network, its regularisation and its head.

    Attributes:
        pooling, last_layers: Input of the linear layer; empty and 0 mean the checkpoint's.
        head: Initial linear layer: ``zero``, or a linear ``probe`` of the frozen vectors.
        drop_path: Probability that a clip skips the last block's attention, or MLP, rising from 0 at the first block.
        token_dropping: Share of a clip's token columns dropped in training.
    """

    pooling: str = ""
    last_layers: int = 0
    head: str = "zero"
    drop_path: float = 0.0
    token_dropping: float = 0.0

    def __post_init__(self) -> None:
        check_one_of("network.pooling", self.pooling, ("", *get_args(Pooling)))
        check_within("network.last_layers", self.last_layers, 0, 128)
        check_one_of("network.head", self.head, HEADS)
        for name in ("drop_path", "token_dropping"):
            check_within(f"network.{name}", getattr(self, name), 0, 0.95)

    def read_by(self, config: AaSPConfig) -> AaSPConfig:
        """Return a checkpoint's config with the linear layer's input as its defaults.

        Raises:
            ConfigError: ``last_layers`` exceeds its depth.
        """
        pooling, last_layers = self.pooling or config.pooling, self.last_layers or config.last_layers
        return config.replace(pooling=pooling, last_layers=last_layers)


@dataclass(frozen=True)
class LossSettings:
    """The loss.

    Attributes:
        kind: ``cross_entropy`` for single-label clips, ``binary`` (a cross-entropy for each class, summed) for
            multi-label clips, or ``auto`` to follow the task.
        smoothing: Label smoothing of the cross-entropy.
        per: Divisor of a batch's loss: its ``clips`` or its ``labels``.
    """

    kind: str = "auto"
    smoothing: float = 0.0
    per: str = "clips"

    def __post_init__(self) -> None:
        check_one_of("loss.kind", self.kind, LOSSES)
        check_within("loss.smoothing", self.smoothing, 0, 0.99)
        check_one_of("loss.per", self.per, DIVISORS)


@dataclass(frozen=True)
class FinetuneOptimizerSettings:
    """Learning rates, by layer and along the run.

    Attributes:
        method: ``adamw`` (0.9, 0.95) or ``sgd`` (momentum 0.9).
        rate: Peak rate of the linear layer and the last norm.
        layer_decay: Ratio of each block's rate to that of the block above, and of the stem's to the first block's.
        encoder_factor: Factor on the rates of stem and blocks.
        weight_decay: Weight decay of linear layers' matrices.
        warm_up: Fraction of the run over which rates rise; then they fall along half a cosine.
        last_rate: Final rate, as a share of the peak.
        clip_norm: Largest norm of the gradient.
    """

    method: str = "adamw"
    rate: float = 1e-3
    layer_decay: float = 0.75
    encoder_factor: float = 1.0
    weight_decay: float = 0.05
    warm_up: float = 0.1
    last_rate: float = 0.0
    clip_norm: float = 3.0

    def __post_init__(self) -> None:
        check_one_of("optimizer.method", self.method, METHODS)
        check_within("optimizer.warm_up", self.warm_up, 0, 0.99)
        check_within("optimizer.clip_norm", self.clip_norm, 1e-9, MAX_NUMBER)
        for name, maximum in (("rate", 1e3), ("encoder_factor", 1e3), ("weight_decay", 10), ("last_rate", 1)):
            check_within(f"optimizer.{name}", getattr(self, name), 0, maximum)
        check_within("optimizer.layer_decay", self.layer_decay, 1e-3, 1)


@dataclass(frozen=True)
class FinetuneRunSettings:
    """Length, batches and saved weights of a run.

    Attributes:
        epochs: Passes over the training part, or over ``clips.epoch`` sounds.
        batch: Clips in a step, over all processes.
        parts: Sequential parts of a step, to save memory; results change only by rounding.
        average: Momentum of the running average of the weights, which is validated and saved; 0 is off.
        held_out: Share of the training part for validation, in whole groups, if a task has no validation part; 0 is
            none.
        judge_every: Epochs between validations.
        keep: Saved weights: the ``best`` on the validation part, or the ``last``.
        precision: ``auto`` (bfloat16 on GPUs that support it), ``float32`` or ``bfloat16``.
        seed: Seed of all random numbers.
        save_seconds: Seconds between two saved states.
    """

    epochs: int = 50
    batch: int = 32
    parts: int = 1
    average: float = 0.0
    held_out: float = 0.1
    judge_every: int = 1
    keep: str = "best"
    precision: str = "auto"
    seed: int = 0
    save_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "parts", "judge_every"):
            check_within(f"run.{name}", getattr(self, name), 1, 1e6)
        check_within("run.average", self.average, 0, 0.99999)
        check_within("run.held_out", self.held_out, 0, 0.5)
        check_within("run.seed", self.seed, 0, 2**31)
        check_within("run.save_seconds", self.save_seconds, 0, MAX_NUMBER)
        check_one_of("run.keep", self.keep, KEPT)
        check_one_of("run.precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class FinetuneRecipe:
    """All settings of a run; its record includes ``name``."""

    name: str = "small"
    clips: ClipSettings = field(default_factory=ClipSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: FinetuneOptimizerSettings = field(default_factory=FinetuneOptimizerSettings)
    run: FinetuneRunSettings = field(default_factory=FinetuneRunSettings)

    def __post_init__(self) -> None:
        check_numbers(self.to_dict())
        if self.run.parts > self.run.batch:
            raise OptionError(f"recipe: run.parts must be at most run.batch={self.run.batch}, got {self.run.parts}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)
