"""What a recipe accepts."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from finetune_helpers import tiny_encoder

from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.finetune.recipes import FOLDER, load_recipe
from aasp_features.train.recipes import recipe_names


def test_every_recipe_loads_and_tells_its_source() -> None:
    assert {"small", "as20k", "as2m", "esc50", "spcv2", "vc1", "nsynth", "us8k"} <= set(recipe_names(FOLDER))
    for name in recipe_names(FOLDER):
        recipe = load_recipe(name, [])
        assert recipe.name == name
        assert recipe.to_dict() != FinetuneRecipe(name=name).to_dict()


def test_esc50_has_eats_values() -> None:
    recipe = load_recipe("esc50", [])
    assert round(recipe.run.epochs * 1600 / recipe.run.batch) == 4000  # updates, of 48 clips of four folds
    assert recipe.optimizer.rate * recipe.optimizer.last_rate == pytest.approx(1e-6)
    assert (recipe.loss.smoothing, recipe.augmentation.mask_bands, recipe.augmentation.mixup) == (0.1, 0.4, 0.0)


def test_recipes_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        load_recipe("small", []).run.seed = 3  # type: ignore[misc]


def test_changes_and_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("optimizer: {rate: 0.5, method: sgd}\nrun: {epochs: 3}\n")
    recipe = load_recipe(str(file), ["run.seed=7", "augmentation.roll=true", "network.pooling=cls"])
    assert (recipe.name, recipe.optimizer.rate, recipe.run.epochs, recipe.run.seed) == ("mine", 0.5, 3, 7)
    assert recipe.augmentation.roll
    read = recipe.network.read_by(tiny_encoder().config)
    assert (read.pooling, read.last_layers) == ("cls", 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("optimiser: {rate: 1}", "Key 'optimiser' not in 'FinetuneRecipe'"),
        ("run: {epoch: 1}", "Key 'epoch' not in 'FinetuneRunSettings'"),
        ("run: {epochs: many}", "Value 'many'"),
        ("run: [1", "while parsing|expected"),
        ("run: 3", "recipe .*: "),
        ("- 1", "must be a mapping of settings"),
        ("run: {epochs: 1.5}", "Value '1.5'"),
        ("optimizer: {rate: .nan}", "optimizer.rate must be 0 to 1000, got nan"),
    ],
)
def test_files_are_read_strictly(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_recipe(str(tmp_path / "mine.yaml"), [])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["epochs=7"], r"there is no setting 'epochs'; .* \(is it run.epochs\?\)"),
        (["run.epochs"], "key=value, got 'run.epochs'"),
        (["run.epochs=0"], r"run.epochs must be 1 to 1e\+06, got 0"),
        (["run.parts=99"], "run.parts must be at most run.batch"),
        (["run.held_out=0.9"], "run.held_out must be 0 to 0.5, got 0.9"),
        (["run.keep=first"], "run.keep must be best or last, got 'first'"),
        (["loss.kind=hinge"], "loss.kind must be auto or cross_entropy or binary, got 'hinge'"),
        (["network.pooling=max"], "network.pooling must be .* got 'max'"),
        (["network.drop_path=1"], "network.drop_path must be 0 to 0.95"),
        (["optimizer.layer_decay=0"], "optimizer.layer_decay must be 0.001 to 1"),
        (["clips.seconds=0"], "clips.seconds must be 0.16 to 163.84"),
        (["augmentation.mixup_per=row"], "mixup_per must be batch or clip"),
    ],
)
def test_wrong_settings(changes: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_recipe("small", changes)


def test_no_such_recipe(tmp_path: Path) -> None:
    for name in ("huge", str(tmp_path), str(tmp_path / "gone.yaml")):
        with pytest.raises(ValueError, match=r"--recipe must be a .yaml file or one of as20k, as2m, "):
            load_recipe(name, [])
