"""Summary of a run for cards and checkpoints, from its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig
from aasp_features.train.distillation_settings import NoiseAugmentationSettings
from aasp_features.train.errors import TrainError
from aasp_features.train.recipe import Recipe
from aasp_features.train.release.attribution import duration
from aasp_features.train.run.state import Progress, read_record


class RunSummary(NamedTuple):
    """Summary of a run.

    Attributes:
        config: Config of its encoder, with the pooling and last blocks of the distillation heads, or the frequency
            pooling of the last block.
        paragraph: Recipe, length, device and sound, in sentences.
        crops: Cutting and augmentation of crops, in sentences.
        longest: Length of the longest crops, in seconds.
        learns_masked: Whether AaSP's own objective took part.
        teachers: Name, source, licence and labels of each external teacher.
        start_from: Checkpoint that initialised the run.
        contrast_chance: Contrast loss at chance in the first stage; None without the contrast.
    """

    config: AaSPConfig
    paragraph: str
    crops: str
    longest: float
    learns_masked: bool
    teachers: list[dict[str, str]]
    start_from: str | None
    contrast_chance: float | None


def describe(runs: Sequence[Path]) -> RunSummary:
    """Summarise a run from its record, or the first of several runs and their number.

    Raises:
        TrainError: There is no run, or its record has another format.
    """
    progress, record = read_record(runs[0])
    recipe = recipe_from_record(record)
    config = recipe.exported_config()
    column = PATCH * FRAME_HOP / config.sample_rate
    lengths, longer = _lengths(recipe), _longer_from(recipe, record.get("rounds", []), progress.step)
    return RunSummary(
        config,
        _paragraph(recipe.name, progress, record, len(runs)),
        _crops(recipe, "; ".join(f"{columns * column:.2f} s, {share}" for columns, share in lengths), longer),
        (min if longer == 1 else max)(columns for columns, _ in lengths) * column,
        recipe.learns_masked,
        record.get("teachers", []),
        record.get("start_from"),
        _contrast_chance(recipe),
    )


def recipe_from_record(record: dict[str, Any]) -> Recipe:
    """Return the recipe of a run's record.

    Raises:
        TrainError: The record has another format.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings = OmegaConf.merge(OmegaConf.structured(Recipe), record["recipe"])
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise TrainError(f"another package version wrote the run's recipe: {str(error).splitlines()[0]}") from error
    return recipe


def _paragraph(recipe: str, progress: Progress, record: dict[str, Any], runs: int) -> str:
    distinct = f", {record['distinct_crops']} of them distinct" if "distinct_crops" in record else ""
    text = (
        f"Recipe `{recipe}`, {progress.step} steps, {progress.crops} crops{distinct}, {progress.seconds / 60:.0f} "
        f"minutes in {progress.precision} on {record['device']} with torch {record['torch']}, from "
        f"{record['sounds']} recordings ({duration(3600 * record['hours'])})."
    )
    if told := [f"{one['name']} ({one['licence']}; labels: {one['labels']})" for one in record.get("teachers", [])]:
        text += f" External teachers: {'; '.join(told)}."
    if runs > 1:
        text += f" The weights are the mean of {runs} such runs, which share a start but not their batches."
    return text


def _lengths(recipe: Recipe) -> list[tuple[int, str]]:
    if recipe.distillation.teachers:
        lengths = recipe.distillation.crop.lengths
        total = sum(length.share for length in lengths)
        return [(length.columns, f"{100 * length.share / total:.0f} % of them") for length in lengths]
    return [(s.columns, f"{s.sounds} recordings, until {100 * s.until:.0f} %") for s in recipe.data.stages]


def _longer_from(recipe: Recipe, rounds: Sequence[Mapping[str, Any]], steps: int) -> float:
    """Return the fraction of steps before crops longer than the shortest were used; 1 if they never were."""
    if not recipe.distillation.teachers:
        return 0.0
    return min([one["first_step"] / steps for one in rounds if one.get("longer", True)], default=1.0)


def _crops(recipe: Recipe, lengths: str, longer: float) -> str:
    if not recipe.distillation.teachers:
        return f"Crop lengths and batch sizes along the run: {lengths}."
    crop = recipe.distillation.crop
    mixed, played, filtered = crop.mix_probability, crop.speed_probability, crop.filter_probability
    drawn = {0.0: "each recording equally often", 1.0: "each second of sound equally often"}
    often = drawn.get(crop.by_duration, f"longer recordings more often (power {crop.by_duration:g} of their duration)")
    if recipe.distillation.balanced_by:
        often += f", balanced by clusters of {recipe.distillation.balanced_by}'s features (power "
        often += f"{recipe.distillation.balance:g})"
    late = f", the longer ones after {100 * longer:.0f} % of the steps" if longer else ""
    late = ", of which the run used only the shortest" if longer == 1 and len(crop.lengths) > 1 else late
    return (
        f"Crops: {lengths}{late}; {often}; {100 * mixed:.0f} % mixed "
        f"with another recording, {100 * played:.0f} % played faster or slower, {100 * filtered:.0f} % filtered; level "
        f"±{crop.gain_db:.0f} dB.{_noise_sentence(recipe.distillation.noise_augmentation)}"
    )


def _noise_sentence(settings: NoiseAugmentationSettings) -> str:
    below = f"{settings.noise_lowest_db:g} to {settings.noise_highest_db:g} dB"
    shares = {
        f"noise {below} below the sound": settings.noise_probability,
        "a limited band": settings.band_probability,
    }
    told = " and ".join(f"{100 * share:.0f} % have {what}" for what, share in shares.items() if share)
    return f" For the student only, {told}." if told else ""


def _contrast_chance(recipe: Recipe) -> float | None:
    if recipe.distillation.teachers or not recipe.learns_masked:
        return None
    return math.log(1 + (recipe.data.stages[0].sounds - 1) * recipe.data.crops * recipe.masking.views)
