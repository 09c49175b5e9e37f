"""Recipes: each part says what is wrong with it, the whole what does not go together."""

import math
from dataclasses import fields, replace

import pytest
from train_helpers import model, tiny_recipe

from aasp_features import AaSPConfig
from aasp_features.train.distillation_settings import CropLength, CropSettings, DistillationSettings
from aasp_features.train.recipe import (
    DataSettings,
    MaskingSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PretrainRunSettings,
    Recipe,
    Stage,
)


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("model", {"size": "giant"}, "model.size must be one of tiny, small, base, got 'giant'"),
        ("model", model(colour=1), "model has no 'colour'; it has size, name, sample_rate"),
        ("data", {"stages": []}, "rise to 1.0"),
        ("data", {"stages": [Stage(until=0.5)]}, "rise to 1.0"),
        ("data", {"stages": [Stage(sounds=0)]}, "must be 1 to 100000"),
        ("data", {"stages": [Stage(sounds=10**11)]}, "must be 1 to 100000"),
        ("data", {"stages": [Stage(columns=99)]}, "longer than the window of 64"),
        ("data", {"crops": 3}, "crops must be 1 or 2"),
        ("data", {"workers": -1}, "workers must be at least 0"),
        ("data", {"mix_probability": 1.1}, "mix_probability must be 0 to 1"),
        ("data", {"stretch": 2.0}, "stretch must be 0 to 1"),
        ("data", {"pitch": -1.0}, "pitch 0 to 12 semitones"),
        ("masking", {"views": 0}, "views must be 1 to 100000, got 0"),
        ("masking", {"views": 10**11}, "views must be 1 to 100000, got 100000000000"),
        ("masking", {"visible_fraction": 1.0}, "visible_fraction"),
        ("masking", {"query_fraction": 0.0}, "query_fraction"),
        ("objective", {"weights": {"frame": 1.0}}, "weights must name clip, contrast, too"),
        ("objective", {"target_layers": 3}, "target_layers must be 1 to 2, got 3"),
        ("objective", {"contrast_on": "max"}, "contrast_on must be cls or mean"),
        ("objective", {"predictor_depth": 0}, "must be 1 to 100000"),
        ("objective", {"momentum_end": 1.5}, "momentum_end must be 0 to 1"),
        ("optimizer", {"clip_norm": 0.0}, "clip_norm above 0"),
        ("optimizer", {"hold": 1.0}, "hold must be 0 to below 1"),
        ("run", {"precision": "float8"}, "run.precision must be one of auto, float32, bfloat16, float16, got 'float8'"),
        ("run", {"keep_states": -1}, "run.save_seconds, run.seed and run.keep_states must be at least 0"),
        ("run", {"log_every": 0}, "run.steps, log_every, accumulate and probe_every must be at least 1"),
    ],
)
def test_wrong_settings(part: str, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tiny_recipe(**{part: change})


def test_views_are_at_least_two() -> None:
    with pytest.raises(ValueError, match="of at least 2"):
        tiny_recipe(data={"crops": 1}, masking={"views": 1})


def test_stages() -> None:
    data = tiny_recipe().data
    assert data.stage(0.0).columns == data.stage(0.69).columns == 4
    assert data.stage(0.7).columns == data.stage(1.0).columns == 8


def test_the_config() -> None:
    assert ModelSettings("small", {"states": 8}).config() == AaSPConfig.small(states=8)
    recipe = tiny_recipe()
    measured = recipe.with_statistics(-3.0, 2.0)
    assert measured.config() == recipe.config().replace(mean=-3.0, std=2.0)
    assert replace(measured, model=recipe.model) == recipe


def test_weights_of_losses() -> None:
    objective = tiny_recipe(objective={"weights": {"frame": 0.0, "clip": 0.0, "contrast": 0.3, "voice": 0.5}})
    assert [objective.objective.weight(name) for name in ("clip", "contrast", "voice", "speech")] == [0, 0.3, 0.5, 1]
    assert objective.learns_masked


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**20])
def test_numbers_are_finite_and_of_a_sane_size(value: float) -> None:
    """Every number of a recipe, whatever part it lies in; nothing is named by less than its whole name."""
    parts = [
        ("optimizer", OptimizerSettings),
        ("run", PretrainRunSettings),
        ("data", DataSettings),
        ("masking", MaskingSettings),
        ("objective", ObjectiveSettings),
    ]
    for name, kind in parts:
        for field in fields(kind):
            if field.type in ("float", "int"):
                with pytest.raises(ValueError, match="recipe: "):
                    Recipe(**{name: kind(**{field.name: value})})
    crop = CropSettings(lengths=[CropLength(3, value)]) if value > 0 else CropSettings(mix_lowest_db=value)
    with pytest.raises(ValueError, match=r"recipe: distillation.crop.(lengths.0.share|mix_lowest_db) must be"):
        Recipe(distillation=DistillationSettings(crop=crop))
