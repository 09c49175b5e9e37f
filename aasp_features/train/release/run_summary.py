"""What a run was, from its record: all that cards and checkpoints take from a recipe is taken here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig, Pooling
from aasp_features.train.distillation_settings import DisturbanceSettings
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.run_state import Progress, read_record
from aasp_features.train.recipe import Recipe
from aasp_features.train.release.manifest import duration


class RunSummary(NamedTuple):
    """What a run was.

    Attributes:
        config: of its encoder, with the pooling and the last blocks that the heads of external teachers read; without
            teachers, the frequency rows of the last block.
        paragraph: recipe, length, device and sound, in a few sentences.
        crops: how crops were cut and changed, in words.
        longest: seconds of the longest crops.
        learns_masked: did AaSP's own objective take part?
        teachers: name, source, licence and labels of each external teacher.
        start_from: checkpoint whose weights the run began with.
        contrast_chance: contrast loss of a guess, in the first stage; None where the run has none to compare with.
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
    """Summarise a run from its record; of several, the first, and say how many there are.

    Raises:
        TrainError: no run there, or one of another version of the package.
    """
    progress, record = read_record(runs[0])
    recipe = recipe_from_record(record)
    config = recipe.config().replace(pooling=_pooling(recipe), last_layers=_last_layers(recipe))
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
    """The recipe that a run's record holds.

    Raises:
        TrainError: another version of the package wrote it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings = OmegaConf.merge(OmegaConf.structured(Recipe), record["recipe"])
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise TrainError(f"the run's recipe is of another version: {str(error).splitlines()[0]}") from error
    return recipe


def _paragraph(recipe: str, progress: Progress, record: dict[str, Any], runs: int) -> str:
    distinct = f", {record['distinct_crops']} of them distinct" if "distinct_crops" in record else ""
    text = (
        f"Recipe `{recipe}`, {progress.step} steps, {progress.crops} crops{distinct}, {progress.seconds / 60:.0f} "
        f"minutes in {progress.precision} on {record['device']} with torch {record['torch']}, from "
        f"{record['sounds']} recordings ({duration(3600 * record['hours'])})."
    )
    if told := [f"{one['name']} ({one['licence']}; labels: {one['labels']})" for one in record.get("teachers", [])]:
        text += f" Learnt from external teachers: {'; '.join(told)}."
    if runs > 1:
        text += f" The weights are the mean of {runs} such runs, which went on from one with batches of their own."
    return text


def _pooling(recipe: Recipe) -> Pooling:
    return recipe.distillation.pooling if recipe.distillation.teachers else "frequency"  # type: ignore[return-value]  # it is checked


def _last_layers(recipe: Recipe) -> int:
    return recipe.distillation.last_layers if recipe.distillation.teachers else 1


def _lengths(recipe: Recipe) -> list[tuple[int, str]]:
    """Columns of the crops, and in words how many there were of them."""
    if recipe.distillation.teachers:
        lengths = recipe.distillation.crop.lengths
        total = sum(length.share for length in lengths)
        return [(length.columns, f"{100 * length.share / total:.0f} % of them") for length in lengths]
    return [(s.columns, f"{s.sounds} recordings, until {100 * s.until:.0f} %") for s in recipe.data.stages]


def _longer_from(recipe: Recipe, rounds: Sequence[Mapping[str, Any]], steps: int) -> float:
    """Share of the run's steps that were done when crops longer than the shortest came in; 1 if they never did."""
    if not recipe.distillation.teachers:
        return 0.0
    return min([one["first_step"] / steps for one in rounds if one.get("longer", True)], default=1.0)


def _crops(recipe: Recipe, lengths: str, longer: float) -> str:
    if not recipe.distillation.teachers:
        return f"Length of crops and size of batches along the run: {lengths}."
    crop = recipe.distillation.crop
    mixed, played, filtered = crop.mix_probability, crop.speed_probability, crop.filter_probability
    drawn = {0.0: "each recording equally often", 1.0: "each second of sound equally often"}
    often = drawn.get(crop.by_duration, f"longer recordings more often (power {crop.by_duration:g} of their duration)")
    if recipe.distillation.balanced_by:
        often += f", balanced by clusters of what {recipe.distillation.balanced_by} says (power "
        often += f"{recipe.distillation.balance:g})"
    late = f", the longer ones after {100 * longer:.0f} % of the steps" if longer else ""
    late = ", of which the run saw only the shortest" if longer == 1 and len(crop.lengths) > 1 else late
    return (
        f"Crops: {lengths}{late}; {often}; {100 * mixed:.0f} % mixed "
        f"with another recording, {100 * played:.0f} % played faster or slower, {100 * filtered:.0f} % filtered; level "
        f"±{crop.gain_db:.0f} dB.{_disturbed(recipe.distillation.disturbance)}"
    )


def _disturbed(settings: DisturbanceSettings) -> str:
    """A sentence on what the student alone heard, or nothing."""
    under = f"{settings.noise_lowest_db:g} to {settings.noise_highest_db:g} dB"
    shares = {
        f"with noise {under} under them": settings.noise_probability,
        "with a part of the band alone": settings.band_probability,
    }
    told = " and ".join(f"{100 * share:.0f} % {what}" for what, share in shares.items() if share)
    return f" Of them the student, not the teachers, heard {told}." if told else ""


def _contrast_chance(recipe: Recipe) -> float | None:
    if recipe.distillation.teachers or not recipe.learns_masked:
        return None
    return math.log(1 + (recipe.data.stages[0].sounds - 1) * recipe.data.crops * recipe.masking.views)
