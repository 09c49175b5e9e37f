"""From a recipe to its batches: which source, whose features, and what is said when there are none."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prepared_helpers import write_prepared
from teacher_helpers import write_callable
from train_helpers import OWN_LOSSES_OFF, at_its_start, tiny_recipe

from aasp_features import load_audio
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.data.prepared import PreparedCorpus
from aasp_features.train.distillation_settings import CropLength, CropSettings
from aasp_features.train.pretrain.crop_source import open_crops, open_features
from aasp_features.train.pretrain.distilled_crops import DistilledCrops
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.recipe import Recipe

CPU = torch.device("cpu")


def taught(*teachers: Path, **weights: float) -> Recipe:
    settings = {"teachers": [str(path) for path in teachers], "crops": 256, "fit_crops": 256, "batch": 8}
    settings.update(last_layers=2, crop=CropSettings(lengths=[CropLength(2, 1.0)]))
    return tiny_recipe(distillation=settings, objective={"weights": {**OWN_LOSSES_OFF, **weights}})


def test_log_mels_in_memory_and_one_run_at_a_time(sound_folder: Path, tmp_path: Path) -> None:
    with open_crops(tiny_recipe(), sound_folder, tmp_path / "run", CPU) as crops:
        assert isinstance(crops, CropSampler)
        with (
            pytest.raises(ValueError, match="another process trains in"),
            open_crops(tiny_recipe(), sound_folder, tmp_path / "run", CPU),
        ):
            pass
    with open_crops(tiny_recipe(), sound_folder, tmp_path / "run", CPU):
        pass


def test_a_prepared_corpus_is_read_from_the_disk(sound_folder: Path, tmp_path: Path) -> None:
    waveforms = [load_audio(path) for path in sorted(sound_folder.rglob("*.wav"))]
    folder = write_prepared(tmp_path / "corpus", waveforms)
    with open_crops(tiny_recipe(data={"workers": 1}), folder, tmp_path / "run", CPU) as crops:
        assert isinstance(crops, CropSampler)
        assert isinstance(crops.corpus, PreparedCorpus)
        run = Pretraining(crops, tmp_path / "run", CPU)
        assert run.run()
    assert run.record()["sounds"] == 12
    assert run.recipe.model.changes["mean"] == -6.0


def test_crops_that_teachers_hear_and_statistics_that_stay(sound_folder: Path, tmp_path: Path) -> None:
    recipe = taught(write_callable(tmp_path))
    with open_crops(recipe, sound_folder, tmp_path / "run", CPU) as crops:
        assert isinstance(crops, DistilledCrops)
        run = Pretraining(crops, tmp_path / "run", CPU)
        run.step()
        run.save()
    first = run.recipe.model.changes
    assert (tmp_path / "run" / "teacher_features" / "levels" / "000000.npy").is_file()
    with open_crops(recipe, sound_folder, tmp_path / "run", CPU, start_from="aasp-tiny-pack-1") as crops:
        assert crops.recipe.model.changes == first  # the run's own, not the checkpoint's
        assert set(crops.targets) == {"levels"}


def test_runs_of_other_seeds_share_features_unless_their_crops_are_others(sound_folder: Path, tmp_path: Path) -> None:
    recipe = taught(write_callable(tmp_path))
    recipe = replace(recipe, distillation=replace(recipe.distillation, features=str(tmp_path / "kept"), workers=1))
    found = []
    for changes in ({"run": replace(recipe.run, seed=0)}, {"run": replace(recipe.run, seed=1)}):
        with open_crops(replace(recipe, **changes), sound_folder, tmp_path / str(len(found)), CPU) as crops:
            assert isinstance(crops, DistilledCrops)
            found.append(crops.batch(0, at_its_start)[0])
    assert not torch.equal(found[0].sound, found[1].sound)  # another order
    other = replace(recipe, distillation=replace(recipe.distillation, seed=1))
    with (
        pytest.raises(ValueError, match=r"seed differ\); give another folder, or distillation\.seed=0"),
        open_crops(other, sound_folder, tmp_path / "other", CPU),
    ):
        pass


def test_teachers_of_no_weight_and_names_that_cannot_be(
    sound_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    levels = write_callable(tmp_path / "a")
    with pytest.raises(ValueError, match=r"every teacher \(levels\) has weight 0"):
        open_features(taught(levels, levels=0.0), sound_folder, tmp_path)
    with pytest.raises(ValueError, match="cannot be named 'train'"):
        open_features(taught(write_callable(tmp_path / "b", "train")), sound_folder, tmp_path)
    with caplog.at_level(logging.WARNING):
        features = open_features(taught(levels, levles=2.0), sound_folder, tmp_path)
    assert "which name no teacher: levles" in caplog.text
    assert [one.name for one in features.teachers] == ["levels"]
    elsewhere = taught(levels)
    elsewhere = replace(elsewhere, distillation=replace(elsewhere.distillation, features=str(tmp_path / "kept")))
    assert open_features(elsewhere, sound_folder, tmp_path).folder == tmp_path / "kept"
