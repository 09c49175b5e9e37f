"""Recipes, schedules, and what is said of wrong settings."""

import math

import pytest
from train_helpers import tiny_recipe

from aasp_features.train.pretrain.optimizer import learning_rate, teacher_momentum
from aasp_features.train.recipe import Stage, load_recipe, recipe_names


def test_every_preset_loads() -> None:
    assert {"base", "tiny_cpu"} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name, ["teachers=some.yaml"])
        assert recipe.name == name
        assert recipe.teachers == ["some.yaml"]
        assert recipe.crops * recipe.views >= 2


def test_changes_are_applied_and_typed() -> None:
    recipe = load_recipe("tiny_cpu", ["steps=7", "model.states=8", "stages.0.clips=5", "learning_rate=2e-4"])
    assert (recipe.steps, recipe.config().states, recipe.stages[0].clips, recipe.learning_rate) == (7, 8, 5, 2e-4)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("huge", [], "no recipe named 'huge'; there are base"),
        ("tiny_cpu", ["stepz=7"], "recipe tiny_cpu: Key 'stepz' not in 'Recipe'"),
        ("tiny_cpu", ["steps=many"], "recipe tiny_cpu: Value 'many'"),
        ("tiny_cpu", ["steps"], "key=value, got 'steps'"),
        ("tiny_cpu", ["model.colour=1"], "colour"),
        ("tiny_cpu", ["crops=3"], "crops must be 1 or 2"),
        ("tiny_cpu", ["size=giant"], "size must be one of"),
        ("tiny_cpu", ["target_layers=13"], "target_layers must be 1 to 12"),
        ("tiny_cpu", ["stages.1.columns=99"], "longer than the window of 64"),
        ("tiny_cpu", ["visible_fraction=1.0"], "visible_fraction"),
        ("tiny_cpu", ["stretch=2.0"], "stretch must be 0 to 1"),
        ("tiny_cpu", ["pitch=-1.0"], "pitch 0 to 12 semitones"),
        ("tiny_cpu", ["precision=float8"], "precision is"),
        ("tiny_cpu", ["weights.frame=-2"], "weights must be finite and at least 0"),
        ("tiny_cpu", ["weights.frame=.nan"], "weights must be finite"),
        ("tiny_distilled", ["teachers=a.yaml", "distillation.crop.gain_db=-1"], "gain_db must be at least 0"),
        ("tiny_distilled", [], "recipe tiny_distilled: learns from external teachers; say which"),
        ("tiny_distilled", ["teachers=a.yaml", "distillation.pooling=sum"], "pooling is one of mean, cls"),
        ("tiny_distilled", ["teachers=a.yaml", "distillation.dropped=1.0"], "dropped 0 to below 1"),
        ("tiny_distilled", ["teachers=a.yaml", "distillation.crop.speed=2.0"], "crop.speed must be 0 to 1"),
        (
            "tiny_distilled",
            ["teachers=a.yaml", "distillation.crops=0"],
            "crops, batch, fit_crops and parts must be at least 1",
        ),
    ],
)
def test_wrong_settings(name: str, changes: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_recipe(name, changes)


def test_stages() -> None:
    recipe = tiny_recipe()
    assert recipe.stage(0.0).columns == recipe.stage(0.69).columns == 4
    assert recipe.stage(0.7).columns == recipe.stage(1.0).columns == 8
    with pytest.raises(ValueError, match="rise to 1"):
        tiny_recipe(stages=[Stage(until=0.5)])


def test_learning_rate() -> None:
    rates = [learning_rate(step / 1000, 2.0, 0.1) for step in range(1001)]
    assert rates[0] == 0
    assert rates[50] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_learning_rate_holds_before_it_falls() -> None:
    rates = [learning_rate(step / 1000, 2.0, 0.1, 0.5) for step in range(1001)]
    assert rates[100:501] == [2.0] * 401
    assert rates[750] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[500:] == sorted(rates[500:], reverse=True)


def test_teacher_momentum() -> None:
    values = [teacher_momentum(step / 100, 0.99, 0.9999) for step in range(101)]
    assert values[0] == pytest.approx(0.99)
    assert values[-1] == pytest.approx(0.9999)
    assert values[50] == pytest.approx((0.99 + 0.9999) / 2)
    assert values == sorted(values)
    assert math.isclose(teacher_momentum(2.0, 0.99, 0.9999), 0.9999)
