"""Presets, and the changes that a user asks for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aasp_features.errors import OptionError
from aasp_features.train.pretrain.objective import Objective
from aasp_features.train.recipe import Recipe, Stage
from aasp_features.train.recipes import load_recipe, recipe_names


def test_every_preset_loads() -> None:
    assert {"base", "base_audioset", "small", "tiny_cpu", "tiny_gpu", "tiny_distilled"} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name, ["distillation.teachers=some.yaml"])
        assert recipe.name == name
        assert recipe.distillation.teachers == ["some.yaml"]
        assert recipe.data.crops * recipe.masking.views >= 2


@pytest.mark.parametrize(
    ("name", "encoder", "trained"),
    [("tiny_cpu", 5.4, 7.0), ("tiny_gpu", 5.4, 7.0), ("small", 21.5, 29.3), ("base", 85.4, 115.9)],
)
def test_presets_have_the_parameters_of_their_size(name: str, encoder: float, trained: float) -> None:
    with torch.device("meta"):
        objective = Objective(load_recipe(name, []))
    counts = [
        sum(one.numel() for one in part.parameters()) / 1e6 for part in (objective.student, objective.ema_teacher)
    ]
    assert counts == pytest.approx([encoder, encoder], abs=0.1)
    parameters = sum(one.numel() for one in objective.parameters() if one.requires_grad)
    assert parameters / 1e6 == pytest.approx(trained, abs=0.1)


def test_base_audioset_is_base_for_ten_epochs_of_its_clips() -> None:
    recipe, base = load_recipe("base_audioset", []), load_recipe("base", [])
    assert recipe.run.steps * recipe.data.stages[0].sounds == pytest.approx(10 * 1_738_788, rel=0.001)
    assert (recipe.model, recipe.data, recipe.masking, recipe.objective) == (
        base.model,
        base.data,
        base.masking,
        base.objective,
    )


def test_changes_are_applied_and_typed() -> None:
    changes = ["run.steps=7", "model.states=8", "model.changes.depth=9", "data.stages.0.sounds=5"]
    changes += ["optimizer.learning_rate=2e-4", "objective.weights.voice=2", "distillation.crop.lengths.1.columns=20"]
    recipe = load_recipe("tiny_cpu", changes)
    assert (recipe.run.steps, recipe.config().states, recipe.config().depth) == (7, 8, 9)
    assert (recipe.data.stages[0].sounds, recipe.optimizer.learning_rate) == (5, 2e-4)
    assert recipe.objective.weights == {"frame": 1.0, "clip": 1.0, "contrast": 1.0, "voice": 2.0}
    assert recipe.distillation.crop.lengths[1].columns == 20
    assert load_recipe("tiny_cpu", ["model.size=small"]).config().dim == 384


def test_a_file_lists_what_differs_from_the_defaults_or_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {stages: [{until: 1.0, columns: 8, sounds: 2}]}\nmodel: {changes: {states: 8}}\n")
    mine, default = load_recipe(str(file), ["run.seed=7"]), Recipe()
    assert mine == replace(
        default,
        name="mine",
        data=replace(default.data, stages=[Stage(1.0, 8, 2)]),
        model=replace(default.model, changes={"states": 8}),
        run=replace(default.run, seed=7),
    )
    file.write_text("base: tiny_gpu\nobjective: {weights: {contrast: 0.1}}\n")
    mine, gpu = load_recipe(str(file), []), load_recipe("tiny_gpu", [])
    weights = {"frame": 1.0, "clip": 1.0, "contrast": 0.1}
    assert mine == replace(gpu, name="mine", objective=replace(gpu.objective, weights=weights))
    cpu = load_recipe("tiny_cpu", [])  # which tiny_gpu is based on
    assert (gpu.masking, gpu.model, gpu.data.gain_db) == (cpu.masking, cpu.model, cpu.data.gain_db)
    file.write_text("base: mine\n")
    with pytest.raises(OptionError, match=r"base must be one of base, .* got 'mine'"):
        load_recipe(str(file), [])


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("huge", [], "must be a .yaml file or one of base, .* got 'huge'"),
        ("tiny_cpu", ["stepz=7"], "there is no setting 'stepz'; a recipe has name, model, data, masking, objective"),
        ("tiny_cpu", ["steps=7"], r"there is no setting 'steps'; a recipe has .* \(is it run.steps\?\)"),
        (
            "tiny_cpu",
            ["optimizer.rate=7"],
            "'optimizer.rate'; optimizer has kind, learning_rate, muon_rate",
        ),
        ("tiny_cpu", ["data.stages.2.sounds=7"], "'data.stages.2.sounds'; data.stages has 0, 1"),
        ("tiny_cpu", ["run.steps.a=7"], "'run.steps.a'; run.steps has no parts"),
        ("tiny_cpu", ["run.steps=many"], "recipe tiny_cpu: Value 'many'"),
        ("tiny_cpu", ["run.steps"], "key=value, got 'run.steps'"),
        ("tiny_cpu", ["optimizer=3"], "recipe tiny_cpu: Invalid type assigned"),
        ("tiny_cpu", ["run.seed=[1"], "recipe tiny_cpu: while parsing"),
        ("tiny_cpu", ["model.colour=1"], "model has no 'colour'; it has size, name"),
        ("tiny_cpu", ["model.depth=deep"], "depth must be int, got 'deep'"),
        ("tiny_cpu", ["data.crops=3"], "crops must be 1 or 2"),
        ("tiny_cpu", ["objective.target_layers=13"], "target_layers must be 1 to 12"),
        ("tiny_cpu", ["data.stages.1.columns=99"], "longer than the window of 64"),
        ("tiny_cpu", ["objective.weights.frame=-2"], "weights must be finite and at least 0"),
        ("tiny_cpu", ["objective.weights.frame=.nan"], "weights must be finite"),
        (
            "tiny_distilled",
            ["distillation.teachers=a.yaml", "distillation.crop.gain_db=-1"],
            "gain_db must be at",
        ),
        ("tiny_distilled", [], "recipe tiny_distilled needs external teachers: give"),
        ("tiny_distilled", ["distillation.teachers=a.yaml", "distillation.crop.speed=2.0"], "crop.speed must be 0 to"),
    ],
)
def test_wrong_settings(name: str, changes: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_recipe(name, changes)
