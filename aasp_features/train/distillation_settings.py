"""The part of a recipe that says how the student learns from external teachers, and how their crops are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from aasp_features.config import AaSPConfig, Pooling
from aasp_features.errors import OptionError

HEAD_LOSSES = "squared", "cosine"


@dataclass
class CropLength:
    """Crops of ``columns`` token columns (160 ms each) are ``share`` of all."""

    columns: int = 12
    share: float = 1.0


def _lengths() -> list[CropLength]:
    return [CropLength(12, 0.85), CropLength(32, 0.1), CropLength(64, 0.05)]


@dataclass
class CropSettings:
    """How clips are cut from a corpus' waveforms, and changed.

    Attributes:
        lengths: of crops, and their shares.
        by_duration: 1 draws every second of sound equally often, 0 every sound; between them, by that power of how
            many crops a sound holds.
        speed_probability, speed: share of cuts played faster or slower, by up to e^speed either way; pitch follows.
        placed_probability: share of the sounds shorter than the crop that are put at a random place in silence of
            the crop's length; the others stay short.
        mix_probability, mix_lowest_db, mix_highest_db: share of crops with another sound beside them, and how many
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
class DisturbanceSettings:
    """What the student hears of a crop that its teachers heard clean, drawn anew at every step.

    Attributes:
        noise_probability, noise_lowest_db, noise_highest_db: share of the crops with noise over them, and how many dB
            its level lies under theirs.
        band_probability: share of the crops of which only a part of the band is left, as of a telephone.
    """

    noise_probability: float = 0.0
    noise_lowest_db: float = 0.0
    noise_highest_db: float = 30.0
    band_probability: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= chance <= 1 for chance in (self.noise_probability, self.band_probability)):
            raise OptionError("recipe: every probability of distillation.disturbance must be 0 to 1.")
        if self.noise_highest_db < self.noise_lowest_db:
            raise OptionError(
                "recipe: distillation.disturbance.noise_highest_db must be at least noise_lowest_db, got "
                f"{self.noise_highest_db:g} and {self.noise_lowest_db:g}."
            )

    @property
    def any(self) -> bool:
        """Is a crop ever changed?"""
        return max(self.noise_probability, self.band_probability) > 0


@dataclass
class DistillationSettings:
    """How the student learns from external teachers; their losses' weights are in ``objective.weights``.

    Attributes:
        teachers: descriptions of external teachers (.yaml files, or folders of them); none, no distillation.
        graphs: folder of the teachers' files, where they do not lie beside their descriptions.
        features: folder of what the teachers said; ``teacher_features`` in the run's folder unless given. Runs with the
            same crops may share it.
        crops: distinct crops to make of the corpus.
        seed: of the crops; the run's own, which decides weights and order, may differ.
        workers: processes that run the teachers beside the training; 0 uses what is there.
        batch: crops of the shortest length in a batch; longer ones are fewer, so that a batch holds as much sound.
        fit_crops: first crops, from which the targets' axes are computed.
        variance, exponent: share of a teacher's variance that the axes keep; each axis is divided by its variance to
            this power.
        loss: of a head on its targets: ``squared``, the mean squared error, or ``cosine``, one less their cosine.
        pooling, last_layers: of the student's output that the heads read.
        dropped, dropped_until: share of the columns that the student does not see, until this fraction of the run.
        balanced_by, balance: teacher by whose clusters crops are drawn, and how much: 0 as often as they are, 1 every
            cluster equally often; no teacher, every crop once a round.
        longer_from: fraction of the run from which crops longer than the shortest are used, too; they cost more time
            each.
        parts: of a batch, each computed by a thread of its own; on a CPU that uses several cores better than the
            operations themselves can. Not with AaSP's own losses.
        crop: how crops are cut, mixed and changed, for the teachers and the student alike.
        disturbance: what the student alone hears over them.
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
    dropped: float = 0.5
    dropped_until: float = 0.75
    balanced_by: str = ""
    balance: float = 0.5
    longer_from: float = 0.0
    parts: int = 1
    crop: CropSettings = field(default_factory=CropSettings)
    disturbance: DisturbanceSettings = field(default_factory=DisturbanceSettings)

    def __post_init__(self) -> None:
        if min(self.crops, self.batch, self.fit_crops, self.parts) < 1:
            raise OptionError("recipe: distillation.crops, batch, fit_crops and parts must be at least 1.")
        if min(self.workers, self.seed) < 0:
            raise OptionError("recipe: distillation.workers and seed must be at least 0.")
        if not 0 < self.variance <= 1 or not 0 <= self.exponent <= 0.5 or not 0 <= self.dropped < 1:
            raise OptionError("recipe: distillation.variance is in (0, 1], exponent 0 to 0.5, dropped 0 to below 1.")
        if not 0 <= self.balance <= 1:
            raise OptionError(f"recipe: distillation.balance must be 0 to 1, got {self.balance:g}.")
        if self.loss not in HEAD_LOSSES:
            raise OptionError(f"recipe: distillation.loss is one of {', '.join(HEAD_LOSSES)}; got {self.loss!r}.")
        if self.pooling not in get_args(Pooling):
            raise OptionError(
                f"recipe: distillation.pooling is one of {', '.join(get_args(Pooling))}; got {self.pooling!r}."
            )

    def check(self, config: AaSPConfig) -> None:
        """Raise OptionError, in one sentence, for what this encoder cannot do."""
        longest = max(length.columns for length in self.crop.lengths)
        if longest > config.window:
            raise OptionError(f"recipe: distillation.crop.lengths must be 1 to {config.window} columns, got {longest}.")
        if not 1 <= self.last_layers <= config.depth:
            raise OptionError(f"recipe: distillation.last_layers must be 1 to {config.depth}, got {self.last_layers}.")
