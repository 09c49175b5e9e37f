"""Settings of distillation from external teachers, and of the crops it uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from aasp_features.config import AaSPConfig, Pooling
from aasp_features.errors import OptionError

HEAD_LOSSES = "squared", "cosine"


@dataclass
class CropLength:
    """Share of the crops that are ``columns`` token columns (160 ms each) long."""

    columns: int = 12
    share: float = 1.0


def _lengths() -> list[CropLength]:
    return [CropLength(12, 0.85), CropLength(32, 0.1), CropLength(64, 0.05)]


@dataclass
class CropSettings:
    """Settings that cut crops from a corpus' waveforms and augment them.

    Attributes:
        lengths: Crop lengths and their shares.
        by_duration: 1 draws every second of sound equally often, 0 every sound equally often. Values between use that
            power of the number of crops in a sound.
        speed_probability, speed: Share of crops played faster or slower, and by up to e^±speed; pitch follows.
        placed_probability: Share of sounds shorter than the crop that are padded with silence to its length, at a
            random position. The others stay short.
        mix_probability, mix_lowest_db, mix_highest_db: Share of crops mixed with another sound, and the range of that
            sound's level below the crop's, in dB.
        filter_probability, filter_db: Share of crops filtered smoothly, and the filter's typical gain in dB.
        gain_db: Range of the random gain, ± dB. A crop beyond full scale is scaled back to it.
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

    def __post_init__(self) -> None:
        if not self.lengths or min(min(length.columns, length.share) for length in self.lengths) <= 0:
            raise OptionError("recipe: distillation.crop.lengths need columns and a share above 0.")
        chances = (self.speed_probability, self.placed_probability, self.mix_probability, self.filter_probability)
        if not all(0 <= chance <= 1 for chance in chances):
            raise OptionError("recipe: every probability of distillation.crop must be 0 to 1.")
        if not 0 <= self.speed <= 1 or self.mix_highest_db < self.mix_lowest_db:
            raise OptionError("recipe: distillation.crop.speed must be 0 to 1, mix_highest_db at least mix_lowest_db.")
        if not 0 <= self.by_duration <= 1:
            raise OptionError("recipe: distillation.crop.by_duration must be 0 to 1.")
        if min(self.filter_db, self.gain_db) < 0:
            raise OptionError("recipe: distillation.crop.filter_db and gain_db must be at least 0.")


@dataclass
class NoiseAugmentationSettings:
    """Augmentation of the student's input only, drawn anew at every step.

    Attributes:
        noise_probability, noise_lowest_db, noise_highest_db: Share of crops with added noise, and the range of the
            noise's level below the crop's, in dB.
        band_probability: Share of crops limited to a part of the band, as by a telephone.
    """

    noise_probability: float = 0.0
    noise_lowest_db: float = 0.0
    noise_highest_db: float = 30.0
    band_probability: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= chance <= 1 for chance in (self.noise_probability, self.band_probability)):
            raise OptionError("recipe: every probability of distillation.noise_augmentation must be 0 to 1.")
        if self.noise_highest_db < self.noise_lowest_db:
            raise OptionError(
                "recipe: distillation.noise_augmentation.noise_highest_db must be at least noise_lowest_db, got "
                f"{self.noise_highest_db:g} and {self.noise_lowest_db:g}."
            )

    @property
    def any(self) -> bool:
        """Whether any crop is augmented."""
        return max(self.noise_probability, self.band_probability) > 0


@dataclass
class DistillationSettings:
    """Settings of distillation; the weights of its losses are in ``objective.weights``.

    Attributes:
        teachers: Descriptions of external teachers (.yaml files, or folders of them); without any, there is no
            distillation.
        graphs: Folder of the teachers' files (default: beside their descriptions).
        features: Folder of the teachers' features (default: ``teacher_features`` in the run folder). Runs with the same
            crops may share it.
        crops: Number of distinct crops to make from the corpus.
        seed: Seed of the crops, independent of the run's.
        workers: Processes that run the teachers beside the training; 0 uses the features that exist.
        batch: Crops of the shortest length in a batch. Batches of longer crops hold fewer, for about the same duration.
        fit_crops: Number of first crops to which the target axes are fitted.
        variance, exponent: Share of a teacher's variance that the axes keep; each axis is divided by its variance to
            the power ``exponent``.
        loss: Loss of a head: ``squared`` (mean squared error) or ``cosine`` (1 - cosine).
        pooling, last_layers: Student output that the heads read.
        token_dropping, token_dropping_until: Share of token columns hidden from the student, until this fraction of the
            run.
        balanced_by, balance: Teacher whose clusters balance the drawing of crops, and how much: 0 keeps the
            frequencies, 1 draws every cluster equally often. Without a teacher, each round uses every crop once.
        longer_from: Fraction of the run after which crops longer than the shortest are used too.
        parts: Parts of a batch that run in parallel threads, which uses several CPU cores better. Must be 1 with AaSP's
            own losses.
        crop: Cutting and augmentation of crops, the same for teachers and student.
        noise_augmentation: Augmentation that only the student receives.
    """

    teachers: list[str] = field(default_factory=list)
    graphs: str = ""
    features: str = ""
    crops: int = 300_000
    seed: int = 0
    workers: int = 1
    batch: int = 64
    fit_crops: int = 8192
    variance: float = 0.97
    exponent: float = 0.25
    loss: str = "squared"
    pooling: str = "frequency"
    last_layers: int = 4
    token_dropping: float = 0.5
    token_dropping_until: float = 0.75
    balanced_by: str = ""
    balance: float = 0.5
    longer_from: float = 0.0
    parts: int = 1
    crop: CropSettings = field(default_factory=CropSettings)
    noise_augmentation: NoiseAugmentationSettings = field(default_factory=NoiseAugmentationSettings)

    def __post_init__(self) -> None:
        if min(self.crops, self.batch, self.fit_crops, self.parts) < 1:
            raise OptionError("recipe: distillation.crops, batch, fit_crops and parts must be at least 1.")
        if min(self.workers, self.seed) < 0:
            raise OptionError("recipe: distillation.workers and seed must be at least 0.")
        if not 0 < self.variance <= 1 or not 0 <= self.exponent <= 0.5 or not 0 <= self.token_dropping < 1:
            raise OptionError(
                "recipe: distillation.variance must be in (0, 1], exponent 0 to 0.5, token_dropping 0 to below 1."
            )
        if not 0 <= self.balance <= 1:
            raise OptionError(f"recipe: distillation.balance must be 0 to 1, got {self.balance:g}.")
        if self.loss not in HEAD_LOSSES:
            raise OptionError(f"recipe: distillation.loss must be {' or '.join(HEAD_LOSSES)}, got {self.loss!r}.")
        if self.pooling not in get_args(Pooling):
            raise OptionError(
                f"recipe: distillation.pooling must be one of {', '.join(get_args(Pooling))}, got {self.pooling!r}."
            )

    def crops_at_once(self, columns: int) -> int:
        """Return the number of crops of this length in a batch."""
        return max(1, self.batch * min(length.columns for length in self.crop.lengths) // columns)

    def check(self, config: AaSPConfig) -> None:
        """Raise OptionError if these settings do not fit the encoder."""
        longest = max(length.columns for length in self.crop.lengths)
        if longest > config.window:
            raise OptionError(f"recipe: distillation.crop.lengths must be 1 to {config.window} columns, got {longest}.")
        if not 1 <= self.last_layers <= config.depth:
            raise OptionError(f"recipe: distillation.last_layers must be 1 to {config.depth}, got {self.last_layers}.")
