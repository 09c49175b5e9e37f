"""What is said of wrong settings of distillation."""

from dataclasses import replace

import pytest
from train_helpers import tiny_recipe

from aasp_features.train.distillation_settings import (
    CropLength,
    CropSettings,
    DistillationSettings,
    NoiseAugmentationSettings,
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lengths": []}, "need columns"),
        ({"lengths": [CropLength(0, 1.0)]}, "need columns"),
        ({"lengths": [CropLength(12, 0.0)]}, "share above 0"),
        ({"mix_probability": 1.5}, "0 to 1"),
        ({"by_duration": 1.5}, "by_duration must be 0 to 1"),
        ({"speed": 3.0}, "speed must be 0 to 1"),
        ({"mix_lowest_db": 30.0}, "mix_highest_db"),
        ({"gain_db": -1.0}, "gain_db must be at least 0"),
    ],
)
def test_crops(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(CropSettings(), **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"noise_probability": 1.5}, "0 to 1"),
        ({"band_probability": -0.5}, "0 to 1"),
        ({"noise_lowest_db": 31.0}, "noise_highest_db must be at least noise_lowest_db, got 30 and 31"),
    ],
)
def test_noise_augmentation(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(NoiseAugmentationSettings(), **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crops": 0}, "crops, batch, fit_crops and parts must be at least 1"),
        ({"workers": -1}, "workers and seed must be at least 0"),
        ({"seed": -1}, "workers and seed must be at least 0"),
        ({"variance": 0.0}, "variance must be in"),
        ({"token_dropping": 1.0}, "token_dropping 0 to below 1"),
        ({"balance": 1.5}, "balance must be 0 to 1, got 1.5"),
        ({"loss": "absolute"}, "loss must be squared or cosine, got 'absolute'"),
        ({"pooling": "sum"}, "pooling must be one of mean, cls"),
    ],
)
def test_learning_from_teachers(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(DistillationSettings(), **changes)


def test_what_the_encoder_cannot_do_matters_where_there_are_teachers() -> None:
    too_long = {"crop": CropSettings(lengths=[CropLength(65, 1.0)]), "last_layers": 2}
    too_deep = {"last_layers": 3}
    for settings, sentence in ((too_long, "1 to 64 columns, got 65"), (too_deep, "last_layers must be 1 to 2, got 3")):
        tiny_recipe(distillation=settings)
        with pytest.raises(ValueError, match=sentence):
            tiny_recipe(distillation={"teachers": ["a.yaml"], **settings})
