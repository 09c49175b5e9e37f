"""A run's state, or the mean of several runs', -> an encoder checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from aasp_features.config import AaSPConfig, Pooling
from aasp_features.hub import save_checkpoint
from aasp_features.network import AaSPNetwork
from aasp_features.train.pretrain.run_folder import STATE_FILE, read_record
from aasp_features.train.recipe import Recipe

PREFIXES = {"teacher": "objective.teacher.network.", "student": "objective.student."}


def export_encoder(
    runs: Sequence[Path],
    out: Path,
    *,
    name: str,
    which: Literal["teacher", "student"] = "teacher",
    pooling: Pooling | None = None,
    layers: int | None = None,
    card: str | None = None,
    half: bool = True,
) -> Path:
    """Write the teacher or the student of a run as a checkpoint folder.

    Args:
        runs: folder of the run; or of several that went on from one, whose weights' mean is taken.
        out: folder to write.
        name: of the checkpoint, ``aasp-<size>-<corpus>-<n>``.
        which: network to take.
        pooling, layers: defaults that the checkpoint's config will carry; unless given, what the heads of external
            teachers read, or the frequency rows of the last block.
        card: text of README.md; a summary of the run's record unless given.
        half: store float16.

    Raises:
        ValueError: no run there, or runs of different shapes; CheckpointError: ``out`` cannot be written.
    """
    described = describe(runs)
    learnt = described.recipe.distillation if described.recipe.distillation.teachers else None
    pooling = pooling or (learnt.pooling if learnt else "frequency")  # type: ignore[assignment]  # the recipe checks it
    layers = layers or (learnt.last_layers if learnt else 1)
    config = described.config.replace(name=name, pooling=pooling, layers=layers)
    each = [_read_weights(run, PREFIXES[which], config) for run in runs]
    weights = {key: torch.stack([one[key] for one in each]).mean(dim=0) for key in each[0]}
    return save_checkpoint(out, config, weights, card=card or f"# {name}\n\n{described.paragraph}\n", half=half)


def _read_weights(run: Path, prefix: str, config: AaSPConfig) -> dict[str, Tensor]:
    with safe_open(run / STATE_FILE, framework="pt") as file:
        weights = {
            key[len(prefix) :]: file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 (not a dict)
            if key.startswith(prefix)
        }
    with torch.device("meta"):
        expected = {key: value.shape for key, value in AaSPNetwork(config).state_dict().items()}
    if expected != {key: value.shape for key, value in weights.items()}:
        raise ValueError(f"{run} holds weights of another shape, or of another version of the network.")
    return weights


class RunSummary(NamedTuple):
    """What a run was: the encoder's config, one paragraph, the recipe, and the record it wrote."""

    config: AaSPConfig
    paragraph: str
    recipe: Recipe
    record: dict[str, Any]


def describe(runs: Sequence[Path]) -> RunSummary:
    """Summarise a run from its record; of several, the first, and say how many there are."""
    progress, record = read_record(runs[0])
    recipe = recipe_from_record(record)
    distinct = f", {record['distinct_crops']} of them distinct" if "distinct_crops" in record else ""
    summary = (
        f"Recipe `{recipe.name}`, {progress.step} steps, {progress.crops} crops{distinct}, {progress.seconds / 60:.0f} "
        f"minutes in {progress.precision} on {record['device']}, from {record['sounds']} sounds "
        f"({record['hours']:.1f} hours)."
    )
    if told := [f"{one['name']} ({one['licence']}; labels: {one['labels']})" for one in record.get("teachers", [])]:
        summary += f" Learnt from external teachers: {'; '.join(told)}."
    if len(runs) > 1:
        summary += (
            f" The weights are the mean of {len(runs)} such runs, which went on from one with batches of their own."
        )
    return RunSummary(recipe.config(), summary, recipe, record)


def recipe_from_record(record: dict[str, Any]) -> Recipe:
    """The recipe that a run's record holds.

    Raises:
        ValueError: another version of the package wrote it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings = OmegaConf.merge(OmegaConf.structured(Recipe), record["recipe"])
        recipe: Recipe = OmegaConf.to_object(settings)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ValueError(f"the run's recipe is of another version: {str(error).splitlines()[0]}") from error
    return recipe
