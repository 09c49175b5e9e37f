"""A fine-tuning recipe: everything that decides a run but its task and its checkpoint, one part for each idea.

The recipes of public tasks lie in ``recipes/`` as YAML, each with its source.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from aasp_features.config import AaSPConfig, Pooling
from aasp_features.errors import OptionError
from aasp_features.train.recipe import LARGEST, check_numbers
from aasp_features.windows import COLUMN_SECONDS

MIXED = ("batch", "clip")
HEADS = ("zero", "probe")
LOSSES = ("auto", "cross_entropy", "binary")
DIVISORS = ("clips", "labels")
METHODS = ("adamw", "sgd")
KEPT = ("best", "last")
PRECISIONS = ("auto", "float32", "bfloat16")


def check_one_of(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Raise OptionError for anything else."""
    if value not in accepted:
        raise OptionError(f"recipe: {name} is {' or '.join(accepted)}, got {value!r}.")


def check_within(name: str, value: float, least: float, most: float) -> None:
    """Raise OptionError for what lies outside, and for NaN."""
    if not least <= value <= most:
        raise OptionError(f"recipe: {name} must be {least:g} to {most:g}, got {value:g}.")


@dataclass(frozen=True)
class ClipSettings:
    """What is cut from a sound, and in which order sounds come.

    Attributes:
        seconds: longest stretch that is trained on. Longer sounds are cut there at random, anew each time; shorter
            ones stay as they are, and what pads them in a batch is masked. Tests hear whole sounds.
        balanced: draw sounds by 1000 / (count of their class + 0.01), summed over their labels, as AudioMAE does; else
            each once an epoch.
        balance_power: these weights are raised to it; 0 makes all equal.
        replacement: may a balanced epoch draw a sound twice?
        epoch: sounds in an epoch; 0: as many as there are.
        memory_gb: of log-mels that are kept from one epoch to the next; the rest is read again.
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
        check_within("clips.epoch", self.epoch, 0, LARGEST)
        check_within("clips.memory_gb", self.memory_gb, 0, 1e5)


@dataclass(frozen=True)
class AugmentationSettings:
    """Changes to a clip's log-mel, in this order; see ``augmentation.py``.

    Attributes:
        roll: turn the clip round in time by a random part of its length.
        gain: multiply its samples by Beta(10, 10) + 0.5.
        mixup: α of the Beta distribution of a clip's share; 0 is off.
        mixup_probability: that a batch is mixed, or a clip.
        mixup_per: one share for the ``batch``, or one for each ``clip``.
        mask_bands, mask_frames: SpecAugment's largest masks, as shares of the bands and of the clip's frames.
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
    """What is trained, and what of it is left out at random.

    Attributes:
        pooling, last_layers: what the linear layer reads; empty and 0 take the checkpoint's.
        head: where the linear layer starts: at ``zero``, or as a linear ``probe`` of the frozen vectors.
        drop_path: probability that a clip passes by the last block's attention, or its MLP; rising from 0 at the first.
        drop_columns: share of a clip's token columns that are left out in training (patch-drop).
    """

    pooling: str = ""
    last_layers: int = 0
    head: str = "zero"
    drop_path: float = 0.0
    drop_columns: float = 0.0

    def __post_init__(self) -> None:
        check_one_of("network.pooling", self.pooling, ("", *get_args(Pooling)))
        check_within("network.last_layers", self.last_layers, 0, 128)
        check_one_of("network.head", self.head, HEADS)
        for name in ("drop_path", "drop_columns"):
            check_within(f"network.{name}", getattr(self, name), 0, 0.95)

    def read_by(self, config: AaSPConfig) -> AaSPConfig:
        """A checkpoint's config with what the linear layer reads as its defaults.

        Raises:
            ConfigError: more last layers than it has.
        """
        pooling, last_layers = self.pooling or config.pooling, self.last_layers or config.last_layers
        return config.replace(pooling=pooling, last_layers=last_layers)


@dataclass(frozen=True)
class LossSettings:
    """What is made small.

    Attributes:
        kind: ``cross_entropy`` for one label a clip, ``binary`` (a cross-entropy for each class, summed) for any number
            of them; ``auto`` goes by the task.
        smoothing: share of a clip's label that is spread over all classes; of cross-entropy.
        per: the sum over a batch is divided by its ``clips``, or by its ``labels``.
    """

    kind: str = "auto"
    smoothing: float = 0.0
    per: str = "clips"

    def __post_init__(self) -> None:
        check_one_of("loss.kind", self.kind, LOSSES)
        check_within("loss.smoothing", self.smoothing, 0, 0.99)
        check_one_of("loss.per", self.per, DIVISORS)


@dataclass(frozen=True)
class OptimizerSettings:
    """Learning rates, by layer and along the run.

    Attributes:
        method: ``adamw`` (0.9, 0.95) or ``sgd`` (momentum 0.9).
        rate: of the linear layer and the last norm, at its highest.
        layer_decay: each block, from the last to the first, and then the stem, has this times the rate of the next.
        encoder_factor: on the rates of stem and blocks, beside their decay.
        weight_decay: of the matrices of linear maps.
        warm_up: share of the run over which rates rise; then they fall along half a cosine.
        last_rate: where they end, as a share of their highest.
        clip_norm: largest norm of the gradient.
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
        check_within("optimizer.clip_norm", self.clip_norm, 1e-9, LARGEST)
        for name, most in (("rate", 1e3), ("encoder_factor", 1e3), ("weight_decay", 10), ("last_rate", 1)):
            check_within(f"optimizer.{name}", getattr(self, name), 0, most)
        check_within("optimizer.layer_decay", self.layer_decay, 1e-3, 1)


@dataclass(frozen=True)
class RunSettings:
    """How long, in what pieces, and what is kept.

    Attributes:
        epochs: passes over the training part, or over ``clips.epoch`` sounds.
        batch: clips in a step, of all processes together.
        parts: of a step, one after the other, for a memory that does not hold the batch; they change nothing but
            rounding.
        average: momentum of the running average of the weights, which is what is judged and saved; 0 is off.
        held_out: share of the training part that judges epochs, groups whole, where a task has no validation part; 0
            judges none.
        judge_every: epochs from one judgement to the next.
        keep: weights that are saved: the ``best`` on the validation part, or the ``last``.
        precision: ``auto`` (bfloat16 on GPUs that have it), ``float32`` or ``bfloat16``.
        seed: of everything random.
        save_seconds: from one saved state to the next.
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
        check_within("run.save_seconds", self.save_seconds, 0, LARGEST)
        check_one_of("run.keep", self.keep, KEPT)
        check_one_of("run.precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class FinetuneRecipe:
    """Settings of a run; ``name`` becomes part of its record."""

    name: str = "small"
    clips: ClipSettings = field(default_factory=ClipSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        check_numbers(self.to_dict())
        if self.run.parts > self.run.batch:
            raise OptionError(f"recipe: run.parts must be at most run.batch={self.run.batch}, got {self.run.parts}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return asdict(self)
