"""The source of a run's batches: log-mels of a corpus in memory or on the disk, or crops with teachers' features."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import nn

from aasp_features.checkpoint import load_checkpoint
from aasp_features.train.data.cached import load_corpus
from aasp_features.train.data.crops import CropSampler, check_shares
from aasp_features.train.data.prepared import is_prepared, read_prepared
from aasp_features.train.data.waveforms import check_samples
from aasp_features.train.distributed import rank, world_size
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.distilled_crops import DistilledCrops, check_batches, pieces_of
from aasp_features.train.pretrain.external_teachers import read_descriptions
from aasp_features.train.pretrain.feature_makers import Makers
from aasp_features.train.pretrain.teacher_features import PLAN_FILE, TeacherFeatures
from aasp_features.train.recipe import AASP_LOSSES, Recipe
from aasp_features.train.run.folder import STATE_FILE, lock_run
from aasp_features.train.run.state import read_record

logger = logging.getLogger(__name__)


@contextmanager
def open_crops(
    recipe: Recipe, data: Path, run: Path, device: torch.device, start_from: str | None = None
) -> Iterator[CropSampler | DistilledCrops]:
    """Yield the source of a run's batches; processes that compute features end with it.

    Args:
        recipe: Recipe with or without external teachers.
        data: The corpus: a prepared one, or sounds that are decoded into memory.
        run: Run folder.
        device: Device of the log-mels.
        start_from: Checkpoint that initialises a new run; distillation keeps its mean and std.

    Raises:
        CheckpointError: There is no such checkpoint.
        OptionError: See ``check_shares`` and ``check_batches``.
        TrainError: Another process trains in this folder; also see ``is_prepared``, ``read_prepared``,
            ``load_corpus``, ``read_descriptions``, ``TeacherFeatures`` and ``Makers``.
    """
    with ExitStack() as closing:
        if rank() == 0:
            closing.callback(lock_run(run).release)
        if not recipe.distillation.teachers:
            check_shares(recipe)  # before hours of decoding
            if is_prepared(data):
                prepared = read_prepared(data, recipe.config(), device, recipe.data.workers)
                closing.callback(prepared.close)
                yield CropSampler(prepared, recipe)
            else:
                yield CropSampler(load_corpus(data, recipe.config()).to(device), recipe)
            return
        check_batches(recipe)
        features = open_features(recipe, data, run)
        makers = start_makers(recipe, features)
        closing.callback(makers.stop)
        crops = DistilledCrops(features, makers, recipe, run, _statistics(run, start_from))
        closing.callback(crops.close)
        yield crops


def open_features(recipe: Recipe, data: Path, run: Path) -> TeacherFeatures:
    """Open the features that a recipe uses, without those of teachers whose weight is 0.

    They are in the run folder, unless the recipe names another.

    Raises:
        TrainError: No teacher is left, or several processes train without features; also see ``read_descriptions`` and
            ``TeacherFeatures``.
    """
    settings = recipe.distillation
    found = read_descriptions(settings.teachers, settings.graphs)
    teachers = [teacher for teacher in found if recipe.objective.weight(teacher.name) > 0]
    if not teachers:
        names = ", ".join(teacher.name for teacher in found)
        raise TrainError(f"every teacher ({names}) has weight 0; give at least one of them a weight above 0.")
    if taken := [teacher.name for teacher in teachers if hasattr(nn.ModuleDict(), teacher.name)]:
        raise TrainError(
            f"a teacher cannot be named {taken[0]!r}, which PyTorch's containers reserve; give it another name."
        )
    if unused := set(recipe.objective.weights) - {one.name for one in found} - set(AASP_LOSSES):
        logger.warning("unused loss weights, which name no teacher: %s", ", ".join(sorted(unused)))
    folder = Path(settings.features) if settings.features else run / "teacher_features"
    if world_size() > 1 and not (folder / PLAN_FILE).is_file():  # before each of them decodes the corpus
        raise lacks_features(folder)
    features = TeacherFeatures(data, folder, settings.crop, settings.seed, teachers)
    check_samples(features.sounds, folder)
    return features


def start_makers(recipe: Recipe, features: TeacherFeatures) -> Makers:
    """Start processes that compute the missing features of the recipe's crops.

    Raises:
        TrainError: Several processes train, and features are missing; also see ``Makers``.
    """
    pieces, together = pieces_of(recipe.distillation.crops), world_size() > 1
    if together and features.complete() < pieces:
        raise lacks_features(features.folder)
    return Makers(features, pieces, 0 if together else recipe.distillation.workers)


def lacks_features(folder: Path) -> TrainError:
    """Return the error of several processes that would wait for features."""
    return TrainError(
        f"{folder} lacks features, which several processes do not compute; run aasp-train teacher-features first, and "
        "give its --out as distillation.features."
    )


def _statistics(run: Path, start_from: str | None) -> tuple[float, float] | None:
    """Return the log-mel mean and std of the run or checkpoint whose weights are used, or None."""
    if (run / STATE_FILE).is_file():
        changes = read_record(run)[1]["recipe"]["model"]["changes"]
        return changes["mean"], changes["std"]
    if start_from is not None:
        config = load_checkpoint(start_from).config
        return config.mean, config.std
    return None
