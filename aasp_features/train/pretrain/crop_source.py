"""A recipe -> where its batches come from: log-mels kept in memory, or crops that external teachers have heard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from aasp_features.train.corpus import load_corpus
from aasp_features.train.crops import CropSampler
from aasp_features.train.pretrain.distilled_crops import DistilledCrops, pieces_of
from aasp_features.train.pretrain.external_teachers import read_descriptions
from aasp_features.train.pretrain.teacher_features import Makers, TeacherFeatures
from aasp_features.train.recipe import Recipe


@contextmanager
def open_crops(recipe: Recipe, data: Path, run: Path, device: torch.device) -> Iterator[CropSampler | DistilledCrops]:
    """What a run is fed from; processes that make features end with it.

    Args:
        recipe: with external teachers or without.
        data: the corpus.
        run: folder of the run.
        device: where the batches are wanted.

    Raises:
        ValueError: see ``load_corpus``, ``read_descriptions``, ``TeacherFeatures`` and ``Makers``.
    """
    if not recipe.teachers:
        yield CropSampler(load_corpus(data, recipe.config()).to(device), recipe)
        return
    features = open_features(recipe, data, run)
    makers = start_makers(recipe, features)
    try:
        crops = DistilledCrops(features, makers, recipe, run, device)
        try:
            yield crops
        finally:
            crops.close()
    finally:
        makers.stop()


def open_features(recipe: Recipe, data: Path, run: Path) -> TeacherFeatures:
    """The features that a recipe learns from; teachers whose weight is 0 are left out.

    They lie in the folder of the run unless the recipe says otherwise.
    """
    found = read_descriptions(recipe.teachers, recipe.graphs)
    teachers = [teacher for teacher in found if recipe.weights.get(teacher.name, 1.0) > 0]
    folder = Path(recipe.distillation.features) if recipe.distillation.features else run / "teacher_features"
    return TeacherFeatures(data, folder, recipe.distillation.crop, recipe.seed, teachers)


def start_makers(recipe: Recipe, features: TeacherFeatures) -> Makers:
    """Processes that make what is missing of the recipe's crops."""
    return Makers(features, pieces_of(recipe.distillation.crops), recipe.distillation.workers)
